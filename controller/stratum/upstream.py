"""The upstream pools: the best one that works is mined at, the next takes over, the better one returns when stable.

    PoolAddress --keeper--> PoolConnection --events--> Upstream --Work source--> dispatch
    dispatch --share--> Upstream --> the connection that its job came from

Each pool has a keeper. The preferred pool's keeper always tries; another's only while nothing better is active.
"""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from controller.clock import Clock
from controller.stratum.connection import PoolAddress, PoolConnection
from shedload.errors import ProtocolError, Unreachable
from shedload.stratum.client import StratumClient
from shedload.stratum.events import (
    ClientEvent,
    Message,
    NewJob,
    Ready,
    ReconnectAsked,
    SubmitLost,
    SubmitResult,
    Unusable,
)
from shedload.stratum.jobs import Job
from shedload.stratum.shares import Share

HEAD_START = 3.0
"""Seconds that a better pool gets before the next one is dialled."""
STABLE_AFTER = 60.0
"""Seconds that a better pool must serve jobs before work returns to it."""
GRACE = 30.0
"""Seconds that the connection left behind stays open for shares on their way."""
BACKOFF_FIRST, BACKOFF_MAX = 1.0, 60.0
"""Seconds between tries: doubled with jitter, begun anew after a connection that lasted STABLE_AFTER."""

log = structlog.get_logger(__name__)


class WorkListener(Protocol):
    """Who wants work. Calls return at once."""

    def work_changed(self, *, clean: bool) -> None:
        """There is other work than before; `clean`: what is in progress is worth nothing now."""
        ...


@dataclass(slots=True)
class PoolBooks:
    """One pool's counts since the start; all of them metrics."""

    accepted: int = 0
    accepted_difficulty: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unusable: int = 0
    jobs: int = 0
    connected: bool = False
    active: bool = False
    difficulty: float = 0.0
    latency: float | None = None  # seconds from the last share to its answer
    last_failure: str = ""
    last_accepted: float | None = None  # Clock.mono()


