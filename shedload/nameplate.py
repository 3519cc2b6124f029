"""Nameplates: what a model is sold as. A model is data, a family is code.

Figures are the makers' as commonly quoted, at 25-35 °C, ±3 % of rate and ±5 % of power; a rig's own words come first.
They serve estimates, defaults and the simulator, never billing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from shedload.units import HashesPerSecond, JoulesPerTerahash, Watts, from_terahash

SLEEP_POWER = Watts(25.0)
"""Draw of a rig asleep: about 25 W by one firmware vendor, 15-60 W is the plausible range; no maker states it."""


@dataclass(frozen=True, slots=True)
class Nameplate:
    """One model: rate and power in its normal mode, and how it is built."""

    model: str
    hashrate: HashesPerSecond
    power: Watts
    boards: int
    chips_per_board: int
    fans: int

    @property
    def efficiency(self) -> JoulesPerTerahash:
        """J/TH in normal mode."""
        return JoulesPerTerahash(self.power / (self.hashrate / 1e12))


def nameplate(model: str | None) -> Nameplate | None:
    """Find the nameplate of a model as a rig names itself ("Antminer S19j Pro (104T)"); None when it is not listed."""
    if model is None:
        return None
    return NAMEPLATES.get(_plain(model))


def _plain(model: str) -> str:
    """Fold case, blanks, the maker's prefix and a trailing bin such as "(104T)" away."""
    text = model.split("(", 1)[0].strip().lower()
    return "".join(text.removeprefix("antminer").split())


def _table(rows: tuple[tuple[str, float, float, int, int, int], ...]) -> Mapping[str, Nameplate]:
    return MappingProxyType(
        {
            _plain(model): Nameplate(model, from_terahash(rate), Watts(power), boards, chips, fans)
            for model, rate, power, boards, chips, fans in rows
        }
    )


NAMEPLATES: Mapping[str, Nameplate] = _table(
    (
        # model, TH/s, W, boards, chips per board, fans
        ("Antminer S9", 13.5, 1323.0, 3, 63, 2),
        ("Antminer S17", 56.0, 2520.0, 3, 48, 4),
        ("Antminer T17+", 64.0, 3200.0, 3, 44, 4),
        ("Antminer T19", 84.0, 3150.0, 3, 76, 4),
        ("Antminer S19", 95.0, 3250.0, 3, 76, 4),
        ("Antminer S19 Pro", 110.0, 3250.0, 3, 114, 4),
        ("Antminer S19j Pro", 104.0, 3068.0, 3, 126, 4),
        ("Antminer S19j Pro+", 122.0, 3355.0, 3, 120, 4),
        ("Antminer S19 XP", 140.0, 3010.0, 3, 110, 4),
        ("Antminer S19k Pro", 120.0, 2760.0, 3, 77, 4),
        ("Antminer S21", 200.0, 3500.0, 3, 108, 4),
        ("Antminer S21+", 216.0, 3564.0, 3, 55, 4),
        ("Antminer S21 Pro", 234.0, 3510.0, 3, 65, 4),
        ("Antminer S21 XP", 270.0, 3645.0, 3, 91, 4),
        ("Antminer T21", 190.0, 3610.0, 3, 108, 4),
        # FPGA and first ASIC devices that speak the Icarus protocol; rate by ns per hash of the classic driver
        ("Icarus", 0.00038, 19.2, 1, 2, 0),
        ("Lancelot", 0.0004, 26.0, 1, 2, 0),
        ("Block Erupter", 0.000336, 2.5, 1, 1, 0),
    )
)
