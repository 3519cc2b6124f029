"""The device model: what every driver reports and accepts, and the border between rigs and everything else.

    driver.read() --Telemetry | RigError--> host --Observation--> farm --> policy --> Command --> host --> driver

All values here are plain and serialisable. A field that the rig did not tell is None; zero is a measurement. Offline is
not a telemetry value: it is what the reader concludes from missing observations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, NewType, Protocol, runtime_checkable

from shedload.errors import RigError
from shedload.units import Celsius, HashesPerSecond, Hertz, RevolutionsPerMinute, Seconds, Watts
from shedload.work import Nonce, Work

API_VERSION = 1
"""A driver module states the version of this border that it was written for as `api_version`."""

RigName = NewType("RigName", str)
"""The operator's name of a slot; address, MAC and serial of the machine in it may change."""


class Activity(StrEnum):
    """What a rig that answers is doing, by its own account."""

    HASHING = "hashing"
    RAMPING = "ramping"  # awake, on its way to full hashrate: boot, tuning, warm-up
    IDLE = "idle"  # awake and not hashing although nobody sent it to sleep: no pool, overheated, failed
    ASLEEP = "asleep"  # sent to sleep: hashboards off on purpose


class PowerSource(StrEnum):
    """Where a power figure comes from, best first."""

    METERED = "metered"  # an instrument outside the rig
    REPORTED = "reported"  # the rig's own PSU or firmware
    ESTIMATED = "estimated"  # hashrate times the model's nameplate efficiency, or a mode's nameplate power


class PoolStatus(StrEnum):
    """What a rig says of one of its pools."""

    ALIVE = "alive"
    DEAD = "dead"
    DISABLED = "disabled"
    REJECTING = "rejecting"
    UNKNOWN = "unknown"


class FaultCode(StrEnum):
    """Closed set of things a rig can have wrong; fit for a metric label."""

    OVERHEAT = "overheat"
    COLD = "cold"
    FAN = "fan"
    POWER_SUPPLY = "power_supply"
    BOARD = "board"
    CHIP = "chip"
    SENSOR = "sensor"
    HASHRATE = "hashrate"
    NETWORK = "network"
    CONTROL_BOARD = "control_board"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as the rig tells it; `vendor_code` is the firmware's own, `detail` bounded text."""

    code: FaultCode
    detail: str
    board: int | None = None
    vendor_code: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers; serial and MAC belong to the machine, not to the slot."""

    make: str | None = None
    model: str | None = None
    firmware: str | None = None
    serial: str | None = None
    mac: str | None = None  # lower case, with colons
    hostname: str | None = None
    rpc_version: str | None = None  # of the CGMiner API that it speaks, where it does


@dataclass(frozen=True, slots=True)
class BoardReading:
    """One hashboard; `index` is the firmware's own number."""

    index: int
    hashrate: HashesPerSecond | None = None
    hashrate_nominal: HashesPerSecond | None = None
    frequency: Hertz | None = None
    chips: int | None = None
    chips_working: int | None = None
    pcb_temperature: Celsius | None = None  # hottest sensor
    chip_temperature: Celsius | None = None  # hottest sensor
    hardware_errors: int | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class PoolReading:
    """One pool as configured on the rig, with the rig's own share counts."""

    index: int
    url: str
    user: str
    status: PoolStatus = PoolStatus.UNKNOWN
    active: bool | None = None
    priority: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    stale: int | None = None
    difficulty_accepted: float | None = None  # sum over accepted shares: times 2^32, the hashes they stand for
    get_failures: int | None = None  # times that the pool had no work to give
    remote_failures: int | None = None  # times that a share could not be handed over


@dataclass(frozen=True, slots=True)
class Telemetry:
    """One reading of one rig."""

    activity: Activity | None = None
    hashrate: HashesPerSecond | None = None  # shortest window the firmware offers
    hashrate_average: HashesPerSecond | None = None  # since start of the miner
    hashrate_nominal: HashesPerSecond | None = None  # at the present setting, by the firmware
    power: Watts | None = None
    power_source: PowerSource | None = None
    power_limit: Watts | None = None
    chip_temperature: Celsius | None = None  # hottest
    board_temperature: Celsius | None = None  # hottest
    inlet_temperature: Celsius | None = None
    fans: tuple[RevolutionsPerMinute, ...] | None = None
    boards: tuple[BoardReading, ...] | None = None
    pools: tuple[PoolReading, ...] | None = None
    accepted: int | None = None
    rejected: int | None = None
    stale: int | None = None
    hardware_errors: int | None = None
    uptime: Seconds | None = None  # of the miner process; going down means it restarted
    mode: str | None = None  # the firmware's work mode in our words: sleep, low, normal, high
    level: int | None = None  # frequency level in percent, where the firmware has one
    locating: bool | None = None  # the blink light is on
    faults: tuple[Fault, ...] = ()
    identity: Identity | None = None
    repairs: tuple[str, ...] = ()  # names of the repairs that the reply needed before it could be read


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """Why a reading failed: the RigError's kind and bounded text."""

    kind: str
    detail: str

    @classmethod
    def of(cls, error: RigError) -> "ReadFailure":
        """The failure that an error stands for."""
        return cls(error.kind, error.detail)


