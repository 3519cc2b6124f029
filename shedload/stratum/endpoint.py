"""What client and server have in common: bytes to messages, events out, bytes out, and failing without raising."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from shedload.errors import ProtocolError
from shedload.stratum.events import Failed, FailureKind
from shedload.stratum.lines import LineOverrun, LineReader
from shedload.stratum.messages import Message, parse

MAX_OUTPUT = 256 * 1024
"""Bytes waiting to be sent: a peer that asks and never reads is dropped before it costs more."""

E = TypeVar("E")


class Flood(ProtocolError):
    """The peer sent more than anyone honest would."""


class Endpoint(ABC, Generic[E]):
    """One end of one connection, used once. Nothing a peer sends raises; `failure` keeps the reason."""

    def __init__(self, line_limit: int) -> None:
        self.failure: Failed | None = None
        self._lines = LineReader(line_limit)
        self._events: list[E | Failed] = []
        self._output: list[bytes] = []
        self._output_size = 0

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the peer; ignored once failed."""
        if self.failure is not None:
            return
        self._lines.feed(data)
        try:
            while self.failure is None and (line := self._lines.next_line()) is not None:
                self._weigh(line)
                self._receive(parse(line), now)
        except LineOverrun as error:
            self._fail(FailureKind.OVERRUN, str(error))
        except Flood as error:
            self._fail(FailureKind.FLOOD, str(error))
        except ProtocolError as error:
            self._fail(FailureKind.PROTOCOL, str(error))

    def receive_eof(self) -> None:
        """Learn that the peer closed, or that the connection broke."""
        self._fail(FailureKind.CLOSED, "closed in the middle of a line" if len(self._lines) else "closed by the peer")

    def events_received(self) -> list[E | Failed]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> bytes:
        """Return the bytes to write now, all of them in one write."""
        data = b"".join(self._output)
        self._output.clear()
        self._output_size = 0
        return data

    @abstractmethod
    def next_deadline(self) -> float | None:
        """Monotonic time at which `tick` has something to do; None where nothing is awaited."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Learn that time has passed; harmless at any moment."""

    @abstractmethod
    def _receive(self, message: Message, now: float) -> None:
        """Act on one message."""

    def _weigh(self, line: bytes) -> None:
        """Look at a line before it is read; nothing by default."""

    def _emit(self, event: E) -> None:
        self._events.append(event)

    def _send(self, line: bytes) -> None:
        self._output.append(line)
        self._output_size += len(line)
        if self._output_size > MAX_OUTPUT:
            self._fail(FailureKind.FLOOD, f"{self._output_size} bytes wait to be sent")

    def _fail(self, kind: FailureKind, reason: str) -> None:
        """Enter the failed state once; later causes are consequences of the first."""
        if self.failure is not None:
            return
        self.failure = Failed(kind, reason)
        self._lines.clear()
        self._events.append(self.failure)