class Upstream:
    """All configured pools."""

    def __init__(
        self,
        addresses: Sequence[PoolAddress],
        clock: Clock,
        *,
        stable_after: float = STABLE_AFTER,
        suggest_difficulty: float | None = None,
        version_mask: int = 0,
        tls: Callable[[PoolAddress], ssl.SSLContext] | None = None,
    ) -> None:
        self._addresses = sorted(addresses, key=lambda address: address.rank)
        self._clock = clock
        self._stable_after = stable_after
        self._suggest = suggest_difficulty
        self._mask = version_mask
        self._tls = tls or (lambda _address: ssl.create_default_context())
        self._active: PoolConnection | None = None
        self._connections: dict[int, PoolConnection] = {}  # rank -> dialled
        self._changed = asyncio.Event()  # replaced each time the active pool changes
        self._listeners: list[WorkListener] = []
        self.books = {address.name: PoolBooks() for address in self._addresses}

    @property
    def active(self) -> PoolAddress | None:
        """The pool that work comes from."""
        return self._active.address if self._active is not None else None

    @property
    def job(self) -> Job | None:
        """The job to work on, None while no pool gives one."""
        return self._active.client.jobs.active if self._active is not None else None

    @property
    def source(self) -> PoolConnection | None:
        """The connection that the job belongs to; shares go back to it."""
        return self._active

    def listen(self, listener: WorkListener) -> None:
        """Tell `listener` when the work changes."""
        self._listeners.append(listener)

    def submit(self, source: PoolConnection, job: Job, share: Share) -> bool:
        """Send a share to the pool that its job came from; False (counted as lost) when that connection is gone."""
        books = self.books[source.address.name]
        if source.submit(job, share) is None:
            books.lost["disconnected"] += 1
            return False
        books.submitted += 1
        return True

    async def run(self) -> None:
        """Keep the pools until cancelled."""
        async with asyncio.TaskGroup() as group:
            for address in self._addresses:
                group.create_task(self._keep(address, group), name=f"pool {address.name}")

    async def _keep(self, address: PoolAddress, group: asyncio.TaskGroup) -> None:
        wait = BACKOFF_FIRST
        while True:
            await self._wanted(address)
            began = self._clock.mono()
            await self._serve(address, group)
            wait = BACKOFF_FIRST if self._clock.mono() - began > self._stable_after else min(BACKOFF_MAX, wait * 2)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _wanted(self, address: PoolAddress) -> None:
        """Wait until this pool should be dialled: nothing better works, for as long as the better ones' head start."""
        place = self._addresses.index(address)
        while True:
            while self._better_than(address):
                await self._changed.wait()
            if place == 0 or self._active is not None:
                return
            await asyncio.sleep(HEAD_START * place)
            if not self._better_than(address):
                return

    def _better_than(self, address: PoolAddress) -> bool:
        return self._active is not None and self._active.address.rank <= address.rank

    async def _serve(self, address: PoolAddress, group: asyncio.TaskGroup) -> None:
        books = self.books[address.name]
        connection = PoolConnection(address, self._client(address), self._heard, self._clock.mono)
        self._connections[address.rank] = connection
        promotion = group.create_task(self._promote(connection), name=f"promote {address.name}")
        try:
            await connection.run(self._tls(address) if address.tls else None)
        except (Unreachable, ProtocolError) as error:
            kind = "unreachable" if isinstance(error, Unreachable) else str(error).split(":", 1)[0]
            books.failures[kind] += 1
            if str(error) != books.last_failure:
                log.warning("pool_failed", pool=address.name, reason=str(error))
            books.last_failure = str(error)
        finally:
            promotion.cancel()
            books.connected = False
            del self._connections[address.rank]
            if self._active is connection:
                self._activate(self._best_left())

    def _client(self, address: PoolAddress) -> StratumClient:
        return StratumClient(
            worker=address.user,
            password=address.password,
            host=address.host,
            version_mask=self._mask,
            suggest_difficulty=self._suggest,
        )

    async def _promote(self, connection: PoolConnection) -> None:
        """Make a connection the active one: at once when there is none, else after it has proved stable."""
        await connection.working.wait()
        if self._active is not None:
            await asyncio.sleep(self._stable_after)
        before = self._active
        if not connection.usable or before is connection or self._better_than(connection.address):
            return
        self._activate(connection)
        if before is not None:
            await asyncio.sleep(GRACE)
            before.close()

    def _activate(self, connection: PoolConnection | None) -> None:
        self._active = connection
        for name, books in self.books.items():
            books.active = connection is not None and name == connection.address.name
        log.info("pool_active", pool=connection.address.name if connection is not None else None)
        self._changed.set()
        self._changed = asyncio.Event()
        self._work_changed(clean=True)

    def _best_left(self) -> PoolConnection | None:
        usable = [link for link in self._connections.values() if link.usable and link.working.is_set()]
        return min(usable, key=lambda link: link.address.rank, default=None)

    def _work_changed(self, *, clean: bool) -> None:
        for listener in self._listeners:
            listener.work_changed(clean=clean)

    def _heard(self, connection: PoolConnection, event: ClientEvent) -> None:
        books = self.books[connection.address.name]
        match event:
            case Ready():
                books.connected = True
                books.last_failure = ""
            case NewJob(job=job, clean=clean):
                books.jobs += 1
                books.difficulty = float(job.difficulty)
                if connection is self._active:
                    self._work_changed(clean=clean)
            case SubmitResult():
                self._answered(books, event)
            case SubmitLost(cause=cause):
                books.lost[cause.value] += 1
            case ReconnectAsked(allowed=allowed, why=why):
                log.warning("pool_asks_reconnect", pool=connection.address.name, allowed=allowed, why=why)
                if allowed:
                    connection.close()
            case Message(text=text):
                log.info("pool_message", pool=connection.address.name, text=text)
            case Unusable(method=method, reason=reason):
                books.unusable += 1
                if books.unusable == 1:
                    log.warning("pool_unusable", pool=connection.address.name, method=method, reason=reason)
            case _:
                pass

    def _answered(self, books: PoolBooks, event: SubmitResult) -> None:
        books.latency = event.seconds
        if event.accepted:
            books.accepted += 1
            books.accepted_difficulty += float(event.job.difficulty)
            books.last_accepted = self._clock.mono()
        else:
            books.rejected[event.reason.value if event.reason is not None else "unknown"] += 1
            log.warning("share_rejected", reason=event.reason, text=event.text)
