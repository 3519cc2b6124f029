"""What must survive: commands before they are sent and what became of them, orders, modes of groups, facts, events.

    actuator --intend--> disk --> number --> first byte to the rig
    actuator --settle--> disk      (planned -> sent -> confirmed | contradicted | expired | refused | unknown ...)

One thread writes; what queues up while it writes goes to disk in one commit. What the daemon needs at hand is kept in
memory. While the disk takes nothing every write raises StoreError and `failing` says why; it heals with the next write
that succeeds, `heartbeat` being one that the control loop makes anyway.
"""

import asyncio
import contextlib
import json
import math
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from controller import store_rows
from controller.clock import Clock
from controller.journal import Journal, stamp
from controller.plan import Control, Order
from controller.scribe import Intent
from controller.store_port import StorePort
from controller.store_rows import CommandRecord, EventRecord, Remembered
from controller.track import CommandState, Verdict
from shedload.errors import StoreError
from shedload.units import Watts

__all__ = ["CommandRecord", "EventRecord", "Store", "StorePort"]

T = TypeVar("T")

MAX_QUEUED = 10_000
"""Writes waiting for the disk; a write may be thousands of commands, so this many mean that the disk hangs."""

MAX_FACTS = 500_000
"""Ten for each rig of the largest site."""

MAX_FACT_CHARACTERS = 64 * 1024

PRUNE_INTERVAL = 600.0
"""Mono seconds between two prunings."""

HEARTBEAT = "daemon/alive"
"""Fact that `heartbeat` writes."""


@dataclass(slots=True)
class _Write:
    """One step of a commit. `run` is called on the writer's thread, `after` on the loop once it is on disk."""

    run: Callable[[sqlite3.Connection], Any]
    after: Callable[[Any], object] | None = None
    future: "asyncio.Future[Any] | None" = None

    @property
    def abandoned(self) -> bool:
        """Nobody waits any more: not sent, so not to be written."""
        return self.future is not None and self.future.done()


