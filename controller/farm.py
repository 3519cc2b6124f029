"""What we know of every rig: the last good reading, its age, its believed draw, and what does not hold together.

    host --Observation--> Farm --RigView--> planner, metrics, API

The farm concludes, it never commands. A reading lives for `stale_after`; after that the rig is offline and its figures
are gone, whatever they were.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from controller.clock import Clock
from controller.normal import Normal, Normals
from controller.plan import SLEEP, Control, Reason, RigState, RigView
from controller.plausible import (
    ShareMark,
    Suspicion,
    claims,
    finite,
    implausible,
    share_mark,
    shares_missing,
    still_hashing,
)
from shedload.device import (
    Activity,
    Mode,
    Observation,
    PowerSource,
    ReadFailure,
    RigName,
    Sleep,
    Telemetry,
    Wake,
)
from shedload.nameplate import SLEEP_POWER, nameplate
from shedload.units import HashesPerSecond, Watts

SETTLED_AFTER = 1200.0
"""Plant seconds awake before readings tell what is normal: boot, ramp and tuning are over."""
NORMAL_MODE = "normal"
TELL_AGAIN = 3600.0
"""Seconds after which the log hears again of a kind of failure that a rig had before; kinds are a closed set."""

log = structlog.get_logger(__name__)

_STATE_OF = {
    Activity.HASHING: RigState.HASHING,
    Activity.RAMPING: RigState.RAMPING,
    Activity.IDLE: RigState.IDLE,
    Activity.ASLEEP: RigState.ASLEEP,
}


@dataclass(frozen=True, slots=True)
class Member:
    """A slot as the farm needs to know it."""

    name: RigName
    group: str = "default"
    feeder: str = ""
    control: Control = Control.OBSERVE
    model: str | None = None  # by the inventory; what the rig says of itself comes first


class RigRecord:
    """Everything remembered of one rig. Written by the farm alone."""

    __slots__ = (
        "awake",
        "failure",
        "failures",
        "late",
        "member",
        "mode",
        "normal",
        "readings",
        "seen",
        "share_mark",
        "since",
        "still",
        "suspicions",
        "telemetry",
        "told",
        "woken",
    )

    def __init__(self, member: Member) -> None:
        self.member = member
        self.telemetry: Telemetry | None = None  # last good one, however old
        self.seen: float | None = None  # Clock.mono() of it
        self.late = 0.0  # seconds by which the last reading came after it was due
        self.readings = 0
        self.failure: ReadFailure | None = None  # of the last attempt, None when that succeeded
        self.failures = 0  # in a row
        self.told: dict[str, float] = {}  # kinds of failure that the log heard of, and when
        self.awake: bool | None = None  # as last seen
        self.woken: float | None = None  # Clock.mono() until which a wake was on its way to it
        self.mode = NORMAL_MODE  # the mode it runs in when it is awake
        self.since: float | None = None  # plant time of the last change between asleep and awake, where known
        self.normal = Normal(nameplate(member.model))
        self.share_mark: ShareMark | None = None
        self.still = False  # says asleep, and its counters bear it out
        self.suspicions: frozenset[Suspicion] = frozenset()


class Farm:
    """All rigs of one electrical domain."""

    def __init__(self, members: Iterable[Member], clock: Clock, *, stale_after: float) -> None:
        self._clock = clock
        self._stale_after = stale_after
        self._normals = Normals()
        self._records = {member.name: RigRecord(member) for member in members}

    @property
    def records(self) -> Mapping[RigName, RigRecord]:
        """Every rig's record, in inventory order. To be read only."""
        return self._records

    def set_control(self, group: str, control: Control) -> None:
        """Change how far the daemon goes with a group."""
        for record in self._records.values():
            if record.member.group == group:
                member = record.member
                record.member = Member(member.name, member.group, member.feeder, control, member.model)

    def observed(self, batch: Sequence[Observation]) -> None:
        """Take readings."""
        plant = self._clock.plant()
        for observation in batch:
            record = self._records[observation.rig]
            if observation.telemetry is None:
                record.failures += 1
                record.failure = observation.failure
                _tell(record, observation)
            else:
                if record.failures and not self._fresh(record):
                    log.info("rig_readable", rig=observation.rig, failures=record.failures)
                self._take(record, observation.telemetry, observation, plant)

    def restore_mode(self, rig: RigName, mode: str) -> None:
        """Remember the mode that a rig ran in before it was sent to sleep; many firmwares forget it."""
        if rig in self._records:
            self._records[rig].mode = mode

    def restore_normal(self, rig: RigName, power: float, rate: float) -> None:
        """Remember what a rig draws and hashes in its normal mode: measured by an earlier run, better than a nameplate.

        Without it sleeping rigs and measured ones would be compared by different rules after a restart, and swapped.
        """
        record = self._records.get(rig)
        if record is not None:
            self._normals.restore(record.normal, power, rate)

    def normal(self, rig: RigName) -> tuple[Watts, HashesPerSecond] | None:
        """What a rig was measured to draw and hash in its normal mode; None before both are known."""
        return self._normals.measured(self._records[rig].normal)

    def waking(self, rig: RigName, at: float) -> None:
        """Count a rig as awake if no reading comes after `at` (mono): a wake was sent, or its outcome known, then."""
        self._records[rig].woken = at

    def live(self, rig: RigName) -> Telemetry | None:
        """The last good reading while it is fresh."""
        record = self._records[rig]
        return record.telemetry if self._fresh(record) else None

    def age(self, rig: RigName) -> float | None:
        """Seconds since the last good reading, None when there never was one."""
        seen = self._records[rig].seen
        return None if seen is None else self._clock.mono() - seen

    def state(self, rig: RigName) -> RigState:
        """What we believe of the rig now."""
        record = self._records[rig]
        if not self._fresh(record):
            return RigState.UNKNOWN if record.seen is None and record.failures == 0 else RigState.OFFLINE
        telemetry = record.telemetry
        if telemetry is None or telemetry.activity is None:
            return RigState.UNKNOWN
        if Suspicion.SLEEPING_HASHER in record.suspicions:
            return RigState.HASHING
        return _STATE_OF[telemetry.activity]

    def observed_mode(self, rig: RigName) -> str | None:
        """The mode that the rig shows; None when it is unreachable or says nothing."""
        return self._observed_mode(self._records[rig], self.state(rig))

    def settled(self, rig: RigName) -> bool:
        """Whether the mode that the rig shows is believed: a sleep is, once its share counters stand still."""
        return self.state(rig) is not RigState.ASLEEP or self._records[rig].still

    def complete(self) -> bool:
        """Whether every rig has been tried at least once."""
        return all(record.readings or record.failures for record in self._records.values())

    def power(self, rig: RigName) -> tuple[Watts | None, PowerSource | None]:
        """Best belief of the present draw, never below what the rig may really draw.

        A rig on its way up counts in full, an unreachable one at the higher of the levels it may be at.
        """
        record = self._records[rig]
        telemetry = record.telemetry if self._fresh(record) else None
        nominal = self._normals.power(record.normal)
        asleep = record.awake is False and Suspicion.SLEEPING_HASHER not in record.suspicions and not _waking(record)
        reported = telemetry.power if telemetry is not None else None
        if reported is not None and Suspicion.POWER_IMPLAUSIBLE in record.suspicions:
            reported = None
        if telemetry is not None and telemetry.activity is Activity.RAMPING and nominal is not None:
            return max(nominal, reported or nominal), PowerSource.ESTIMATED
        if reported is not None and Suspicion.SLEEPING_HASHER not in record.suspicions:
            return reported, telemetry.power_source if telemetry is not None else None
        return (SLEEP_POWER if asleep else nominal), PowerSource.ESTIMATED

    def views(self, obstacles: Mapping[RigName, Reason]) -> tuple[RigView, ...]:
        """One view per rig for the planner; `obstacles` are the actuator's reasons to leave rigs alone."""
        return tuple(self._view(record, obstacles.get(name)) for name, record in self._records.items())

    def _view(self, record: RigRecord, obstacle: Reason | None) -> RigView:
        name = record.member.name
        state = self.state(name)
        modes = self._modes(record)
        power, source = self.power(name)
        if state in (RigState.UNKNOWN, RigState.OFFLINE):
            obstacle = Reason.UNREACHABLE
        elif not modes:
            obstacle = Reason.ECONOMICS_UNKNOWN
        elif record.member.control is Control.OBSERVE:
            obstacle = Reason.OBSERVE_ONLY
        return RigView(
            name=name,
            group=record.member.group,
            feeder=record.member.feeder,
            control=record.member.control,
            state=state,
            modes=modes,
            mode=self._observed_mode(record, state),
            power=power,
            power_source=source,
            telemetry=self.live(name),
            age=self.age(name),
            since=record.since,
            commandable=obstacle is None,
            obstacle=obstacle,
            nominal_power=self._normals.power(record.normal),
            efficiency=self._normals.efficiency(record.normal),
        )

    def _take(self, record: RigRecord, telemetry: Telemetry, observation: Observation, plant: float) -> None:
        telemetry = finite(telemetry)
        self._judge(record, telemetry, observation.taken, plant)
        record.telemetry, record.seen = telemetry, observation.taken
        record.late = observation.taken - observation.due
        record.readings += 1
        record.failures, record.failure = 0, None
        if telemetry.identity is not None and telemetry.identity.model:
            record.normal.plate = nameplate(telemetry.identity.model) or record.normal.plate
        self._settle(record, telemetry, plant)
        settled = record.since is None or plant - record.since >= SETTLED_AFTER
        if telemetry.activity is Activity.HASHING and settled and not record.suspicions:
            self._normals.learn(record.normal, telemetry)

    def _settle(self, record: RigRecord, telemetry: Telemetry, plant: float) -> None:
        if telemetry.activity is None:
            return
        awake = telemetry.activity is not Activity.ASLEEP
        if record.awake is None:
            # Found so: since when, only the uptime of one that hashes can tell.
            record.since = plant - telemetry.uptime if awake and telemetry.uptime is not None else None
        elif awake != record.awake:
            record.since = plant
        record.awake = awake
        if awake and telemetry.mode not in (None, SLEEP):
            record.mode = telemetry.mode or NORMAL_MODE

    def _judge(self, record: RigRecord, telemetry: Telemetry, taken: float, plant: float) -> None:
        """What of this reading does not hold together, by itself and with the readings before it."""
        found = set(implausible(telemetry, self._normals.rate(record.normal), self._normals.power(record.normal)))
        asleep = telemetry.activity is Activity.ASLEEP
        now, mark = share_mark(telemetry, plant), record.share_mark
        elapsed = self._plant_span(taken - (record.seen or taken))
        reset = _restarted(record.telemetry, telemetry, elapsed) or (
            now is not None and mark is not None and now.shares < mark.shares
        )
        if now is None or mark is None or reset or asleep is not (record.awake is False):
            record.share_mark = now
            record.still = asleep and (now is None or reset)
        elif asleep:
            self._judge_sleep(record, mark, now, found)
        else:
            self._judge_rate(record, claims(mark, telemetry, elapsed), now, found)
        record.suspicions = frozenset(found)

    def _judge_sleep(self, record: RigRecord, mark: ShareMark, now: ShareMark, found: set[Suspicion]) -> None:
        hashing = still_hashing(mark, now, self._normals.rate(record.normal))
        if hashing is not None:
            record.share_mark = now
            record.still = not hashing
        if hashing or (hashing is None and Suspicion.SLEEPING_HASHER in record.suspicions):
            found.add(Suspicion.SLEEPING_HASHER)

    def _judge_rate(self, record: RigRecord, mark: ShareMark, now: ShareMark, found: set[Suspicion]) -> None:
        missing = None
        if self._fresh(record):
            record.share_mark = mark
            missing = shares_missing(mark, now)
        if missing is not None or not self._fresh(record):  # nobody knows what it did while it was away
            record.share_mark = now
        if missing or (missing is None and Suspicion.SHARES_MISSING in record.suspicions):
            found.add(Suspicion.SHARES_MISSING)

    def _plant_span(self, seconds: float) -> float:
        return seconds * self._clock.plant_rate

    def _modes(self, record: RigRecord) -> tuple[Mode, ...]:
        power, rate = self._normals.power(record.normal), self._normals.rate(record.normal)
        if power is None or rate is None:
            return ()
        return (
            Mode(SLEEP, min(SLEEP_POWER, power), HashesPerSecond(0.0), Sleep()),
            Mode(record.mode, power, rate, Wake(record.mode)),
        )

    def _observed_mode(self, record: RigRecord, state: RigState) -> str | None:
        if state in (RigState.UNKNOWN, RigState.OFFLINE):
            return None
        return SLEEP if state is RigState.ASLEEP else record.mode

    def _fresh(self, record: RigRecord) -> bool:
        return record.seen is not None and self._clock.mono() - record.seen <= self._stale_after


def _tell(record: RigRecord, observation: Observation) -> None:
    """The log hears of each kind of failure of a rig once in a while, however often it comes back."""
    failure, told = observation.failure, record.told
    if failure is None or observation.taken - told.get(failure.kind, -math.inf) < TELL_AGAIN:
        return
    told[failure.kind] = observation.taken
    log.warning("rig_unreadable", rig=observation.rig, kind=failure.kind, detail=failure.detail)


def _waking(record: RigRecord) -> bool:
    """A wake was on its way after the last reading."""
    return record.woken is not None and (record.seen is None or record.seen <= record.woken)


def _restarted(before: Telemetry | None, now: Telemetry, elapsed: float) -> bool:
    """The miner's uptime went down, or is shorter than the time since the last reading: its counters began anew."""
    if before is None or before.uptime is None or now.uptime is None or now.uptime == before.uptime:
        return False
    return now.uptime < before.uptime or now.uptime < elapsed
