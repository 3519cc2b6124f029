"""The body of one simulated machine: power, heat, hashing and counters as a function of plant time.

Firmware (simulator/antminer.py) speaks for it, the meter (simulator/meter.py) weighs it, faults break it.
Between events every quantity is a closed-form relaxation and every event has an exact time, so the answer at a time
depends on the seed and the orders given, not on when somebody looked. Time constants follow what is known of real rigs:
sleep acts in seconds, waking is a boot and a ramp of minutes.
"""

import math
import random
from dataclasses import dataclass, replace
from enum import StrEnum

from shedload.units import Celsius, HashesPerSecond, Hertz, Joules, RevolutionsPerMinute, Watts
from simulator.models import NORMAL, SLEEP, RigModel
from simulator.relaxation import Relaxation

DEFAULT_INLET = Celsius(25.0)
CUT_OFF = Celsius(92.0)
"""Chip temperature at which the firmware stops hashing; reached at about 47 °C inlet, where an S21 stops."""
RESUME = Celsius(60.0)
"""Chip temperature below which an overheated rig starts again."""
FAN_SETPOINT = Celsius(72.0)
FULL_FAN = 6000.0
SLOW_FAN = 960.0
"""Fans of a sleeping S19 were seen between 600 and 1560 rpm."""
RISE_AT_FULL_POWER = 45.0
"""Kelvin between inlet and hottest chip at nameplate power and full fans."""
LEAKAGE_PER_KELVIN = 0.0015
"""Draw at the same clock grows with temperature: 1-3 % over a day."""
THERMAL_TAU = 45.0
SLEEP_POWER = Watts(30.0)
BOOT_POWER = Watts(250.0)
"""Control board, fans and chips that are being counted."""
HASHES_PER_DIFFICULTY = 2.0**32
REJECTED_SHARE = 0.0008
ERRORS_PER_TERAHASH_HOUR = 0.4
UPTIMES = (3600.0, 400_000.0)
"""Seconds that a rig which is found running may have run."""
NOISE = 0.015
NOISE_INTERVAL = 5.0


