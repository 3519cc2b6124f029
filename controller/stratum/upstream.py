"""The upstream pools: the best one that works is mined at, the next takes over, the better one returns when stable.

    PoolAddress --Keeper--> PoolConnection --events--> Upstream --work--> dispatch
    dispatch --share--> Upstream --> the connection that its job came from

Each pool has a keeper. The preferred pool's keeper always tries; another's only while nothing better is active.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from controller.clock import Clock
from controller.stratum.books import UNSENT, PoolBooks
from controller.stratum.connection import PoolAddress, PoolConnection
from controller.stratum.keeper import Keeper
from shedload.stratum.client import StratumClient
from shedload.stratum.events import ClientEvent, NewJob
from shedload.stratum.jobs import Job
from shedload.stratum.shares import Share

__all__ = ["PoolAddress", "PoolBooks", "PoolConnection", "Upstream", "WorkListener"]

HEAD_START = 3.0
"""Seconds that a better pool gets before the next one is dialled."""
STABLE_AFTER = 60.0
"""Seconds that a better pool must serve jobs before work returns to it."""
GRACE = 30.0
"""Seconds that the connection left behind stays open for shares on their way."""
log = structlog.get_logger(__name__)


class WorkListener(Protocol):
    """Who wants work. Calls return at once."""

    def work_changed(self, *, clean: bool) -> None:
        """There is other work than before; `clean`: what is in progress is worth nothing now."""
        ...


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
        self.clock = clock
        self.stable_after = stable_after
        self.books: dict[str, PoolBooks] = {}
        self._suggest = suggest_difficulty
        self._mask = version_mask
        self._tls = tls or (lambda _address: ssl.create_default_context())
        self._active: PoolConnection | None = None
        self._changed = asyncio.Event()  # replaced each time the active pool changes
        self._listeners: list[WorkListener] = []
        self._keepers = [Keeper(self, one, place) for place, one in enumerate(sorted(addresses, key=_by_rank))]
        for keeper in self._keepers:
            self.books[keeper.address.name] = keeper.books

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
            books.lost[UNSENT] += 1
            return False
        books.submitted += 1
        return True

    async def run(self) -> None:
        """Keep the pools until cancelled."""
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers:
                group.create_task(keeper.run(), name=f"pool {keeper.address.name}")

    # --- what keepers ask and tell ---

    async def wanted(self, place: int) -> None:
        """Wait until the pool of this place should be dialled: nothing better works, the better ones' start is over."""
        while True:
            while self._as_good_as(place):
                await self._changed.wait()
            if place == 0 or self._active is not None:
                return
            await asyncio.sleep(HEAD_START * place)
            if not self._as_good_as(place):
                return

    async def promote(self, connection: PoolConnection, place: int) -> None:
        """Make a connection the active one: at once when there is none, else after it has proved stable."""
        await connection.working.wait()
        if self._active is not None:
            await asyncio.sleep(self.stable_after)
        before = self._active
        if before is connection or not connection.usable or connection.leaving:
            return
        if self._as_good_as(place):
            connection.leave()  # a better one was faster: nobody needs this one
            return
        self._activate(connection)
        if before is not None:
            await asyncio.sleep(GRACE)
            before.leave()

    def ended(self, connection: PoolConnection) -> None:
        """A connection is over."""
        if self._active is connection:
            self._activate(self._best_left())

    def heard(self, connection: PoolConnection, event: ClientEvent) -> None:
        """A connection has news."""
        if isinstance(event, NewJob) and connection is self._active:
            self._work_changed(clean=event.clean)

    def client(self, address: PoolAddress, host: str, silence: float) -> StratumClient:
        """A state machine for one connection."""
        return StratumClient(
            worker=address.user,
            password=address.password,
            host=host,
            version_mask=self._mask,
            suggest_difficulty=self._suggest,
            silence_timeout=silence,
        )

    def context(self, address: PoolAddress) -> ssl.SSLContext | None:
        """TLS, where the pool has it: a redirect never takes it away."""
        return self._tls(address) if address.tls else None

    def _as_good_as(self, place: int) -> bool:
        """The active pool is this one or a better one."""
        return self._active is not None and self._place(self._active) <= place

    def _place(self, connection: PoolConnection) -> int:
        return next(keeper.place for keeper in self._keepers if keeper.address is connection.address)

    def _activate(self, connection: PoolConnection | None) -> None:
        self._active = connection
        for keeper in self._keepers:
            keeper.books.active = connection is not None and keeper.address is connection.address
        log.info("pool_active", pool=connection.address.name if connection is not None else None)
        self._changed.set()
        self._changed = asyncio.Event()
        self._work_changed(clean=True)

    def _best_left(self) -> PoolConnection | None:
        links = (keeper.connection for keeper in self._keepers)
        return next((one for one in links if one is not None and one.usable and one.working.is_set()), None)

    def _work_changed(self, *, clean: bool) -> None:
        for listener in self._listeners:
            listener.work_changed(clean=clean)


def _by_rank(address: PoolAddress) -> int:
    return address.rank
