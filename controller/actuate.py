"""Carries plans out: desired against observed state, intent on disk before the first byte, confirmed by observation.

    Plan --Actuator.carry_out--> Move --store.intend--> Instruction --host--> rig
    host --Outcome, Observation--> Actuator --Verdict--> store, metrics, log

Level-triggered: every cycle compares what is wanted with what the rigs say, so a lost command heals in the next one.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from controller.canary import Canary, canary_limit
from controller.clock import Clock
from controller.farm import Farm
from controller.host import Instruction, Outcome, RigHost
from controller.plan import SLEEP, Control, Decision, Plan, Reason, RigView
from controller.track import CommandState, Track, TrackSettings, Verdict
from shedload.device import Command, Mode, Observation, RigName
from shedload.errors import StoreError

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
MODE_BEFORE_SLEEP = "mode_before_sleep/"
"""Prefix of the fact that tells in which mode a rig ran before it was sent to sleep."""
MAX_VERDICTS = 100_000
"""Verdicts waiting for the disk; when it hangs longer than this lasts, the oldest are dropped and counted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is written down before a command leaves."""

    rig: RigName
    verb: str
    mode: str
    reason: str
    mode_before: str | None


class Journal(Protocol):
    """The part of the store that the actuator needs."""

    async def intend(self, intents: Sequence[Intent]) -> Sequence[int]:
        """Write intents to disk and return their numbers. Raises StoreError."""
        ...

    async def settle(self, verdicts: Sequence[Verdict]) -> None:
        """Write down what became of commands. Raises StoreError."""
        ...

    async def remember(self, facts: Mapping[str, Any]) -> None:
        """Write small facts. Raises StoreError."""
        ...

    async def prove(self, group: str) -> None:
        """Note that a group's first commands were obeyed. Raises StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class ActuateSettings:
    """Bounds of commanding; mono seconds."""

    sleep_within: float = 120.0  # from handing over to the reading that shows the effect
    wake_within: float = 900.0
    send_within: float = 60.0  # a command that could not be sent by then is stale
    per_cycle: int = 1000  # commands handed over in one cycle, lowering ones first
    canary_rigs: int = 10
    canary_percent: float = 1.0
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
        self._journal = journal
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
        self._verdicts: list[Verdict] = []
        self._proven: list[str] = []
        self._modes_stored: dict[str, str] = {}
        self._written = asyncio.Event()
        self.journal_failing = False
        self.states: Counter[tuple[str, CommandState]] = Counter()
        self.dropped_verdicts = 0

    def attach(self, host: RigHost) -> None:
        """Say who obeys."""
        self._host = host

    @property
    def tracks(self) -> Mapping[RigName, Track]:
        """Every rig's track. To be read only."""
        return self._tracks

    def obstacles(self) -> dict[RigName, Reason]:
        """Rigs that the planner should not count on, and why."""
        return {name: track.obstacle for name, track in self._tracks.items() if track.obstacle is not None}

    def pending_lowering(self) -> dict[RigName, str]:
        """Modes of the lowering commands that are on their way."""
        return {name: track.in_flight for name, track in self._tracks.items() if track.in_flight == SLEEP}

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
                continue
            if not move.lowering and not allows(move):
                self._close(Verdict(number, CommandState.SUPERSEDED, "no longer allowed"), move.mode.command)
                continue
            self._send(move, number)
            count += 1
        return count

    def observed(self, batch: Sequence[Observation]) -> None:
        """Take readings, after the farm has taken them."""
        for observation in batch:
            track = self._tracks[observation.rig]
            if observation.telemetry is None or track.in_flight is None:
                continue
            mode = self._shown(observation.rig)
            verdict = track.observed(mode, observation.taken)
            if verdict is not None:
                self._note(observation.rig, verdict)

    def concluded(self, outcome: Outcome) -> None:
        """Take the outcome of an instruction."""
        detail = outcome.failure.detail if outcome.failure is not None else ""
        track = self._tracks[outcome.rig]
        refusing = track.refusing
        verdict = track.concluded(outcome.number, outcome.conclusion, detail, outcome.finished)
        if outcome.receipt is not None:
            log.info("command_answered", rig=outcome.rig, **_evidence(outcome))
        if verdict is not None:
            self._note(outcome.rig, verdict)
        if track.refusing and not refusing:
            self._name_refusing(outcome.rig)

    async def write_down(self) -> None:
        """Bring verdicts to disk, for as long as the daemon runs."""
        while True:
            await self._written.wait()
            self._written.clear()
            await self.flush()

    async def flush(self) -> None:
        """Bring the verdicts that are waiting to disk; they stay when it takes nothing."""
        verdicts, self._verdicts = self._verdicts, []
        if not verdicts and not self._proven:
            return
        try:
            await self._journal.settle(verdicts)
            while self._proven:
                await self._journal.prove(self._proven[0])
                self._proven.pop(0)
        except StoreError as error:
            self._fail(error)
            keep = (verdicts + self._verdicts)[-MAX_VERDICTS:]
            self.dropped_verdicts += len(verdicts) + len(self._verdicts) - len(keep)
            self._verdicts = keep
        else:
            self.journal_failing = False

    def _moves(self, plan: Plan, views: Mapping[RigName, RigView]) -> list[Move]:
        mono, plant = self._clock.mono(), self._clock.plant()
        moves = [
            move
            for name, decision in plan.decisions.items()
            if (move := self._move(views[name], decision, mono, plant)) is not None
        ]
        moves.sort(key=lambda move: not move.lowering)  # stable: lowering first, then the plan's own order
        return moves[: self._settings.per_cycle]

    def _move(self, view: RigView, decision: Decision, mono: float, plant: float) -> Move | None:
        if view.control is not Control.AUTO or view.mode is None or not view.modes:
            return None
        firm = decision.reason in FIRM
        track = self._tracks[view.name]
        if not track.ready(decision.mode, view.mode, mono, plant, firm=firm):
            return None
        canary = self.canaries[view.group]
        if not firm and not track.commanded and not canary.allows(view.name):
            return None
        mode = next((mode for mode in view.modes if mode.name == decision.mode), None)
        if mode is None:
            return None
        present = next((mode for mode in view.modes if mode.name == view.mode), None)
        lowering = present is None or mode.power <= present.power
        return Move(view, mode, decision.reason, lowering)

    async def _intend(self, moves: Sequence[Move]) -> list[int | None]:
        intents = [
            Intent(move.view.name, move.mode.command.verb, move.mode.name, move.reason.value, move.view.mode)
            for move in moves
        ]
        try:
            await self._remember_modes(moves)
            numbers: list[int | None] = list(await self._journal.intend(intents))
        except StoreError as error:
            self._fail(error)
            # What lowers is safe to repeat and may not wait for a disk; what raises stays where it is.
            return [next(self._local_numbers) if move.lowering else None for move in moves]
        self.journal_failing = False
        return numbers

    async def _remember_modes(self, moves: Sequence[Move]) -> None:
        """Firmware forgets the mode it slept from; the store does not."""
        facts = {
            MODE_BEFORE_SLEEP + move.view.name: self._farm.records[move.view.name].mode
            for move in moves
            if move.mode.name == SLEEP
        }
        new = {key: mode for key, mode in facts.items() if self._modes_stored.get(key) != mode}
        if new:
            await self._journal.remember(new)
            self._modes_stored.update(new)

    def _send(self, move: Move, number: int) -> None:
        assert self._host is not None
        mono = self._clock.mono()
        name = move.view.name
        self._verbs[number] = move.mode.command.verb
        patience = self._settings.sleep_within if move.lowering else self._settings.wake_within
        before = self._tracks[name].sent(number, move.mode.name, mono, mono + patience)
        if before is not None:
            self._note(name, before)
        if not move.lowering:
            self._farm.waking(name)
        if move.reason not in FIRM:
            self.canaries[move.view.group].touch(name)
        self.states[move.mode.command.verb, CommandState.PLANNED] += 1
        self._host.instruct(
            Instruction(number, name, move.mode.command, move.lowering, mono + self._settings.send_within)
        )

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
            elif track.awaiting and self._host is not None:
                self._host.refresh(name)

    def _shown(self, rig: RigName) -> str | None:
        return self._farm.observed_mode(rig)

    def _note(self, rig: RigName, verdict: Verdict) -> None:
        verb = self._verbs.get(verdict.number, "unknown")
        ended = verdict.state not in (CommandState.SENT, CommandState.UNKNOWN)
        if ended:
            self._verbs.pop(verdict.number, None)
        self.states[verb, verdict.state] += 1
        self._queue(verdict)
        if verdict.state is CommandState.CONFIRMED:
            log.info("command_confirmed", rig=rig, verb=verb)
            self._prove(rig, obeyed=True)
        elif verdict.state not in (CommandState.SENT, CommandState.SUPERSEDED):
            log.warning("command_not_confirmed", rig=rig, verb=verb, state=verdict.state, detail=verdict.detail)

    def _name_refusing(self, rig: RigName) -> None:
        log.error("rig_refusing", rig=rig, detail=self._tracks[rig].detail)
        self._prove(rig, obeyed=False)

    def _prove(self, rig: RigName, *, obeyed: bool) -> None:
        group = self._farm.records[rig].member.group
        canary = self.canaries[group]
        if not obeyed:
            canary.name(rig)
        elif canary.confirm(rig):
            self._proven.append(group)
            self._written.set()
            log.info("group_proven", group=group, confirmed=len(canary.confirmed))

    def _close(self, verdict: Verdict, command: Command) -> None:
        self.states[command.verb, verdict.state] += 1
        self._queue(verdict)

    def _queue(self, verdict: Verdict) -> None:
        if verdict.number > 0:
            self._verdicts.append(verdict)
            self._written.set()

    def _fail(self, error: StoreError) -> None:
        if not self.journal_failing:
            log.error("journal_failing", error=str(error), effect="only lowering commands go out")
        self.journal_failing = True


def _evidence(outcome: Outcome) -> dict[str, object]:
    receipt = outcome.receipt
    assert receipt is not None
    return {"verb": receipt.verb, "changed": receipt.changed, "evidence": dict(receipt.evidence)}
