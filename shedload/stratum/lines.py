"""Cuts a byte stream into Stratum lines: LF ends a line, CR before it is dropped, blank lines are nothing.

First step of both state machines; what a line means is told by `shedload.stratum.messages`.
"""

from shedload.errors import ProtocolError

FROM_POOL_LIMIT = 64 * 1024
"""A notify with 14 branches and a 16 KiB coinbase is about 35 KB of hex; nothing honest is longer than this."""

FROM_RIG_LIMIT = 4 * 1024
"""Rigs' lines are 100-400 bytes; ckpool allows 1024, we leave room for long names and options."""

FROM_STRANGER_LIMIT = 1024
"""The same before authorize: a port scanner shall not make us hold more than a kilobyte."""

_SHOWN = 60


class LineOverrun(ProtocolError):
    """The peer sent more than the limit without ending a line."""


class LineReader:
    """Holds at most one incomplete line of `limit` bytes plus the chunk just fed; `limit` may change between lines."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, data: bytes) -> None:
        """Append what arrived."""
        self._buffer += data

    def next_line(self) -> bytes | None:
        """Return the next line that is not blank, without its end; None: needs more input; LineOverrun: too long."""
        while (end := self._buffer.find(b"\n", self._scanned)) >= 0:
            if end > self.limit:
                raise self._overrun()
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            if line := line.strip(b" \t\r"):
                return line
        self._scanned = len(self._buffer)
        if self._scanned > self.limit:
            raise self._overrun()
        return None

    def clear(self) -> None:
        """Forget what is held; the connection is over."""
        self._buffer.clear()
        self._scanned = 0

    def _overrun(self) -> LineOverrun:
        """Say the same however the bytes arrived."""
        return LineOverrun(f"line longer than {self.limit} bytes")

    def __len__(self) -> int:
        return len(self._buffer)


def clean_text(value: object, limit: int = 120) -> str:
    """Make a peer's text fit for a log or an event: printable, one line, at most `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def show_bytes(data: bytes) -> str:
    """Show the beginning of foreign bytes in an error's text."""
    return clean_text(data[:_SHOWN].decode("utf-8", "replace"))
