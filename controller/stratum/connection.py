"""One connection to one pool, used once: the socket and the clock around the Stratum client's state machine."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from shedload.errors import ProtocolError, Unreachable
from shedload.stratum.client import StratumClient
from shedload.stratum.events import ClientEvent, Failed, NewJob
from shedload.stratum.jobs import Job
from shedload.stratum.shares import Share

CONNECT_DEADLINE = 10.0
"""Seconds for TCP and TLS: a dead pool must be left within ten."""
WRITE_HIGH_WATER = 64 * 1024
"""Bytes that may wait for a pool that reads nothing, before the connection is given up."""
READ_SIZE = 64 * 1024


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
        self._listener = listener
        self._mono = mono
        self._writer: asyncio.StreamWriter | None = None
        self.working = asyncio.Event()
        """Set with the first job."""

    @property
    def usable(self) -> bool:
        """Ready to take shares."""
        return self._writer is not None and self.client.ready and self.client.failure is None

    async def run(self, tls: ssl.SSLContext | None = None) -> None:
        """Dial and speak until the connection ends. Raises Unreachable or ProtocolError, saying why."""
        try:
            async with asyncio.timeout(CONNECT_DEADLINE):
                reader, writer = await asyncio.open_connection(
                    self.address.host, self.address.port, ssl=tls, limit=READ_SIZE
                )
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_DEADLINE:g} s") from None
        except OSError as error:
            raise Unreachable(f"cannot connect: {error.strerror or error}") from error
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
        token = self.client.submit(job, share, self._mono())
        self._write()
        return token

    def close(self) -> None:
        """Hang up; `run` ends soon after."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def _speak(self, reader: asyncio.StreamReader) -> None:
        while True:
            self._write()
            self._tell()
            deadline = self.client.next_deadline()
            try:
                async with asyncio.timeout(None if deadline is None else max(0.0, deadline - self._mono())):
                    data = await reader.read(READ_SIZE)
            except TimeoutError:
                self.client.tick(self._mono())
                continue
            except OSError as error:
                raise ProtocolError(f"connection lost: {error.strerror or error}") from error
            if data:
                self.client.receive_data(data, self._mono())
            else:
                self.client.receive_eof()

    def _write(self) -> None:
        writer = self._writer
        if writer is None:
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