class Store:
    """The store on disk; see `StorePort` for what the calls mean."""

    def __init__(self, journal: Journal, remembered: Remembered, clock: Clock, executor: ThreadPoolExecutor) -> None:
        self._journal = journal
        self._memory = remembered
        self._clock = clock
        self._executor = executor
        self._queue: list[_Write] = []
        self._writing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._pruned = clock.mono()
        self._broken = False
        self.failing: str | None = None
        self.failures = 0  # commits that failed
        self.commits = 0
        self.ignored = 0  # verdicts that would have moved a command backwards
        self.lost_events = 0

    @classmethod
    async def open(cls, folder: Path, clock: Clock) -> Self:
        """Open or create the journal in `folder`. Raises StoreError naming the owner, the file or the schema."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        now = clock.wall()
        opened: list[tuple[Journal, Remembered]] = []
        try:
            await asyncio.get_running_loop().run_in_executor(executor, lambda: opened.append(_open(folder, now)))
        except BaseException:
            executor.shutdown(wait=True)
            for journal, _ in opened:  # opened in the moment in which we were cancelled
                journal.close()
            raise
        journal, remembered = opened[0]
        return cls(journal, remembered, clock, executor)

    @property
    def unsettled(self) -> tuple[CommandRecord, ...]:
        """Commands that the last run left without an outcome."""
        return self._memory.unsettled

    @property
    def orders(self) -> tuple[Order, ...]:
        """Orders in force, oldest first."""
        return tuple(self._memory.orders.values())

    @property
    def controls(self) -> Mapping[str, Control]:
        """Modes of groups that were set while running."""
        return dict(self._memory.controls)

    @property
    def proven(self) -> frozenset[str]:
        """Groups whose first automatic commands were obeyed."""
        return frozenset(self._memory.proven)

    async def intend(self, intents: Sequence[Intent]) -> Sequence[int]:
        """Write commands down before they are sent."""
        now = self._clock.wall()

        def run(connection: sqlite3.Connection) -> list[int]:
            first = self._memory.next_intent
            self._memory.next_intent += len(intents)
            return store_rows.insert_intents(connection, first, intents, now)

        return await self._write(run) if intents else []

    async def settle(self, verdicts: Sequence[Verdict]) -> None:
        """Write down what became of commands."""
        if verdicts:
            await self._settle(verdicts)

    async def outcome(self, number: int, state: CommandState, detail: str = "") -> bool:
        """Settle one command."""
        return await self._settle([Verdict(number, state, detail)]) == 1

    async def prove(self, group: str) -> None:
        """Note that a group's first commands were obeyed."""
        now = self._clock.wall()
        await self._write(
            lambda connection: store_rows.put_proven(connection, group, now), lambda _: self._memory.proven.add(group)
        )

    async def set_control(self, group: str, control: Control, author: str) -> None:
        """Set a group's mode for this and later runs."""
        now = self._clock.wall()
        await self._write(
            lambda connection: store_rows.put_control(connection, group, control, author, now),
            lambda _: self._memory.controls.update({group: control}),
        )

    async def place(self, limit: Watts, author: str, note: str = "") -> Order:
        """Put an order in force."""
        if not (math.isfinite(limit) and limit >= 0):
            raise ValueError(f"{limit} W is no limit")
        now = self._clock.wall()
        return await self._write(
            lambda connection: store_rows.insert_order(connection, limit, author, note, now),
            lambda order: self._memory.orders.update({order.number: order}),
        )

    async def release(self, number: int, author: str) -> bool:
        """End an order."""
        now = self._clock.wall()
        return await self._write(
            lambda connection: store_rows.release_order(connection, number, author, now),
            lambda _: self._memory.orders.pop(number, None),
        )

    def fact(self, key: str) -> Any:
        """The value of a fact."""
        return self._memory.facts.get(key)

    def facts(self, prefix: str) -> dict[str, Any]:
        """Facts whose keys start with `prefix`."""
        return {key: value for key, value in self._memory.facts.items() if key.startswith(prefix)}

    async def remember(self, facts: Mapping[str, Any]) -> None:
        """Write facts."""
        texts = facts_as_json(facts, self._memory.facts)
        now = self._clock.wall()
        await self._write(
            lambda connection: store_rows.put_facts(connection, texts, now),
            lambda _: self._memory.facts.update({key: json.loads(text) for key, text in texts.items()}),
        )

    async def forget(self, *keys: str) -> None:
        """Remove facts."""

        def after(_: None) -> None:
            for key in keys:
                self._memory.facts.pop(key, None)

        await self._write(lambda connection: store_rows.drop_facts(connection, keys), after)

    def note(self, kind: str, subject: str = "", detail: str = "") -> None:
        """Write an event soon; one that finds the queue full or the disk failing is counted as lost."""
        now = self._clock.wall()
        if self._closed or len(self._queue) >= MAX_QUEUED:
            self.lost_events += 1
            return
        self._enqueue(_Write(lambda connection: store_rows.insert_event(connection, kind, subject, detail, now)))

    async def commands(self, rig: str, limit: int = 20) -> tuple[CommandRecord, ...]:
        """The last commands to a rig."""
        return await self._read(lambda connection: store_rows.commands_of(connection, rig, limit))

    async def events(self, limit: int = 100) -> tuple[EventRecord, ...]:
        """The last events."""
        return await self._read(lambda connection: store_rows.last_events(connection, limit))

    async def heartbeat(self) -> bool:
        """Try to write."""
        try:
            await self.remember({HEARTBEAT: stamp(self._clock.wall())})
        except StoreError:
            return False
        return True

    async def close(self) -> None:
        """Write what is queued and let go of file, lock and thread."""
        if self._closed:
            return
        self._closed = True
        await self._idle.wait()
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._executor, self._journal.close)
        self._executor.shutdown(wait=True)

    async def _settle(self, verdicts: Sequence[Verdict]) -> int:
        now = self._clock.wall()

        def after(moved: int) -> None:
            self.ignored += len(verdicts) - moved

        return await self._write(lambda connection: store_rows.settle(connection, verdicts, now), after)

    async def _write(self, run: Callable[[sqlite3.Connection], T], after: Callable[[T], object] | None = None) -> T:
        """Queue a step and wait until it is on disk. A caller that is cancelled while queued writes nothing."""
        if self._closed:
            raise StoreError("the store is closed")
        if len(self._queue) >= MAX_QUEUED:
            raise StoreError(f"the disk does not keep up: {MAX_QUEUED} writes are waiting")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enqueue(_Write(run, after, future))
        return await future

    def _enqueue(self, write: _Write) -> None:
        self._queue.append(write)
        if not self._writing:
            self._writing = True
            self._idle.clear()
            asyncio.get_running_loop().call_soon(self._start)  # later in this turn, so that its writes share a commit

    def _start(self) -> None:
        batch = [write for write in self._queue if not write.abandoned]
        self._queue.clear()
        if not batch:
            self._rest()
            return
        loop = asyncio.get_running_loop()
        prune = self._prune_due()
        runs = [write.run for write in batch]
        job = loop.run_in_executor(self._executor, self._commit, runs, self._clock.wall() if prune else None)
        job.add_done_callback(lambda done: self._finish(batch, done))

    def _finish(self, batch: list[_Write], job: "asyncio.Future[list[Any]]") -> None:
        error = job.exception()
        if error is None:
            self.commits += 1
            self.failing = None
            for write, result in zip(batch, job.result(), strict=True):
                _succeed(write, result)
        else:
            self.failures += 1
            self.failing = str(error)
            self.lost_events += sum(write.future is None for write in batch)
            for write in batch:
                if write.future is not None and not write.future.done():
                    write.future.set_exception(StoreError(str(error)))
        if self._queue:
            self._start()
        else:
            self._rest()

    def _rest(self) -> None:
        self._writing = False
        self._idle.set()

    def _prune_due(self) -> bool:
        mono = self._clock.mono()
        if mono - self._pruned < PRUNE_INTERVAL:
            return False
        self._pruned = mono
        return True

    def _commit(self, runs: Sequence[Callable[[sqlite3.Connection], Any]], prune_at: datetime | None) -> list[Any]:
        """On the writer's thread: all steps in one transaction. Raises StoreError."""
        try:
            if self._broken:
                self._journal.reopen()
                self._broken = False
            results = self._transaction(lambda connection: [run(connection) for run in runs])
        except sqlite3.Error as error:
            self._broken = True
            raise StoreError(f"{self._journal.path}: cannot be written: {error}") from None
        if prune_at is not None:
            with contextlib.suppress(sqlite3.Error):  # the next one will tell, if the disk is at fault
                self._transaction(lambda connection: store_rows.prune(connection, prune_at))
        return results

    def _transaction(self, run: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._journal.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = run(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return result

    async def _read(self, run: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreError("the store is closed")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: run(self._journal.connection)
            )
        except sqlite3.Error as error:
            raise StoreError(f"{self._journal.path}: cannot be read: {error}") from None


def facts_as_json(facts: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, str]:
    """Facts as they are stored. Raises StoreError when there are too many, ValueError and TypeError for values."""
    texts = {key: json.dumps(value, allow_nan=False, separators=(",", ":")) for key, value in facts.items()}
    for key, text in texts.items():
        if not 0 < len(key) <= store_rows.MAX_DETAIL or len(text) > MAX_FACT_CHARACTERS:
            raise ValueError(f"fact {key[:80]!r} is too large")
    if len(present) + sum(key not in present for key in texts) > MAX_FACTS:
        raise StoreError(f"{MAX_FACTS} facts are kept already")
    return texts


def _open(folder: Path, now: datetime) -> tuple[Journal, Remembered]:
    journal = Journal.open(folder, now)
    try:
        journal.connection.execute("BEGIN IMMEDIATE")
        remembered = store_rows.load(journal.connection, now)
        _note_opening(journal, remembered, now)
        journal.connection.execute("COMMIT")
    except sqlite3.Error as error:
        journal.abandon()
        raise StoreError(f"{journal.path}: cannot be used: {error}") from None
    except (ValueError, TypeError, RecursionError) as error:
        journal.abandon()
        raise StoreError(
            f"{journal.path}: holds a row that no shedload wrote ({type(error).__name__}: {error})"[:300]
            + "; restore a backup in its place, or move it away to begin an empty one"
        ) from None
    return journal, remembered


def _note_opening(journal: Journal, remembered: Remembered, now: datetime) -> None:
    name = journal.path.name
    if journal.created and journal.damaged_before:
        detail = f"beside {journal.damaged_before[-1]}"
        store_rows.insert_event(journal.connection, "journal_begun_anew", name, detail, now)
    elif journal.unclean:
        detail = f"{len(remembered.unsettled)} commands without an outcome"
        store_rows.insert_event(journal.connection, "unclean_stop", name, detail, now)


def _succeed(write: _Write, result: Any) -> None:
    if write.after is not None:
        write.after(result)
    if write.future is not None and not write.future.done():
        write.future.set_result(result)
