"""Keeps one pool: dials it when it is wanted, serves the connection, and knows how patient to be the next time.

Patron.wanted() --> dial --> PoolConnection --events--> books, Patron --end--> backoff --> Patron.wanted()
"""

import asyncio
import random
import ssl
from collections import deque
from typing import Protocol

import structlog

from controller.clock import Clock
from controller.stratum.books import UNREACHABLE, PoolBooks
from controller.stratum.connection import Left, PoolAddress, PoolConnection
from shedload.errors import ProtocolError, Unreachable
from shedload.stratum.client import StratumClient
from shedload.stratum.events import ClientEvent, FailureKind, ReconnectAsked

BACKOFF_FIRST, BACKOFF_MAX = 1.0, 60.0
"""Seconds between tries: doubled with jitter, begun anew after a connection that lasted STABLE_AFTER."""
SILENCE_FIRST, SILENCE_MAX = 55.0, 110.0
"""Seconds without a line. Pools notify every 30 to 60 s; one that was given up for silence gets twice as long next."""
RECONNECT_GRACE = 2.0
"""Seconds for answers on their way when a pool asks us to dial again."""
MAX_REDIRECTS, REDIRECT_WINDOW = 3, 600.0
"""So many requests to reconnect are obeyed in so many seconds; more are a pool, or a thief, that plays with us."""

log = structlog.get_logger(__name__)


class Patron(Protocol):
    """Whom keepers serve: all pools together."""

    @property
    def clock(self) -> Clock:
        """The daemon's clock."""
        ...

    @property
    def stable_after(self) -> float:
        """Seconds after which a connection counts as stable."""
        ...

    async def wanted(self, place: int) -> None:
        """Wait until the pool of this place should be dialled."""
        ...

    async def promote(self, connection: PoolConnection, place: int) -> None:
        """Give work to a connection when its time has come."""
        ...

    def ended(self, connection: PoolConnection) -> None:
        """A connection is over."""
        ...

    def heard(self, connection: PoolConnection, event: ClientEvent) -> None:
        """A connection has news."""
        ...

    def client(self, address: PoolAddress, host: str, silence: float) -> StratumClient:
        """A state machine for one connection."""
        ...

    def context(self, address: PoolAddress) -> ssl.SSLContext | None:
        """TLS, where the pool has it."""
        ...


class Keeper:
    """One pool: dials it when it is wanted, and knows how patient to be with it."""

    def __init__(self, upstream: Patron, address: PoolAddress, place: int) -> None:
        self.address = address
        self.place = place
        self.books = PoolBooks()
        self.connection: PoolConnection | None = None
        self._upstream = upstream
        self._mono = upstream.clock.mono
        self._target = (address.host, address.port)
        self._silence = SILENCE_FIRST
        self._logged = ""
        self._redirects: deque[float] = deque(maxlen=MAX_REDIRECTS)
        self._pause = 0.0

    async def run(self) -> None:
        """Keep the pool until cancelled."""
        wait = BACKOFF_FIRST
        while True:
            await self._upstream.wanted(self.place)
            began = self._mono()
            self._pause = 0.0
            left = await self._serve()
            if self._mono() - began > self._upstream.stable_after:
                wait, self._logged = BACKOFF_FIRST, ""
            if self._pause or not left:
                await asyncio.sleep(max(self._pause, wait * random.uniform(0.5, 1.0)))
                wait = min(BACKOFF_MAX, wait * 2)

    async def _serve(self) -> bool:
        """Serve one connection; True when it was us who ended it."""
        host, port = self._target
        client = self._upstream.client(self.address, host, self._silence)
        connection = self.connection = PoolConnection(self.address, client, self._heard, self._mono)
        promotion = asyncio.ensure_future(self._upstream.promote(connection, self.place))
        try:
            await connection.run(host, port, self._upstream.context(self.address))
        except Left:
            return True
        except (Unreachable, ProtocolError) as error:
            if connection.leaving:
                return True  # it asked us to go and did not wait
            self._failed(error)
        finally:
            promotion.cancel()
            self.connection = None
            self.books.connected = False
            self._upstream.ended(connection)
        return False

    def _failed(self, error: Unreachable | ProtocolError) -> None:
        kind = UNREACHABLE if isinstance(error, Unreachable) else str(error).split(":", 1)[0]
        self.books.failures[kind] += 1
        self.books.last_failure = str(error)
        if kind != self._logged:
            log.warning("pool_failed", pool=self.address.name, reason=str(error))
        self._logged = kind
        self._target = (self.address.host, self.address.port)  # where a redirect led is not where we were sent
        if kind == FailureKind.SILENCE:
            self._silence = min(SILENCE_MAX, self._silence * 2)

    def _heard(self, connection: PoolConnection, event: ClientEvent) -> None:
        self.books.count(self.address.name, event, self._mono())
        if isinstance(event, ReconnectAsked):
            self._asked_to_reconnect(connection, event)
        self._upstream.heard(connection, event)

    def _asked_to_reconnect(self, connection: PoolConnection, event: ReconnectAsked) -> None:
        now = self._mono()
        often = len(self._redirects) == MAX_REDIRECTS and now - self._redirects[0] < REDIRECT_WINDOW
        allowed = event.allowed and not often
        self.books.reconnects["obeyed" if allowed else "too_often" if event.allowed else "refused"] += 1
        if self._logged != f"reconnect {allowed}":
            self._logged = f"reconnect {allowed}"
            log.warning("pool_asks_reconnect", pool=self.address.name, obeyed=allowed, why=event.why)
        if not allowed or connection.leaving:
            return
        self._redirects.append(now)
        self._target = (event.host or self.address.host, event.port or self._target[1])
        self._pause = max(event.wait, BACKOFF_FIRST)
        connection.leave(RECONNECT_GRACE)