class RigState(StrEnum):
    """What the machine is truly doing."""

    ASLEEP = "asleep"
    BOOTING = "booting"
    RAMPING = "ramping"
    HASHING = "hashing"
    IDLE = "idle"  # awake without a pool
    OVERHEATED = "overheated"


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Plant seconds that the machine takes for things, and what it draws while it does not hash."""

    boot: float = 45.0
    ramp: float = 150.0
    sleep_tau: float = 2.0
    settle_tau: float = 5.0
    sleep_power: Watts = SLEEP_POWER
    boot_power: Watts = BOOT_POWER


@dataclass(frozen=True, slots=True)
class Setting:
    """What the machine is told to do."""

    mode: int = NORMAL
    level: int = 100  # percent of the normal clock
    has_pool: bool = True
    health: float = 1.0  # share of the chips that work


@dataclass(frozen=True, slots=True)
class Reading:
    """The truth about one machine at one time."""

    state: RigState
    elapsed: float
    hashrate: HashesPerSecond
    hashrate_average: HashesPerSecond
    hashrate_ideal: HashesPerSecond
    power: Watts
    frequency: Hertz
    inlet: Celsius
    chip_temperature: Celsius
    fans: tuple[RevolutionsPerMinute, ...]
    shares: float  # found since the miner started, fractional
    hardware_errors: int
    hashes: float  # done since the miner started


class Rig:
    """One machine. Times are plant seconds and must not go backwards."""

    def __init__(
        self,
        model: RigModel,
        rng: random.Random,
        now: float = 0.0,
        *,
        dynamics: Dynamics | None = None,
        setting: Setting | None = None,
        inlet: Celsius = DEFAULT_INLET,
        running: bool = True,
    ) -> None:
        self.model = model
        self.setting = setting or Setting()
        self.inlet = inlet
        self.boot_factor = 1.0
        self._seed = rng.getrandbits(32)
        self._silicon = rng.uniform(0.985, 1.015)
        self._thirst = rng.uniform(0.985, 1.02)
        pace = rng.uniform(0.8, 1.2)
        chosen = dynamics or Dynamics()
        self._dynamics = replace(chosen, boot=chosen.boot * pace, ramp=chosen.ramp * pace)
        self.state = RigState.BOOTING
        self._since = self._started = now
        self._hashes = self._energy = 0.0
        idle = self._dynamics.sleep_power
        self._rate = Relaxation(now, 0.0, 0.0, 1.0)
        self._draw = Relaxation(now, idle, idle, 1.0)
        self._heat = Relaxation(now, inlet, inlet, THERMAL_TAU)
        self._enter(self._awake_state(), now)
        if running and self.state is RigState.BOOTING:
            self._settle(now, uptime=rng.uniform(*UPTIMES))

    def advance(self, now: float) -> None:
        """Let everything happen that is due by `now`."""
        while (event := self._next_event()) is not None and event[0] <= now:
            self._enter(event[1], max(event[0], self._since))

    def read(self, now: float) -> Reading:
        """The truth at `now`."""
        self.advance(now)
        hashes = self._hashes + self._rate.integral(now)
        elapsed = max(0.0, now - self._started)
        rate = self._rate.at(now)
        return Reading(
            state=self.state,
            elapsed=elapsed,
            hashrate=HashesPerSecond(rate * (1 + self.noise(1, now))),
            hashrate_average=HashesPerSecond(hashes / elapsed if elapsed > 0 else 0.0),
            hashrate_ideal=self.ideal_hashrate(),
            power=self.power(now),
            frequency=Hertz(self.model.frequency * self.setting.level / 100),
            inlet=self.inlet,
            chip_temperature=Celsius(self._heat.at(now)),
            fans=self._fans(now),
            shares=hashes / HASHES_PER_DIFFICULTY,
            hardware_errors=int(hashes / 1e12 / 3600 * ERRORS_PER_TERAHASH_HOUR),
            hashes=hashes,
        )

    def power(self, now: float) -> Watts:
        """True draw at the wall, as an instrument would see it."""
        self.advance(now)
        return Watts(self._draw.at(now) * (1 + self.noise(0, now) * 0.6))

    def energy(self, now: float) -> Joules:
        """True energy since the rig was made."""
        self.advance(now)
        return Joules(self._energy + self._draw.integral(now))

    def ideal_hashrate(self) -> HashesPerSecond:
        """What firmware takes for its target at the present setting; asleep it still names the normal one."""
        point = self.model.modes.get(self.setting.mode, self.model.modes[NORMAL])
        return HashesPerSecond(self.model.hashrate * point.hashrate * self.setting.level / 100)

    def configure(self, now: float, **changes: float | bool) -> None:
        """Change the setting; the miner restarts, its counters with it."""
        self.advance(now)
        self.setting = replace(self.setting, **changes)  # type: ignore[arg-type]
        self.restart(now)

    def restart(self, now: float, delay: float = 0.0) -> None:
        """Start the miner anew, `delay` seconds of control-board boot before it."""
        self.advance(now)
        self._started = now + delay
        self._bank(now)
        self._hashes = 0.0
        self._enter(self._awake_state(), now, extra=delay)

    def degrade(self, now: float, health: float) -> None:
        """Let only a share of the chips work from now on; nothing restarts."""
        self.advance(now)
        self.setting = replace(self.setting, health=health)
        self._retarget(now)

    def set_inlet(self, now: float, inlet: Celsius) -> None:
        """Change the temperature of the air that comes in."""
        self.advance(now)
        self.inlet = inlet
        self._retarget(now)

    def noise(self, channel: int, now: float) -> float:
        """Repeatable noise of +-1.5 %, new every five seconds; one channel per quantity."""
        return (self.uniform(channel, int(now // NOISE_INTERVAL)) * 2 - 1) * NOISE

    def uniform(self, channel: int, step: int) -> float:
        """A repeatable number in 0..1 for a channel and a step of time."""
        mixed = (self._seed * 0x9E3779B1 + channel * 0x85EBCA77 + step * 0xC2B2AE3D) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 32)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return (mixed >> 11) / 2.0**53

    def _awake_state(self) -> RigState:
        return RigState.ASLEEP if self.setting.mode == SLEEP else RigState.BOOTING

    def _settle(self, now: float, uptime: float) -> None:
        """Be a rig that has been running for long already."""
        self._enter(RigState.HASHING if self.setting.has_pool else RigState.IDLE, now)
        self._rate = replace(self._rate, value=self._rate.target)
        self._draw = replace(self._draw, value=self._draw.target)
        self._heat = replace(self._heat, value=self._heat.target)
        self._started = now - uptime
        self._hashes = self._rate.target * uptime

    def _next_event(self) -> tuple[float, RigState] | None:
        """When the machine leaves its present state by itself, and for which."""
        heat = self._heat
        if self.state is RigState.OVERHEATED:
            cool = heat.start if heat.value <= RESUME else heat.crosses(RESUME)
            return None if cool is None else (cool, RigState.BOOTING)
        due = self._phase_end()
        if self.state not in {RigState.RAMPING, RigState.HASHING}:
            return due
        hot = heat.start if heat.value >= CUT_OFF else heat.crosses(CUT_OFF)
        if hot is not None and (due is None or hot <= due[0]):
            return hot, RigState.OVERHEATED
        return due

    def _phase_end(self) -> tuple[float, RigState] | None:
        if self.state is RigState.BOOTING:
            then = RigState.RAMPING if self.setting.has_pool else RigState.IDLE
            return self._since + self._boot_time, then
        if self.state is RigState.RAMPING:
            return self._since + self._dynamics.ramp, RigState.HASHING
        return None

    def _enter(self, state: RigState, now: float, extra: float = 0.0) -> None:
        if state is RigState.BOOTING and self.state is RigState.OVERHEATED:
            self._bank(now)
            self._hashes, self._started = 0.0, now
        self.state, self._since = state, now
        self._boot_time = self._dynamics.boot * self.boot_factor + extra
        self._retarget(now)

    def _retarget(self, now: float) -> None:
        self._bank(now)
        tau = self._tau()
        power = self._power_target()
        self._rate = self._rate.redirect(now, self._rate_target(), tau)
        self._draw = self._draw.redirect(now, power, tau)
        self._heat = self._heat.redirect(now, self._heat_target(power), THERMAL_TAU)

    def _bank(self, now: float) -> None:
        """Put what was hashed and drawn so far into the totals, so that a new course may begin."""
        self._hashes += self._rate.integral(now)
        self._energy += self._draw.integral(now)
        self._rate = replace(self._rate, start=now, value=self._rate.at(now))
        self._draw = replace(self._draw, start=now, value=self._draw.at(now))

    def _tau(self) -> float:
        if self.state is RigState.RAMPING:
            return self._dynamics.ramp / 4
        if self.state is RigState.HASHING:
            return self._dynamics.settle_tau
        return self._dynamics.sleep_tau

    def _hashes_now(self) -> bool:
        return self.state in {RigState.RAMPING, RigState.HASHING}

    def _rate_target(self) -> float:
        if not self._hashes_now():
            return 0.0
        return self.ideal_hashrate() * self._silicon * self.setting.health

    def _power_target(self) -> float:
        quiet = self._dynamics
        if self.state in {RigState.ASLEEP, RigState.OVERHEATED}:
            return quiet.sleep_power
        if not self._hashes_now():
            return quiet.boot_power
        point = self.model.modes.get(self.setting.mode, self.model.modes[NORMAL])
        clock = math.pow(self.setting.level / 100, 1.4)  # voltage falls with the clock
        leakage = 1 + LEAKAGE_PER_KELVIN * (self.inlet - DEFAULT_INLET)
        dynamic = (self.model.power - quiet.sleep_power) * point.power * clock * leakage * self._thirst
        return quiet.sleep_power + dynamic * self.setting.health

    def _heat_target(self, power: float) -> float:
        rise = RISE_AT_FULL_POWER * math.pow(power / self.model.power, 0.8)
        if self._hashes_now():
            return max(self.inlet + rise, min(FAN_SETPOINT, self.inlet + 2 * rise))
        return self.inlet + rise

    def _fans(self, now: float) -> tuple[RevolutionsPerMinute, ...]:
        speed = self._fan_speed(now)
        return tuple(
            RevolutionsPerMinute(max(0, round(speed * (1 + self.noise(20 + fan, now)) / 60) * 60))
            for fan in range(self.model.fans)
        )

    def _fan_speed(self, now: float) -> float:
        if self.state is RigState.OVERHEATED:
            return FULL_FAN
        if self.state in {RigState.ASLEEP, RigState.IDLE}:
            return SLOW_FAN
        rise = RISE_AT_FULL_POWER * math.pow(self._draw.at(now) / self.model.power, 0.8)
        room = max(1.0, FAN_SETPOINT - self.inlet)
        return FULL_FAN * min(1.0, max(0.3, math.pow(rise / room, 1.67)))
