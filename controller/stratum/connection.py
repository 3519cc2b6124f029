"""One connection to one pool, used once: the socket and the clock around the Stratum client's state machine."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from controller.stratum.books import NO_ANSWER
from shedload.errors import ProtocolError, Unreachable
from shedload.stratum.client import StratumClient
from shedload.stratum.events import ClientEvent, Failed, FailureKind, NewJob
from shedload.stratum.jobs import Job
from shedload.stratum.shares import Share

CONNECT_DEADLINE = 10.0
"""Seconds for TCP and TLS: a dead pool must be left within ten."""
ANSWER_DEADLINE = 30.0
"""Seconds in which a pool that was sent a share must say something, whatever it is: pools answer in milliseconds."""
WRITE_HIGH_WATER = 64 * 1024
"""Bytes that may wait for a pool that reads nothing, before the connection is given up."""
READ_SIZE = 64 * 1024
FLOOD_RATE, FLOOD_BURST = 256 * 1024, 1024 * 1024
"""Bytes a second, and at once, that a pool may send: a job has 2 to 80 KB and comes twice a minute. Reading what a pool
pours out as fast as it can would keep a core busy for ever."""


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Where and as whom to mine; the lowest rank is preferred. The password shows in no repr."""

    name: str  # a label: host and port, never the user
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    rank: int
    tls: bool = False


class Left(Exception):
    """The connection was ended by us."""


class PoolConnection:
    """A pool that has been dialled. Events go to `listener` as they come."""

    def __init__(
        self,
        address: PoolAddress,
        client: StratumClient,
        listener: Callable[["PoolConnection", ClientEvent], None],
        mono: Callable[[], float],
    ) -> None:
        self.address = address
        self.client = client
        self.working = asyncio.Event()
        """Set with the first job."""
        self._listener = listener
        self._mono = mono
        self._writer: asyncio.StreamWriter | None = None
        self._unheard_since: float | None = None  # when a share went out since the pool last spoke
        self._leave_at: float | None = None
        self._stir = asyncio.Event()
        self._allowance = float(FLOOD_BURST)
        self._allowed_at = mono()

    @property
    def usable(self) -> bool:
        """Ready to take shares."""
        return self._writer is not None and self.client.ready and self.client.failure is None

    @property
    def leaving(self) -> bool:
        """It ends soon, because we want it to."""
        return self._leave_at is not None

    async def run(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Dial and speak until the end. Raises Unreachable or ProtocolError, saying why, or Left when we hung up."""
        reader, writer = await self._dial(host, port, tls)
        self._writer = writer
        try:
            self.client.start(self._mono())
            await self._speak(reader)
        finally:
            self._writer = None
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def submit(self, job: Job, share: Share) -> int | None:
        """Send a share; its token, or None where the connection cannot take it any more."""
        if self._writer is None:
            return None
        now = self._mono()
        token = self.client.submit(job, share, now)
        self._write()
        if token is not None and self._unheard_since is None:
            self._unheard_since = now
            self._stir.set()  # the reader's deadline has come nearer
        return token

    def leave(self, after: float = 0.0) -> None:
        """Hang up once every share is answered, and at the latest in `after` seconds; `run` then raises Left."""
        self._leave_at = self._mono() + after
        self._stir.set()

    async def _dial(
        self, host: str, port: int, tls: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                return await asyncio.open_connection(host, port, ssl=tls, limit=READ_SIZE)
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_DEADLINE:g} s") from None
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be one, a certificate that is wrong
            raise Unreachable(f"cannot connect: {getattr(error, 'strerror', None) or error}") from error

    async def _speak(self, reader: asyncio.StreamReader) -> None:
        reading: asyncio.Future[bytes] | None = None
        try:
            while True:
                self._write()
                self._tell()
                self._check_time()
                reading = reading or asyncio.ensure_future(reader.read(READ_SIZE))
                await self._wait(reading)
                if not reading.done():
                    self.client.tick(self._mono())
                    continue
                self._take(reading)
                reading = None
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _wait(self, reading: "asyncio.Future[bytes]") -> None:
        """Until bytes are here, a deadline has passed, or something was sent that brings a deadline nearer."""
        deadlines = [self.client.next_deadline(), self._leave_at]
        if self._unheard_since is not None:
            deadlines.append(self._unheard_since + ANSWER_DEADLINE)
        nearest = min((at for at in deadlines if at is not None), default=None)
        self._stir.clear()
        stir = asyncio.ensure_future(self._stir.wait())
        try:
            timeout = None if nearest is None else max(0.0, nearest - self._mono())
            await asyncio.wait((reading, stir), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stir.cancel()
            await asyncio.gather(stir, return_exceptions=True)

    def _take(self, reading: "asyncio.Future[bytes]") -> None:
        try:
            data = reading.result()
        except OSError as error:
            self.client.receive_eof()
            self._tell_rest()
            raise ProtocolError(f"closed: connection lost, {error.strerror or error}") from error
        if not data:
            self.client.receive_eof()
            return
        self._unheard_since = None
        self.client.receive_data(data, self._mono())
        self._check_flood(len(data))

    def _check_flood(self, came: int) -> None:
        now = self._mono()
        earned = (now - self._allowed_at) * FLOOD_RATE
        self._allowance = min(FLOOD_BURST, self._allowance + earned) - came
        self._allowed_at = now
        if self._allowance < 0:
            self.client.receive_eof()
            self._tell_rest()
            raise ProtocolError(f"{FailureKind.FLOOD.value}: more than {FLOOD_RATE} bytes a second")

    def _check_time(self) -> None:
        now = self._mono()
        if self._leave_at is not None and (now >= self._leave_at or not self.client.book.unanswered):
            self.client.receive_eof()
            self._tell_rest()
            raise Left
        if self._unheard_since is not None and now >= self._unheard_since + ANSWER_DEADLINE:
            self.client.receive_eof()
            self._tell_rest()
            raise ProtocolError(f"{NO_ANSWER}: nothing heard in {ANSWER_DEADLINE:g} s since a share was sent")

    def _write(self) -> None:
        writer = self._writer
        if writer is None or writer.transport.is_closing():
            return
        data = self.client.data_to_send()
        if data:
            writer.write(data)
        if writer.transport.get_write_buffer_size() > WRITE_HIGH_WATER:
            writer.transport.abort()

    def _tell(self) -> None:
        for event in self.client.events_received():
            self._listener(self, event)
            if isinstance(event, NewJob):
                self.working.set()
            if isinstance(event, Failed):
                self._write()
                raise ProtocolError(f"{event.kind.value}: {event.reason}")

    def _tell_rest(self) -> None:
        """Pass on what became of the shares that were under way, and not that the connection is over."""
        for event in self.client.events_received():
            if not isinstance(event, Failed):
                self._listener(self, event)
