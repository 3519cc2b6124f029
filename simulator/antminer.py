"""Stock Antminer firmware over a simulated rig: its configuration, its verbs, and what it says of the machine.

    bytes in --> antminer_socket.answer / antminer_web.answer --> Antminer --> Rig
                                                                  |  told(): the truth, or the lie that is switched on

No sockets here: simulator/endpoint.py carries the bytes.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from shedload.units import HashesPerSecond, Watts
from simulator.digest import DigestGate
from simulator.faults import LYING_HEALTH, SLOW_BOOT_FACTOR, Fault, FaultSwitch
from simulator.firmware import Firmware
from simulator.models import NORMAL, SLEEP, Generation
from simulator.rig import Reading, Rig, RigState

POOL_SLOTS = 3
CONF_BUSY = 5.0
"""Plant seconds after a write in which the configuration cannot be read."""
SOCKET_BUSY = 8.0
"""Plant seconds after a restart of the miner until its API thread listens again."""
REBOOT = 40.0
"""Plant seconds until a control board answers again."""
SHARE_DIFFICULTY = 262_144.0
LEVELS = range(40, 121)
X17_SLEEP = 254


class Layer(StrEnum):
    """What goes away while something restarts."""

    SOCKET = "socket"
    BOARD = "board"  # socket and web


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One of the three pools in a configuration; empty strings where there is none."""

    url: str = ""
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """What is printed on the machine and how the network knows it."""

    serial: str
    mac: str
    address: str
    hostname: str = "Antminer"


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the firmware keeps in flash."""

    pools: tuple[PoolEntry, ...] = ()
    mode: int = NORMAL
    level: int = 100
    fan_ctrl: bool = False
    fan_pwm: str = "100"
    frequency: str = "0"
    api_groups: str = "A:stats:pools:devs:summary:version"
    api_allow: str = "A:0/0,W:*"


def _no_outage(_layer: Layer, _seconds: float) -> None:
    """Nobody needs to know: a test calls the firmware without sockets."""


class Antminer:
    """One machine as its firmware presents it. `now` is plant time throughout."""

    def __init__(
        self,
        rig: Rig,
        firmware: Firmware,
        identity: MachineIdentity,
        rng: random.Random,
        *,
        user: str = "root",
        password: str = "root",  # noqa: S107  the factory's own
        pools: Sequence[PoolEntry] = (),
        epoch: float = 0.0,
        share_difficulty: float = SHARE_DIFFICULTY,
    ) -> None:
        self.rig = rig
        self.firmware = firmware
        self.identity = identity
        self.gate = DigestGate(user, password, rng)
        self.faults = FaultSwitch()
        self.epoch = epoch
        self.share_difficulty = share_difficulty
        self.blinking = False
        self.on_outage: Callable[[Layer, float], None] = _no_outage
        self.writes = 0
        self.configuration = Configuration(
            padded(pools), rig.setting.mode, rig.setting.level, frequency=f"{rig.model.frequency / 1e6:.0f}"
        )
        self._conf_ready = 0.0
        self._pretends_sleep = False
        self._challenges = 0
        self._power_bias = rng.uniform(-0.01, 0.06)

    def told(self, now: float) -> Reading:
        """The machine's state as the firmware tells it."""
        truth = self.rig.read(now)
        if self._pretends_sleep:
            return replace(truth, state=RigState.ASLEEP, hashrate=HashesPerSecond(0.0), power=Watts(30.0))
        if Fault.LIE in self.faults and truth.state is RigState.HASHING:
            rate = HashesPerSecond(truth.hashrate_ideal * (1 + self.rig.noise(2, now)))
            return replace(truth, hashrate=rate, hashrate_average=rate, power=self.rig.model.power)
        return truth

    def told_power(self, now: float) -> Watts:
        """The firmware's own estimate of the draw."""
        return Watts(self.told(now).power * (1 + self._power_bias) * (1 + self.rig.noise(3, now) * 0.3))

    def when(self, now: float) -> int:
        """The rig's idea of the date."""
        return int(self.epoch + now)

    def conf_readable(self, now: float) -> bool:
        """The configuration is not being rewritten."""
        return now >= self._conf_ready

    def write(self, new: Configuration, now: float) -> None:
        """Replace the configuration and restart the miner in the background."""
        self.writes += 1
        if Fault.REFUSE in self.faults:
            return
        if Fault.POWER_WRITE_WIPES_POOLS in self.faults:
            new = replace(new, pools=padded(()))
        self.configuration = replace(new, pools=padded(new.pools))
        self._conf_ready = now + CONF_BUSY
        self._pretends_sleep = Fault.LIE_ASLEEP in self.faults and new.mode == SLEEP
        if not self._pretends_sleep:
            self.rig.configure(now, mode=new.mode, level=new.level, has_pool=self._has_pool())
            self.on_outage(Layer.SOCKET, SOCKET_BUSY)

    def reboot(self, now: float) -> None:
        """Restart the control board."""
        self.blinking = False
        self.rig.restart(now, delay=REBOOT)
        self.on_outage(Layer.BOARD, REBOOT)

    def set_faults(self, faults: Sequence[Fault], now: float) -> None:
        """Have exactly these faults on; those of the body take hold at once."""
        self.faults.set(faults)
        self.rig.boot_factor = SLOW_BOOT_FACTOR if Fault.SLOW_BOOT in self.faults else 1.0
        health = LYING_HEALTH if Fault.LIE in self.faults else 1.0
        if health != self.rig.setting.health:
            self.rig.degrade(now, health)

    def drops_challenge(self) -> bool:
        """Firmware with that habit hangs up on every second client that comes without a nonce."""
        self._challenges += 1
        return self.firmware.first_challenge_drop and self._challenges % 2 == 1

    def sleeps(self) -> bool:
        """The configuration says so."""
        return self.configuration.mode == SLEEP

    def mode_number(self) -> int:
        """The work mode in this generation's own numbers."""
        if self.firmware.generation is Generation.X17 and self.configuration.mode == SLEEP:
            return X17_SLEEP
        return self.configuration.mode

    def _has_pool(self) -> bool:
        return any(pool.url for pool in self.configuration.pools)


def padded(pools: Sequence[PoolEntry]) -> tuple[PoolEntry, ...]:
    """Always three, as the firmware keeps them."""
    kept = tuple(pools)[:POOL_SLOTS]
    return kept + (PoolEntry(),) * (POOL_SLOTS - len(kept))