@dataclass(frozen=True, slots=True)
class Observation:
    """Telemetry or a failure, and when it was taken. Age is the reader's business."""

    rig: RigName
    taken: float  # Clock.mono() when the reading was complete
    due: float  # Clock.mono() when it was scheduled; taken - due is how late the reading is
    telemetry: Telemetry | None = None
    failure: ReadFailure | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """User and password for one rig; the password never shows in a repr."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """A pool to be configured on a rig."""

    url: str
    user: str
    password: str = field(default="x", repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Stop hashing, keep the control board; hashboards off."""

    verb: ClassVar[str] = "sleep"


@dataclass(frozen=True, slots=True)
class Wake:
    """Resume hashing in a mode of the firmware; None leaves the choice of mode to the driver's default."""

    verb: ClassVar[str] = "wake"
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class SetLevel:
    """Frequency level in percent of the model's normal setting."""

    verb: ClassVar[str] = "set_level"
    percent: int


@dataclass(frozen=True, slots=True)
class SetPower:
    """Power target in watts at the wall."""

    verb: ClassVar[str] = "set_power"
    power: Watts


@dataclass(frozen=True, slots=True)
class SetPools:
    """Replace the rig's pool list."""

    verb: ClassVar[str] = "set_pools"
    pools: tuple[PoolTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class Reboot:
    """Restart the control board."""

    verb: ClassVar[str] = "reboot"


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart the mining process."""

    verb: ClassVar[str] = "restart"


@dataclass(frozen=True, slots=True)
class Blink:
    """Turn the locating light on or off."""

    verb: ClassVar[str] = "blink"
    on: bool = True


Command = Sleep | Wake | SetLevel | SetPower | SetPools | Reboot | Restart | Blink


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a driver saw while carrying out a command. Sent is not done: only a later observation confirms.

    `changed` is False when the rig already was as asked and nothing was written. `evidence` holds what was read before
    and after, as short text without secrets, for example {"mode before": "normal", "mode after": "sleep"}.
    """

    verb: str
    changed: bool
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mode:
    """One point of a rig's power curve and the command that sets it; the first mode of a curve is sleep."""

    name: str
    power: Watts
    hashrate: HashesPerSecond
    command: Command


@dataclass(frozen=True, slots=True)
class RigSpec:
    """What a driver needs to open a rig."""

    name: RigName
    driver: str
    address: str  # host, host:port, or the path of a serial device
    credential: Credential | None = None
    expected_serial: str | None = None
    expected_mac: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


class Rig(Protocol):
    """A rig that is open. One call at a time; every call ends within the driver's deadlines and is safe to cancel."""

    @property
    def spec(self) -> RigSpec:
        """What the rig was opened with."""
        ...

    async def identify(self) -> Identity:
        """Who answers at the address. Raises RigError."""
        ...

    async def close(self) -> None:
        """Give back connections and devices; never raises."""
        ...


@runtime_checkable
class Readable(Protocol):
    """Can be read."""

    async def read(self) -> Telemetry:
        """Read everything the normalised model has a place for. Raises RigError."""
        ...


@runtime_checkable
class Pausable(Protocol):
    """Can be put to sleep and woken."""

    async def sleep(self) -> Receipt:
        """Stop hashing. Raises RigError; after NoAnswer the outcome is unknown."""
        ...

    async def wake(self, mode: str | None = None) -> Receipt:
        """Resume hashing in `mode`, or in the firmware's normal mode. Raises RigError."""
        ...


@runtime_checkable
class Throttled(Protocol):
    """Has frequency levels."""

    async def set_level(self, percent: int) -> Receipt:
        """Set the frequency level. Raises Refused where the rig has no such level."""
        ...


@runtime_checkable
class PowerTargeted(Protocol):
    """Takes a power target."""

    async def set_power(self, power: Watts) -> Receipt:
        """Set the target. Raises Refused outside the rig's own range."""
        ...


@runtime_checkable
class Repointable(Protocol):
    """Lets its pools be changed."""

    async def set_pools(self, pools: tuple[PoolTarget, ...]) -> Receipt:
        """Replace the pool list and nothing else. Raises RigError."""
        ...


@runtime_checkable
class Rebootable(Protocol):
    """Can be rebooted."""

    async def reboot(self) -> Receipt:
        """Restart the control board; a rig that hangs up instead of answering has obeyed."""
        ...


@runtime_checkable
class Restartable(Protocol):
    """Can restart its mining process."""

    async def restart(self) -> Receipt:
        """Restart the mining process."""
        ...


@runtime_checkable
class Blinking(Protocol):
    """Has a light to be found by."""

    async def blink(self, on: bool) -> Receipt:
        """Turn the light on or off."""
        ...


@runtime_checkable
class Hashing(Protocol):
    """Takes work and yields nonces; every nonce is still to be hashed by the caller.

    Assigning and waiting for nonces may go on while the rig is read or commanded; asleep, it takes work and does
    nothing.
    """

    @property
    def work_lifetime(self) -> Seconds:
        """How long one piece of work keeps the chips busy; new work is due before that."""
        ...

    @property
    def asleep(self) -> bool:
        """Sent to sleep: work given now is not searched."""
        ...

    @property
    def nonce_difficulty(self) -> float:
        """Difficulty that every nonce meets which the chips report; what misses it is a hardware error."""
        ...

    async def assign(self, work: Work) -> None:
        """Replace the work in progress. Raises RigError when the device is gone."""
        ...

    async def nonce(self) -> Nonce:
        """Wait for the next nonce; safe to cancel.

        Raises Refused when the rig is sent to sleep meanwhile, Garbled for a torn reply, another RigError when the
        device is gone.
        """
        ...


@runtime_checkable
class HashingRig(Rig, Hashing, Protocol):
    """A rig that is fed by us."""
