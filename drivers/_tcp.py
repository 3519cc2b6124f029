"""One exchange over TCP: connect, ask, read the answer, close; one deadline for all of it, closed in every case.

    driver --request bytes--> exchange() --reply bytes--> shedload.cgminer.codec

This is the hot path of polling: an asyncio Protocol of its own, no streams. How many exchanges run at once is the
caller's business.
"""

import asyncio
import os
from typing import cast

from drivers._address import Endpoint
from shedload.cgminer.scan import value_end
from shedload.errors import Garbled, NoAnswer, RigError, Unauthorized, Unreachable

REPLY_CAP = 256 * 1024
"""Bytes. Real replies end below 64 KiB; parsing what a peer invents beyond that would cost the other rigs time."""
MOST_UNENDED = 32 * 1024
"""Bytes of a reply without an end in which silence makes us look for one: a peer that drips could otherwise have us
look through its whole reply three times a second. The largest recorded reply of the socket has 21 KiB."""
SILENCE_S = 0.3
"""Some builds send no NUL and keep the socket open: a whole JSON value followed by this long a silence is the reply."""

_NUL = 0
_CLOSERS = frozenset(b"}]|")
_CLOSING = (b"}", b"]", b"|")
_BLANK = b"\0 \r\n\t"


async def exchange(endpoint: Endpoint, request: bytes, *, deadline_s: float, cap: int = REPLY_CAP) -> bytes:
    """Send `request` in one write and return the reply as it came, NULs included.

    Raises Unreachable (no connection), Unauthorized (closed without a byte), NoAnswer (deadline), Garbled (over `cap`).
    """
    loop = asyncio.get_running_loop()
    wire = _Wire(loop, request, cap)
    try:
        async with asyncio.timeout(deadline_s):
            await loop.create_connection(wire.itself, endpoint.host, endpoint.port)
            return await wire.reply
    except TimeoutError:
        # A connect that the kernel itself gave up is a TimeoutError too: the wire knows whether it was ever made.
        raise wire.late(endpoint, deadline_s) from None
    except OSError as error:
        raise Unreachable(f"{endpoint}: {os.strerror(error.errno) if error.errno else 'no connection'}") from None
    finally:
        wire.close()


async def knock(endpoint: Endpoint, *, deadline_s: float) -> bool:
    """True if somebody takes connections there; for ports that most rigs keep closed, at a fifth of an HTTP request."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline_s):
            transport, _ = await loop.create_connection(asyncio.Protocol, endpoint.host, endpoint.port)
    except OSError:  # a TimeoutError is one
        return False
    transport.abort()
    return True


class _Wire(asyncio.Protocol):
    """The connection of one exchange; `reply` is its outcome."""

    __slots__ = ("_cap", "_chunks", "_loop", "_request", "_silence", "_size", "_transport", "reply")

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes, cap: int) -> None:
        self._loop = loop
        self._request = request
        self._cap = cap
        self._chunks: list[bytes] = []
        self._size = 0
        self._silence: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self.reply: asyncio.Future[bytes] = loop.create_future()

    def itself(self) -> "_Wire":
        """The protocol factory of the one connection."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once: the server reads only once, so the request must not come in pieces."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Gather until the closing NUL; the last bytes of a chunk are all that is looked at on the way."""
        self._chunks.append(data)
        self._size += len(data)
        last = data[-1]
        if last == _NUL and (data[-2:-1] in _CLOSING or self._closes()):
            self._finish()
        elif self._size > self._cap:
            self._fail(Garbled(f"reply is longer than {self._cap} bytes", b"".join(self._chunks)[:512]))
        elif self._silence is not None or last in _CLOSERS or last <= 32:
            self._listen_for_silence()

    def eof_received(self) -> None:
        """The peer said all it had to say."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer hung up. A server that denies us closes with our request unread, which arrives as a reset."""
        if exc is None or isinstance(exc, ConnectionError):
            self._end()
        else:
            self._fail(NoAnswer(f"connection lost: {exc}"))

    def close(self) -> None:
        """Give the connection back without waiting for the peer."""
        if self._silence is not None:
            self._silence.cancel()
        if self._transport is not None:
            self._transport.abort()
        if not self.reply.done():
            self.reply.cancel()
        elif not self.reply.cancelled():
            self.reply.exception()  # heard, also where a deadline or a cancellation came first

    def late(self, endpoint: Endpoint, deadline_s: float) -> RigError:
        """What it means that the deadline passed."""
        if self._transport is None:
            return Unreachable(f"{endpoint}: no connection within {deadline_s:g} s")
        return NoAnswer(f"{endpoint}: no complete answer within {deadline_s:g} s ({self._size} bytes came)")

    def _end(self) -> None:
        if self.reply.done():
            return
        if self._chunks:
            self._finish()
        else:
            self._fail(Unauthorized("closed without a byte: this address is not in the rig's api-allow"))

    def _finish(self) -> None:
        if not self.reply.done():
            self.reply.set_result(self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks))

    def _fail(self, error: RigError) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)

    def _closes(self) -> bool:
        """A NUL ends the reply only behind a closing byte: some firmware has NULs inside values."""
        return b"".join(self._chunks[-2:]).rstrip(_BLANK)[-1:] in _CLOSING

    def _listen_for_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(SILENCE_S, self._silent)

    def _silent(self) -> None:
        """Nothing came for a while: done if a whole JSON value is there, or a text reply's closing bar."""
        if self._size > MOST_UNENDED:
            return  # it comes with a NUL, or the peer closes, or it is no reply
        text = b"".join(self._chunks).strip(_BLANK)
        if text.endswith(b"|") or value_end(text) is not None:
            self._finish()
