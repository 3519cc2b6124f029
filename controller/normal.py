"""What each rig draws and hashes in its normal mode: measured where it could be, else as its measured kin or nameplate.

    Farm --settled readings--> Normals --power, rate, efficiency--> RigView, what is plausible, what is believed

Allocation compares rigs by hashes per watt. What firmware reports differs from nameplates by some per cent and in one
direction, so a rig that was never measured is taken to differ as the measured ones of its model do: compared by the
bare nameplate it would look better than all of them, and be woken in the place of one that runs.
"""

import math

from shedload.device import PowerSource, Telemetry
from shedload.nameplate import Nameplate
from shedload.units import HashesPerSecond, JoulesPerTerahash, Watts, efficiency

LEARNING = 0.1
"""Weight of a new reading in a rig's running mean: a few dozen readings; the first ones weigh alike."""
KIN_LEARNING = 0.02
"""The same for a model: a few hundred readings of all its rigs."""
KIN_RANGE = (0.8, 1.25)
"""How far a model may be from its nameplate: more is another model, or a firmware that tunes each rig its own way."""


class Normal:
    """One rig's figures."""

    __slots__ = ("plate", "power", "powers", "rate", "rates")

    def __init__(self, plate: Nameplate | None) -> None:
        self.plate = plate
        self.power: float | None = None  # running mean of reported watts
        self.rate: float | None = None
        self.powers = 0  # readings in it
        self.rates = 0


class _Kin:
    """How the measured rigs of one model differ from its nameplate."""

    __slots__ = ("count", "power", "rate")

    def __init__(self) -> None:
        self.power = 1.0
        self.rate = 1.0
        self.count = 0

    def learn(self, power: float, rate: float) -> None:
        self.count += 1
        self.power = _mean(self.power, _within(power), self.count, KIN_LEARNING)
        self.rate = _mean(self.rate, _within(rate), self.count, KIN_LEARNING)


class Normals:
    """The figures of all rigs of a farm."""

    def __init__(self) -> None:
        self._kin: dict[str, _Kin] = {}  # as many as there are nameplates

    def learn(self, normal: Normal, telemetry: Telemetry) -> None:
        """Take a reading of a rig that hashes in steady state and tells nothing implausible."""
        if telemetry.hashrate:
            normal.rates += 1
            normal.rate = _mean(normal.rate or 0.0, telemetry.hashrate, normal.rates, LEARNING)
        if telemetry.power and telemetry.power_source is not PowerSource.ESTIMATED:
            normal.powers += 1
            normal.power = _mean(normal.power or 0.0, telemetry.power, normal.powers, LEARNING)
        self._compare(normal)

    def restore(self, normal: Normal, power: float, rate: float) -> None:
        """Take what an earlier run measured."""
        if math.isfinite(power) and math.isfinite(rate) and power > 0 and rate > 0:
            normal.power, normal.rate = power, rate
            normal.powers = normal.rates = round(1 / LEARNING)
            self._compare(normal)

    def measured(self, normal: Normal) -> tuple[Watts, HashesPerSecond] | None:
        """Power and rate as measured; None before both are known."""
        if normal.power is None or normal.rate is None:
            return None
        return Watts(normal.power), HashesPerSecond(normal.rate)

    def power(self, normal: Normal) -> Watts | None:
        """Watts in the normal mode."""
        if normal.power is not None:
            return Watts(normal.power)
        return None if normal.plate is None else Watts(normal.plate.power * self._kin_of(normal.plate).power)

    def rate(self, normal: Normal) -> HashesPerSecond | None:
        """Hashes per second in the normal mode."""
        if normal.rate is not None:
            return HashesPerSecond(normal.rate)
        return (
            None if normal.plate is None else HashesPerSecond(normal.plate.hashrate * self._kin_of(normal.plate).rate)
        )

    def efficiency(self, normal: Normal) -> JoulesPerTerahash | None:
        """J/TH in the normal mode."""
        measured = self.measured(normal)
        if measured is not None:
            return efficiency(*measured)
        if normal.plate is None:
            return None
        kin = self._kin_of(normal.plate)
        return JoulesPerTerahash(normal.plate.efficiency * kin.power / kin.rate)

    def _compare(self, normal: Normal) -> None:
        # Only rigs that tell both: the efficiency of a model is made of the two together.
        if normal.plate is None or normal.power is None or normal.rate is None:
            return
        kin = self._kin.setdefault(normal.plate.model, _Kin())
        kin.learn(normal.power / normal.plate.power, normal.rate / normal.plate.hashrate)

    def _kin_of(self, plate: Nameplate) -> _Kin:
        return self._kin.get(plate.model) or _Kin()


def _within(ratio: float) -> float:
    low, high = KIN_RANGE
    return min(high, max(low, ratio))


def _mean(before: float, reading: float, count: int, learning: float) -> float:
    """The running mean after the `count`-th reading."""
    return before + max(learning, 1 / count) * (reading - before)
