"""When each rig is read: on a grid of its own, with jitter, backoff for those that fail, and bounded concurrency.

Rigs that failed last time queue at a gate of their own, and a reading that waits for its rig soon gives its place at
the gate back: a fifth of the fleet hanging until its deadline never takes the places of the healthy.
"""

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from controller.lane import Lane
from shedload.device import Observation, RigName

JITTER = 0.05
"""Part of the interval by which readings move about, so that rigs behind one switch do not fall into step."""
SUSPECT_SHARE = 0.25
"""Part of the concurrency that rigs may take which failed last time."""
GATE_TIME = 1.0
"""Seconds after which a reading gives its place at the gate to the next: one that still waits costs no processor."""


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Cadence and bounds of reading. Seconds unless the name says otherwise."""

    interval: float = 10.0
    budget: float = 8.0  # hard end of one reading: several exchanges of a slow control board
    command_budget: float = 90.0  # a stock CGI may take 45 s to write flash and 30 s until it can be read back
    backoff_max: float = 120.0
    concurrency: int = 256
    command_concurrency: int = 256
    seed: int | None = None  # None: drawn from the process's own chance


@dataclass(slots=True)
class _Entry:
    lane: Lane
    phase: float  # an instant of this rig's grid; every interval before and after it is another
    due: float
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    reading: bool = False
    hurried: bool = False


class Poller:
    """Keeps every lane's next reading on the loop's own timer heap."""

    def __init__(
        self,
        settings: PollSettings,
        mono: Callable[[], float],
        observe: Callable[[Observation], None],
    ) -> None:
        self._settings = settings
        self._mono = mono
        self._observe = observe
        self._random = random.Random(random.getrandbits(64) if settings.seed is None else settings.seed)
        suspects = max(1, int(settings.concurrency * SUSPECT_SHARE))
        self._suspects = asyncio.Semaphore(suspects)
        self._healthy = asyncio.Semaphore(max(1, settings.concurrency - suspects))
        self._entries: dict[RigName, _Entry] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, lanes: Sequence[Lane]) -> None:
        """Read until cancelled. The first pass is spread over one interval."""
        start = self._mono()
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for place, lane in enumerate(lanes):
                    due = start + self._settings.interval * place / len(lanes)
                    entry = self._entries[lane.name] = _Entry(lane, due, due)
                    self._arm(entry)
                await asyncio.Event().wait()
        finally:
            self._group = None
            for entry in self._entries.values():
                if entry.timer is not None:
                    entry.timer.cancel()

    def hurry(self, rig: RigName) -> None:
        """Read this rig at once, or right after the reading in progress."""
        entry = self._entries.get(rig)
        if entry is None:
            return
        if entry.reading:
            entry.hurried = True
            return
        entry.due = self._mono()
        self._arm(entry)

    def _arm(self, entry: _Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
        delay = max(0.0, entry.due - self._mono())
        entry.timer = asyncio.get_running_loop().call_later(delay, self._launch, entry)

    def _launch(self, entry: _Entry) -> None:
        entry.timer = None
        # A lane with a command on its way says so when it is free again; its reading waits for that.
        if self._group is None or entry.lane.busy:
            return
        if self._mono() - entry.due > self._settings.interval:
            # The loop stood still: everything is overdue at once. Back to the grid, where the rigs are spread.
            entry.due = self._beat(entry, self._mono())
            self._arm(entry)
            return
        entry.reading, entry.hurried = True, False
        self._group.create_task(self._read(entry), name=f"poll {entry.lane.name}")

    async def _read(self, entry: _Entry) -> None:
        gate = self._suspects if entry.failures else self._healthy
        await gate.acquire()
        with _Place(gate, held=math.inf if entry.failures else GATE_TIME):
            observation = await entry.lane.poll(entry.due)
        entry.reading = False
        if observation is None:
            return  # a command took the lane; it calls hurry() when it is done
        entry.failures = 0 if observation.failure is None else entry.failures + 1
        entry.due = self._next_due(entry)
        self._arm(entry)
        self._observe(observation)

    def _next_due(self, entry: _Entry) -> float:
        now, interval = self._mono(), self._settings.interval
        if entry.failures:
            wait = min(self._settings.backoff_max, interval * 2.0 ** min(entry.failures - 1, 16))
            return now + wait * self._random.uniform(0.8, 1.2)
        if entry.hurried:
            return now
        # A grid, not a delay after the last reading: slow replies must not stretch the interval. A reading that was
        # hurried moves nothing, or a whole site that obeys one order would be read in step from then on.
        beat = self._beat(entry, max(now, entry.due + interval / 2))
        return max(now, beat + self._random.uniform(-JITTER, JITTER) * interval)

    def _beat(self, entry: _Entry, after: float) -> float:
        """The first instant of the rig's grid that is not before `after`."""
        interval = self._settings.interval
        return entry.phase + interval * math.ceil((after - entry.phase) / interval)


class _Place:
    """A place at a gate that is given back after `held` seconds or at the end, whatever comes first."""

    def __init__(self, gate: asyncio.Semaphore, held: float) -> None:
        self._gate = gate
        self._held = held

    def __enter__(self) -> None:
        self._timer = None if math.isinf(self._held) else asyncio.get_running_loop().call_later(self._held, self._free)
        self._taken = True

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._free()

    def _free(self) -> None:
        if self._taken:
            self._taken = False
            self._gate.release()
