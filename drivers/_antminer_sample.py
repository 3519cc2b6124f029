"""What one set of Antminer replies says, before anything is concluded from it.

socket stats --_antminer_socket--> Sample --_antminer_judge--> Telemetry
web stats    --_antminer_web-----> Sample
"""

from dataclasses import dataclass, field
from enum import Enum

from shedload.cgminer.values import temperatures
from shedload.device import BoardReading, Fault, Identity
from shedload.nameplate import Nameplate
from shedload.units import Celsius, HashesPerSecond, RevolutionsPerMinute, Seconds, Watts

MAKE = "Bitmain"
DEAD_SHARE = 0.02
"""Below this share of the nominal hashrate a rig does not hash: one that runs has at least one of its boards."""
HOTTEST = 200
"""°C. Readings below this need no further look; what lies above may be a mark for "no sensor"."""

RATE_UNITS = {"H": 1.0, "KH": 1e3, "MH": 1e6, "GH": 1e9, "TH": 1e12}
"""Scale of `rate_unit` without its "/s"; the firmware of scrypt machines says MH/s."""


class Generation(Enum):
    """The three generations of stock firmware (they differ in how the configuration is written and in sleep)."""

    OLD = "old"  # S9, T9, S15: no sleep
    X17 = "x17"  # S17, T17: sleep is work mode 254
    NEW = "new"  # S19 and later: sleep is mode 1


@dataclass(slots=True)
class Sample:
    """One reading as told. Not frozen: it lives for a few microseconds between parser and judge."""

    model: str | None = None
    firmware: str | None = None
    hashrate: HashesPerSecond | None = None
    hashrate_average: HashesPerSecond | None = None
    hashrate_nominal: HashesPerSecond | None = None
    power: Watts | None = None
    uptime: Seconds | None = None
    fans: tuple[RevolutionsPerMinute, ...] | None = None
    fans_expected: int | None = None
    boards: list[BoardReading] = field(default_factory=list)
    chip_temperature: Celsius | None = None  # hottest of all boards
    board_temperature: Celsius | None = None
    chips_working: int | None = None  # of all boards that tell
    chips_lost: int = 0
    hardware_errors: int | None = None
    asleep_by_mode: bool = False  # x17 says so in its statistics
    empty: bool = False  # the firmware answered with no statistics at all, as it does when it does not mine
    repairs: tuple[str, ...] = ()

    @property
    def hashing(self) -> bool:
        """True if the short window shows real hashing: it dies down to zero over a minute after the end."""
        rate, nominal = self.hashrate, self.hashrate_nominal
        return bool(rate) and (nominal is None or rate >= DEAD_SHARE * nominal)  # type: ignore[operator]

    def add(self, board: BoardReading) -> None:
        """Take a board in, and into the sums over all boards."""
        self.boards.append(board)
        chip, pcb, working = board.chip_temperature, board.pcb_temperature, board.chips_working
        if chip is not None and (self.chip_temperature is None or chip > self.chip_temperature):
            self.chip_temperature = chip
        if pcb is not None and (self.board_temperature is None or pcb > self.board_temperature):
            self.board_temperature = pcb
        if working is not None:
            self.chips_working = working + (self.chips_working or 0)
            if board.chips is not None and working < board.chips:
                self.chips_lost += board.chips - working
        if board.hardware_errors is not None:
            self.hardware_errors = board.hardware_errors + (self.hardware_errors or 0)


@dataclass(frozen=True, slots=True)
class BoardPlate:
    """What the web interface alone tells of a board, in the order of the boards."""

    serial: str | None = None
    hashrate_nominal: HashesPerSecond | None = None


@dataclass(slots=True)
class Known:
    """What the slower tiers found out, kept between readings."""

    generation: Generation | None = None
    mode: str | None = None
    level: int | None = None
    identity: Identity | None = None
    locating: bool | None = None
    power: Watts | None = None
    faults: tuple[Fault, ...] = ()
    plates: tuple[BoardPlate, ...] = ()
    nameplate: Nameplate | None = None


def rate_scale(unit: object) -> float:
    """H/s per unit of the firmware's rates; GH/s where it does not say."""
    if unit is None or unit == "GH":
        return 1e9
    return RATE_UNITS.get(str(unit).upper().removesuffix("/S"), 1e9)


def hottest(told: object) -> Celsius | None:
    """The highest of a dash list such as "73-45-64-65" or "-5--6-12"; zero and 255 mean no sensor."""
    values = temperatures(told)
    return max(values) if values else None
