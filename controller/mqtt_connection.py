"""One connection to the broker: the only module that knows aiomqtt. It opens, publishes, hears, and always closes.

MqttLink --open()--> Connection --publish(), messages()--> broker
                         |
                         +--> LinkDown(cause): the connection is of no more use, try again later
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

from shedload.errors import ShedloadError

MAX_INBOX = 256
"""Messages heard and not looked at yet; the oldest give way, because of a meter only the newest reading counts."""
AT_LEAST_ONCE = 1
THREAD_LOOK_S = 0.05
"""How often a stop that came while connecting looks whether it can go on."""


class LinkDown(ShedloadError):
    """There is no connection; `cause` is one of LINK_CAUSES, fit for a metric label."""

    def __init__(self, cause: str, detail: str) -> None:
        self.cause = cause
        super().__init__(detail[:200])


LINK_CAUSES = ("credential", "unreachable", "tls", "refused", "subscribe_refused", "timeout", "lost")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take. Seconds."""

    tcp: float = 4.0  # a thread of the pool waits so long for TCP, and again for TLS; a local broker needs milliseconds
    answer: float = 10.0  # until CONNACK, SUBACK and PUBACK; brokers that sync to disk were seen to need seconds
    close: float = 2.0  # part of the daemon's stopping time
    retry_first: float = 1.0  # least wait before a new attempt; the longest doubles with each failure up to retry_max
    retry_max: float = 60.0


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to connect and as whom; the password shows in no repr."""

    host: str
    port: int
    client_id: str
    keepalive: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that came in."""

    topic: str
    payload: bytes
    retained: bool


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Drops the oldest instead of the newest."""

    dropped = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full():
            self.get_nowait()
            self.dropped += 1
        super().put_nowait(item)


class Connection(aiomqtt.Client):
    """A client that is used once; a new one is made for each attempt, so nothing old waits inside the library."""

    def __init__(self, broker: Broker, will: aiomqtt.Will, patience: Patience, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            broker.host,
            broker.port,
            username=broker.user,
            password=broker.password,
            identifier=broker.client_id,
            queue_type=_Inbox,
            will=will,
            clean_session=True,
            timeout=math.inf,  # see _answered
            keepalive=broker.keepalive,
            max_queued_incoming_messages=MAX_INBOX,
            tls_context=tls,
        )
        self._client.connect_timeout = patience.tcp
        self._patience = patience
        self._thread_over = False

    async def enter(self) -> None:
        """Connect. Raises LinkDown."""
        entering = asyncio.ensure_future(self.__aenter__())
        try:
            async with self._answered():
                await asyncio.shield(entering)
        except ValueError as error:  # a host name that cannot be one
            raise LinkDown("unreachable", str(error)) from None
        finally:
            await self._settle(entering)

    def _client_connect(self) -> None:
        """The library's connect, in its thread; notes that the thread opens nothing any more."""
        try:
            super()._client_connect()
        finally:
            self._thread_over = True

    async def _settle(self, entering: "asyncio.Future[Any]") -> None:
        """The library connects in a thread that cannot be stopped: wait until what it opens can be closed again."""
        while not (entering.done() or self._thread_over):
            await asyncio.wait({entering}, timeout=THREAD_LOOK_S)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)

    @asynccontextmanager
    async def _answered(self) -> AsyncIterator[None]:
        """Our own deadline for the broker's answer: asyncio.wait_for, which the library uses, loses cancellations."""
        try:
            async with asyncio.timeout(self._patience.answer):
                yield
        except TimeoutError:
            raise LinkDown("timeout", "the broker does not answer") from None
        except aiomqtt.MqttError as error:
            raise _meaning(error, while_connected=self._connected.done()) from None

    async def leave(self) -> None:
        """Say goodbye if the broker listens, and give the socket back in any case."""
        try:
            async with asyncio.timeout(self._patience.close):
                await self.__aexit__(None, None, None)
        except (aiomqtt.MqttError, TimeoutError):
            pass
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the socket. After a failed or unanswered connect the library leaves it open for a keepalive time."""
        self._client._sock_close()  # noqa: SLF001 - paho has no public way that closes without the peer's help
        for outcome in (self._connected, self._disconnected):
            if outcome.done() and not outcome.cancelled():
                outcome.exception()  # heard: else the loop complains that nobody asked

    async def send(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Publish and wait until the broker has it. Raises LinkDown."""
        async with self._answered():
            await self.publish(topic, payload, qos=AT_LEAST_ONCE, retain=retained)

    async def listen(self, topics: Sequence[str]) -> None:
        """Subscribe. Raises LinkDown, also where the broker does not let this user read a topic."""
        for topic in topics:
            async with self._answered():
                answers = await self.subscribe(topic, qos=AT_LEAST_ONCE)
            if any(isinstance(answer, ReasonCode) and answer.is_failure for answer in answers):
                raise LinkDown("subscribe_refused", f"the broker does not let this user read {topic}")

    async def hear(self) -> AsyncIterator[Heard]:
        """Messages as they come, for as long as the connection lives. Raises LinkDown at its end."""
        try:
            async for message in self.messages:
                payload = message.payload if isinstance(message.payload, bytes) else b""
                yield Heard(str(message.topic), payload, bool(message.retain))
        except aiomqtt.MqttError as error:
            raise _meaning(error, while_connected=True) from None

    @property
    def inbox_dropped(self) -> int:
        """Messages that were heard too fast to be looked at."""
        return self._queue.dropped if isinstance(self._queue, _Inbox) else 0


@asynccontextmanager
async def open_connection(broker: Broker, will: aiomqtt.Will, patience: Patience) -> AsyncIterator[Connection]:
    """A connection, closed in every case. Raises LinkDown."""
    connection = Connection(broker, will, patience, await _tls(broker))
    try:
        await connection.enter()
    except BaseException:
        connection.abandon()
        raise
    try:
        yield connection
    finally:
        await connection.leave()


async def _tls(broker: Broker) -> ssl.SSLContext | None:
    """A fresh context for each attempt, so that a renewed CA file counts; made in a thread, it takes milliseconds."""
    if not broker.tls:
        return None
    try:
        return await asyncio.to_thread(tls_context, broker.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise LinkDown("tls", f"the CA file {broker.ca_file} cannot be used: {error.strerror or error}") from None


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name verified, against the system's CAs or one file. Raises OSError."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = _ClosingSocket
    return context


class _ClosingSocket(ssl.SSLSocket):
    """Closes itself where the handshake fails: the library would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _meaning(error: Exception, *, while_connected: bool = False) -> LinkDown:
    """The cause behind the library's one class of errors; its texts hold no secrets."""
    text = str(error)
    if isinstance(error, MqttConnectError):
        return LinkDown("refused", f"the broker refuses us: {text}")
    if while_connected:
        return LinkDown("lost", f"the connection broke: {text}")
    if "SSL" in text or "certificate" in text:
        return LinkDown("tls", text)
    return LinkDown("unreachable", text or "no connection")
