"""When each rig is read: spread over the interval, with jitter, backoff for those that fail, and bounded concurrency.

Rigs that failed last time queue at a gate of their own, so that a fifth of the fleet hanging until its deadline never
takes the places of the healthy.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from controller.lane import Lane
from shedload.device import Observation, RigName

JITTER = 0.05
"""Part of the interval by which readings move about, so that rigs behind one switch do not fall into step."""
SUSPECT_SHARE = 0.25
"""Part of the concurrency that rigs may take which failed last time."""


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Cadence and bounds of reading. Seconds unless the name says otherwise."""

    interval: float = 10.0
    budget: float = 8.0  # hard end of one reading: several exchanges of a slow control board
    command_budget: float = 60.0  # configuration CGIs write flash and are read back after 5 s and more
    backoff_max: float = 120.0
    concurrency: int = 256
    command_concurrency: int = 256
    seed: int | None = None


@dataclass(slots=True)
class _Entry:
    lane: Lane
    due: float
    failures: int = 0
    timer: asyncio.TimerHandle | None = None
    reading: bool = False
    hurried: bool = field(default=False)


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
        self._random = random.Random(settings.seed)
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
                    entry = self._entries[lane.name] = _Entry(lane, due)
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
        entry.reading = True
        self._group.create_task(self._read(entry), name=f"poll {entry.lane.name}")

    async def _read(self, entry: _Entry) -> None:
        async with self._suspects if entry.failures else self._healthy:
            observation = await entry.lane.poll(entry.due)
        entry.reading = False
        if observation is None:
            return  # a command took the lane; it calls hurry() when it is done
        entry.failures = 0 if observation.failure is None else entry.failures + 1
        entry.due = self._next_due(entry)
        self._arm(entry)
        self._observe(observation)

    def _next_due(self, entry: _Entry) -> float:
        now = self._mono()
        if entry.hurried:
            entry.hurried = False
            return now
        jitter = self._random.uniform(-JITTER, JITTER) * self._settings.interval
        if entry.failures:
            wait = min(self._settings.backoff_max, self._settings.interval * 2.0 ** min(entry.failures - 1, 16))
            return now + wait * self._random.uniform(0.8, 1.2)
        # A grid, not a delay after the last reading: slow replies must not stretch the interval.
        return max(now, entry.due + self._settings.interval + jitter)
