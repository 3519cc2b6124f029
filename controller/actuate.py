"""Carries plans out: desired against observed state, intent on disk before the first byte, confirmed by observation.

    Plan --Actuator.carry_out--> Move --store.intend--> Instruction --host--> rig
    host --Outcome, Observation--> Actuator --Verdict--> store, metrics, log

Level-triggered: every cycle compares what is wanted with what the rigs say, so a lost command heals in the next one.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from controller.canary import Canary, canary_limit
from controller.clock import Clock
from controller.curve import mode_named
from controller.farm import Farm
from controller.host import Conclusion, Instruction, Outcome, RigHost
from controller.plan import SLEEP, Control, Decision, Plan, Reason, RigView
from controller.scribe import Intent, Journal, Scribe
from controller.track import CommandState, Track, TrackSettings, Verdict
from shedload.device import Command, Mode, Observation, RigName, Wake

FIRM = frozenset(
    {
        Reason.ORDER,
        Reason.SITE_CAP,
        Reason.FEEDER_CAP,
        Reason.METER_OVER_CAP,
        Reason.OVERHEAT,
    }
)
"""Reasons that win over money: no canary holds them back, and a contested rig is commanded again."""
TOUCHED = frozenset({Conclusion.ANSWERED, Conclusion.UNKNOWN})
"""Conclusions after which the command may have taken effect."""
MODE_BEFORE_SLEEP = "mode_before_sleep/"
"""Prefix of the fact that tells in which mode a rig ran before it was sent to sleep."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ActuateSettings:
    """Bounds of commanding; mono seconds."""

    sleep_within: float = 120.0  # from handing over to the reading that shows the effect
    wake_within: float = 900.0
    send_within: float = 60.0  # a command that could not be sent by then is stale
    per_cycle: int = 1000  # commands handed over in one cycle, lowering ones first
    canary_rigs: int = 10
    canary_percent: float = 1.0
    observe: bool = False  # never send anything, whatever groups are set to
    track: TrackSettings = field(default_factory=TrackSettings)


@dataclass(frozen=True, slots=True)
class Move:
    """One command that should go out now."""

    view: RigView
    mode: Mode
    reason: Reason
    lowering: bool


