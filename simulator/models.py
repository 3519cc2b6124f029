"""The machines that the simulator can be, as data: nameplate, boards, clock, and the points of their work modes.

Figures are the makers' published nameplates, kept apart from the daemon's own table: a wrong figure there is noticed
instead of shared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shedload.units import TERA, HashesPerSecond, Hertz, Watts

NORMAL, SLEEP, HIGH, LOW = 0, 1, 2, 3
"""Work modes as the newer stock firmware numbers them."""


class Generation(StrEnum):
    """Which of the three stock web interfaces a machine has."""

    OLD = "old"  # S9 class: form CGI, no sleep
    X17 = "x17"  # S17 class: form CGI, work mode 254 is sleep
    NEW = "new"  # S19 and later: JSON CGI, work mode 1 is sleep


@dataclass(frozen=True, slots=True)
class ModePoint:
    """A work mode as factors on the nameplate."""

    hashrate: float
    power: float


USUAL_MODES: Mapping[int, ModePoint] = {
    NORMAL: ModePoint(1.0, 1.0),
    HIGH: ModePoint(1.10, 1.17),
    LOW: ModePoint(0.82, 0.72),
}


@dataclass(frozen=True, slots=True)
class RigModel:
    """One model: `name` is what the firmware calls itself."""

    name: str
    generation: Generation
    firmware: str  # key into simulator.firmware.FIRMWARES
    hashrate: HashesPerSecond
    power: Watts
    chips_per_board: int
    frequency: Hertz
    boards: int = 3
    fans: int = 4
    modes: Mapping[int, ModePoint] = field(default_factory=lambda: USUAL_MODES)


def _model(
    name: str, terahash: float, watts: float, chips: int, megahertz: float, firmware: str, **more: object
) -> RigModel:
    generation = {"s9-2019": Generation.OLD, "s17-2020": Generation.X17}.get(firmware, Generation.NEW)
    return RigModel(
        name=f"Antminer {name}",
        generation=generation,
        firmware=firmware,
        hashrate=HashesPerSecond(terahash * TERA),
        power=Watts(watts),
        chips_per_board=chips,
        frequency=Hertz(megahertz * 1e6),
        **more,  # type: ignore[arg-type]
    )


MODELS: Mapping[str, RigModel] = {
    "S9": _model("S9", 13.5, 1323, 63, 650, "s9-2019", fans=2),
    "S17": _model("S17", 56, 2520, 48, 590, "s17-2020"),
    "S19": _model("S19", 95, 3250, 76, 675, "s19-2020"),
    "S19 Pro": _model("S19 Pro", 110, 3250, 114, 525, "s19-2022"),
    "S19j Pro": _model("S19j Pro", 104, 3068, 126, 545, "s19-2022"),
    "S19 XP": _model("S19 XP", 140, 3010, 110, 600, "s19-2023"),
    "S21": _model("S21", 200, 3500, 108, 490, "s21-2024"),
    "S21+": _model("S21+", 216, 3564, 55, 540, "s21-2025"),
    "S21 Pro": _model("S21 Pro", 234, 3510, 65, 560, "s21-2024"),
    "T21": _model(
        "T21", 190, 3610, 108, 470, "s21-2024",
        modes={NORMAL: ModePoint(1.0, 1.0), HIGH: ModePoint(233 / 190, 5126 / 3610), LOW: ModePoint(0.82, 0.72)},
    ),
}  # fmt: skip
"""Models by the name an operator uses for them."""
