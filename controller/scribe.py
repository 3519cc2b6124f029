"""Keeps the journal for the actuator: intents before commands leave, verdicts after, and whether the disk is well.

Actuator --intend--> disk, bounded in time --> numbers, or None: then only what lowers goes out
Actuator --verdict, prove--> queue --write_down--> disk
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from controller.track import Verdict
from shedload.device import RigName
from shedload.errors import StoreError

MAX_VERDICTS = 100_000
"""Verdicts waiting for the disk; when it hangs longer than this lasts, the oldest are dropped and counted."""
PATIENCE = 2.0
"""Seconds that commands wait for a disk that hangs."""

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
    """The part of the store that commands need."""

    @property
    def failing(self) -> str | None:
        """Why the last write failed, None while all is well."""
        ...

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

    async def heartbeat(self) -> bool:
        """Try to write; whether the disk took it."""
        ...


class Scribe:
    """The one that writes for the actuator."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._verdicts: deque[Verdict] = deque()
        self._proven: deque[str] = deque()
        self._waiting = asyncio.Event()
        self._silent = False
        self._complained = False
        self.dropped = 0

    @property
    def failing(self) -> bool:
        """The disk takes nothing, or does not answer."""
        return self._silent or self._journal.failing is not None

    async def intend(self, intents: Sequence[Intent], facts: Mapping[str, Any]) -> Sequence[int] | None:
        """Write down facts and intents; the intents' numbers, None where they could not be written in time."""
        if self._silent:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                if facts:
                    await self._journal.remember(facts)
                return await self._journal.intend(intents)
        except StoreError as error:
            self._complain(str(error))
        except TimeoutError:
            self._silent = True
            self._complain(f"nothing was written within {PATIENCE:g} s")
        return None

    def verdict(self, verdict: Verdict) -> None:
        """Queue a verdict."""
        self._verdicts.append(verdict)
        self._bound()
        self._waiting.set()

    def prove(self, group: str) -> None:
        """Queue that a group is proven."""
        self._proven.append(group)
        self._waiting.set()

    async def write_down(self) -> None:
        """Bring what is queued to disk, for as long as the daemon runs."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await self.flush()

    async def flush(self) -> None:
        """Bring what is queued to disk; it stays when the disk takes nothing or we are cancelled."""
        verdicts = tuple(self._verdicts)
        self._verdicts.clear()
        try:
            if verdicts:
                await self._journal.settle(verdicts)  # twice does no harm: commands only go forwards
            verdicts = ()
            while self._proven:
                await self._journal.prove(self._proven[0])
                self._proven.popleft()
        except StoreError as error:
            self._complain(str(error))
        finally:
            self._verdicts.extendleft(reversed(verdicts))
            self._bound()

    async def probe(self) -> None:
        """Try whether the disk takes something again. To be called every few seconds, or a failure would never end.

        While all is well it writes nothing: the books are written as often anyway, and cards of small hosts wear out.
        """
        if not self.failing and not self._complained:
            return
        try:
            async with asyncio.timeout(PATIENCE):
                well = await self._journal.heartbeat()
        except TimeoutError:
            well = False
        self._silent = not well
        if not well:
            self._complain(self._journal.failing or f"nothing was written within {PATIENCE:g} s")
            return
        if self._complained:
            log.warning("journal_healed")
        self._complained = False
        if self._verdicts or self._proven:
            self._waiting.set()

    def _bound(self) -> None:
        while len(self._verdicts) > MAX_VERDICTS:
            self._verdicts.popleft()
            self.dropped += 1

    def _complain(self, why: str) -> None:
        if not self._complained:
            log.error("journal_failing", error=why, effect="only lowering commands go out")
        self._complained = True