class Actuator:
    """Holds the track of every rig and hands commands to the host."""

    def __init__(
        self,
        farm: Farm,
        journal: Journal,
        clock: Clock,
        settings: ActuateSettings,
        proven: Iterable[str] = (),
    ) -> None:
        self._farm = farm
        self.scribe = Scribe(journal)
        self._clock = clock
        self._settings = settings
        self._tracks = {name: Track(settings.track) for name in farm.records}
        sizes = Counter(record.member.group for record in farm.records.values())
        known = set(proven)
        self.canaries = {
            group: Canary(
                canary_limit(size, rigs=settings.canary_rigs, percent=settings.canary_percent),
                proven=group in known,
            )
            for group, size in sizes.items()
        }
        self._host: RigHost | None = None
        self._verbs: dict[int, str] = {}
        self._local_numbers = itertools.count(-1, -1)  # for lowering commands while the disk takes nothing
        self._modes_stored: dict[str, str] = {}
        self.states: Counter[tuple[str, CommandState]] = Counter()

    def attach(self, host: RigHost) -> None:
        """Say who obeys."""
        self._host = host

    @property
    def tracks(self) -> Mapping[RigName, Track]:
        """Every rig's track. To be read only."""
        return self._tracks

    @property
    def observing(self) -> bool:
        """Nothing is ever sent in this run."""
        return self._settings.observe

    @property
    def journal_failing(self) -> bool:
        """The disk takes nothing, or does not answer: only lowering commands go out."""
        return self.scribe.failing

    def inherit(self, number: int, rig: RigName, verb: str, mode: str) -> bool:
        """Take over a command of an earlier run without an outcome; readings settle it. False for an unknown rig."""
        track = self._tracks.get(rig)
        if track is None:
            return False
        self._verbs[number] = verb
        track.inherit(number, mode, self._clock.mono(), self._patience(mode))
        return True

    def obstacles(self) -> dict[RigName, Reason]:
        """Rigs that the planner should not count on, and why."""
        return {name: track.obstacle for name, track in self._tracks.items() if track.obstacle is not None}

    @property
    def commands_under_way(self) -> bool:
        """Some rig has not shown yet what it was told."""
        return any(track.in_flight is not None for track in self._tracks.values())

    def pending_lowering(self) -> dict[RigName, str]:
        """Modes of the lowering commands that are on their way."""
        return {name: track.in_flight for name, track in self._tracks.items() if track.in_flight == SLEEP}

    def arriving_lowering(self) -> frozenset[RigName]:
        """Rigs whose lowering may be counted on to bring the power down soon; the others explain no excess."""
        mono = self._clock.mono()
        return frozenset(
            name for name, track in self._tracks.items() if track.in_flight == SLEEP and track.arriving(mono)
        )

    async def carry_out(
        self,
        plan: Plan,
        views: Mapping[RigName, RigView],
        *,
        allows: Callable[[Move], bool],
    ) -> int:
        """Send what the plan asks for and the rigs do not show yet; returns how many commands went out.

        `allows` is asked again for every raise after its intent is on disk, just before it is sent.
        """
        self._give_up_overdue(views)
        moves = self._moves(plan, views)
        if not moves:
            return 0
        numbers = await self._intend(moves)
        count = 0
        for move, number in zip(moves, numbers, strict=True):
            if number is None:
                self._hold_back(move)
                continue
            # The disk took its time: what was decided before may not stand any more.
            steered = self._farm.records[move.view.name].member.control is Control.AUTO
            if not steered or not (move.lowering or allows(move)):
                self._close(Verdict(number, CommandState.SUPERSEDED, "no longer allowed"), move.mode.command)
                self._hold_back(move)
                continue
            self._send(move, number)
            count += 1
        return count

    def observed(self, batch: Sequence[Observation]) -> None:
        """Take readings, after the farm has taken them."""
        for observation in batch:
            track = self._tracks[observation.rig]
            if observation.telemetry is None or not (track.in_flight or track.refusing):
                continue
            if self._farm.settled(observation.rig):
                self._take(observation.rig, track, observation.taken)

    def concluded(self, outcome: Outcome) -> None:
        """Take the outcome of an instruction."""
        detail = outcome.failure.detail if outcome.failure is not None else ""
        track = self._tracks[outcome.rig]
        if self._verbs.get(outcome.number) == Wake.verb and outcome.conclusion in TOUCHED:
            self._farm.waking(outcome.rig, outcome.finished)
        refusing = track.refusing
        verdict = track.concluded(outcome.number, outcome.conclusion, detail, outcome.finished)
        if outcome.receipt is not None:
            log.info("command_answered", rig=outcome.rig, **_evidence(outcome))
        if outcome.conclusion in (Conclusion.FAILED, Conclusion.EXPIRED):
            self._canary(outcome.rig).name(outcome.rig)  # it was never touched
        if verdict is not None:
            self._note(outcome.rig, verdict)
        if track.refusing and not refusing:
            self._name_refusing(outcome.rig)

    def _moves(self, plan: Plan, views: Mapping[RigName, RigView]) -> list[Move]:
        if self._settings.observe:
            return []
        mono, plant = self._clock.mono(), self._clock.plant()
        ordered = plan.limit_reason is Reason.ORDER
        moves = [
            move
            for name, decision in plan.decisions.items()
            if (move := self._move(views[name], decision, mono, plant, ordered=ordered)) is not None
        ]
        moves.sort(key=lambda move: not move.lowering)  # stable: lowering first, then the plan's own order
        return list(itertools.islice(filter(self._careful, moves), self._settings.per_cycle))

    def _careful(self, move: Move) -> bool:
        """Whether the canary lets this one through; it then counts at once, so that a cycle never sends too many."""
        name = move.view.name
        if move.reason in FIRM or self._tracks[name].commanded:
            return True
        canary = self._canary(name)
        if not canary.allows(name):
            return False
        canary.touch(name)
        return True

    def _hold_back(self, move: Move) -> None:
        if not self._tracks[move.view.name].commanded:
            self._canary(move.view.name).name(move.view.name)

    def _move(self, view: RigView, decision: Decision, mono: float, plant: float, *, ordered: bool) -> Move | None:
        if view.control is not Control.AUTO or view.mode is None or not view.modes:
            return None
        track = self._tracks[view.name]
        # Under an order even a sleep for money is asserted against whoever undoes it: its power is the order's too.
        firm = decision.reason in FIRM or (ordered and decision.mode == SLEEP)
        if not self._ready(track, view, decision.mode, mono, plant, firm=firm):
            return None
        mode = mode_named(view.modes, decision.mode)
        if mode is None:
            return None
        on_its_way, present = mode_named(view.modes, track.in_flight), mode_named(view.modes, view.mode)
        if on_its_way is not None and on_its_way.power < mode.power:
            return None  # what goes down arrives there first: noise around a limit must not turn rigs on and off
        return Move(view, mode, decision.reason, lowering=present is None or mode.power <= present.power)

    def _ready(self, track: Track, view: RigView, mode: str, mono: float, plant: float, *, firm: bool) -> bool:
        contested = track.contested
        ready = track.ready(mode, view.mode, mono, plant, firm=firm)
        if track.contested and not contested:
            log.error("rig_contested", rig=view.name, detail=track.detail)
        return ready

    async def _intend(self, moves: Sequence[Move]) -> Sequence[int | None]:
        intents = [
            Intent(move.view.name, move.mode.command.verb, move.mode.name, move.reason.value, move.view.mode)
            for move in moves
        ]
        facts = self._modes_before_sleep(moves)
        numbers = await self.scribe.intend(intents, facts)
        if numbers is not None:
            self._modes_stored.update(facts)
            return numbers
        # What lowers is safe to repeat and may not wait for a disk; what raises stays where it is.
        return [next(self._local_numbers) if move.lowering else None for move in moves]

    def _modes_before_sleep(self, moves: Sequence[Move]) -> dict[str, str]:
        """Facts to be written: firmware forgets the mode that it slept from, the store does not."""
        facts = {
            MODE_BEFORE_SLEEP + move.view.name: self._farm.records[move.view.name].mode
            for move in moves
            if move.mode.name == SLEEP
        }
        return {key: mode for key, mode in facts.items() if self._modes_stored.get(key) != mode}

    def _send(self, move: Move, number: int) -> None:
        assert self._host is not None
        mono = self._clock.mono()
        name = move.view.name
        self._verbs[number] = move.mode.command.verb
        before = self._tracks[name].sent(number, move.mode.name, self._patience(move.mode.name))
        if before is not None:
            self._note(name, before)
        if not move.lowering:
            self._farm.waking(name, mono)
        self.states[move.mode.command.verb, CommandState.PLANNED] += 1
        self._host.instruct(
            Instruction(number, name, move.mode.command, move.lowering, mono + self._settings.send_within)
        )

    def _patience(self, mode: str) -> float:
        return self._settings.sleep_within if mode == SLEEP else self._settings.wake_within

    def _take(self, rig: RigName, track: Track, taken: float) -> None:
        refusing = track.refusing
        verdict = track.observed(self._farm.observed_mode(rig), taken)
        if verdict is not None:
            self._note(rig, verdict)
        if refusing and not track.refusing:
            log.warning("rig_obeys_again", rig=rig)

    def _give_up_overdue(self, views: Mapping[RigName, RigView]) -> None:
        mono = self._clock.mono()
        for name, track in self._tracks.items():
            if track.in_flight is None:
                continue
            view = views.get(name)
            verdict = track.overdue(view.mode if view else None, self._farm.records[name].seen, mono)
            if verdict is not None:
                self._note(name, verdict)
                if track.refusing:
                    self._name_refusing(name)
            elif track.awaiting and track.in_flight == SLEEP and self._host is not None:
                self._host.refresh(name)  # others may wait for the power that it frees

    def _note(self, rig: RigName, verdict: Verdict) -> None:
        verb = self._verbs.get(verdict.number, "unknown")
        ended = verdict.state not in (CommandState.SENT, CommandState.UNKNOWN)
        if ended:
            self._verbs.pop(verdict.number, None)
        self.states[verb, verdict.state] += 1
        self._queue(verdict)
        if verdict.state is CommandState.CONFIRMED:
            log.info("command_confirmed", rig=rig, verb=verb)
            self._prove(rig)
        elif verdict.state not in (CommandState.SENT, CommandState.SUPERSEDED):
            log.warning("command_not_confirmed", rig=rig, verb=verb, state=verdict.state, detail=verdict.detail)

        if verdict.state is CommandState.EXPIRED and self._canary(rig).lose(rig):
            log.error(
                "canary_stalled", rigs=sorted(self._canary(rig).lost), effect="no other rig of the group is tried"
            )

    def _name_refusing(self, rig: RigName) -> None:
        log.error("rig_refusing", rig=rig, detail=self._tracks[rig].detail)
        if rig not in self._canary(rig).lost:
            self._canary(rig).name(rig)

    def _canary(self, rig: RigName) -> Canary:
        return self.canaries[self._farm.records[rig].member.group]

    def _prove(self, rig: RigName) -> None:
        canary = self._canary(rig)
        if canary.confirm(rig):
            group = self._farm.records[rig].member.group
            self.scribe.prove(group)
            log.info("group_proven", group=group, confirmed=len(canary.confirmed))

    def _close(self, verdict: Verdict, command: Command) -> None:
        self.states[command.verb, verdict.state] += 1
        self._queue(verdict)

    def _queue(self, verdict: Verdict) -> None:
        if verdict.number > 0:  # others never were on disk
            self.scribe.verdict(verdict)


def _evidence(outcome: Outcome) -> dict[str, object]:
    receipt = outcome.receipt
    assert receipt is not None
    return {"verb": receipt.verb, "changed": receipt.changed, "evidence": dict(receipt.evidence)}
