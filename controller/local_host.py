"""A host whose rigs live in this process: one lane each, one poller for all."""

import asyncio
from collections.abc import Callable, Iterable

from controller.host import HostSink, Instruction, Outcome
from controller.lane import Lane
from controller.poll import Poller, PollSettings
from shedload.device import Observation, Rig, RigName

FLUSH_AFTER = 0.02
"""Seconds that a reading may wait for others of its batch: far below any control interval."""


class LocalHost:
    """Rigs in this process."""

    def __init__(self, rigs: Iterable[Rig], settings: PollSettings, mono: Callable[[], float]) -> None:
        commanding = asyncio.Semaphore(settings.command_concurrency)
        self._lanes = {
            rig.spec.name: Lane(
                rig,
                budget=settings.budget,
                command_budget=settings.command_budget,
                commanding=commanding,
                mono=mono,
            )
            for rig in rigs
        }
        self._poller = Poller(settings, mono, self._observe)
        self._batch: list[Observation] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sink: HostSink | None = None

    async def run(self, sink: HostSink) -> None:
        """Poll and obey until cancelled; closes every rig on the way out."""
        self._sink = sink
        try:
            async with asyncio.TaskGroup() as group:
                for lane in self._lanes.values():
                    lane.start(group, self._conclude, self._poller.hurry)
                await self._poller.run(tuple(self._lanes.values()))
        finally:
            if self._timer is not None:
                self._timer.cancel()
            await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    def instruct(self, instruction: Instruction) -> None:
        """Hand an instruction to the rig's lane."""
        self._lanes[instruction.rig].instruct(instruction)

    def refresh(self, rig: RigName) -> None:
        """Move the rig's next reading to now."""
        self._poller.hurry(rig)

    def _observe(self, observation: Observation) -> None:
        self._batch.append(observation)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._batch = self._batch, []
        if self._sink is not None and batch:
            self._sink.observed(batch)

    def _conclude(self, outcome: Outcome) -> None:
        self._flush()  # what was read before the command ended is told before it
        if self._sink is not None:
            self._sink.concluded(outcome)
