"""The two directions of a connection in memory, and the handshake before them.

A `Pipe` owns what is underway; its `Flow` says when it arrives. Sockets are its two ends.
"""

import asyncio
import errno
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.support.sockets import Address, VirtualSocket, shown
from tests.support.wires import Flow, Wire

if TYPE_CHECKING:
    from tests.support.network import Network

WINDOW = 65_536
"""Bytes that one direction holds between sender and reader; then the sender waits. TCP's classic largest window."""
SYN_RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Seconds between attempts to connect where nothing answers: Linux gives up after 127 s (tcp_syn_retries = 6)."""


class Handshake:
    """One attempt to connect: SYN there, SYN-ACK back, repeated while the wire is dead."""

    def __init__(self, network: "Network", client: VirtualSocket, address: Address) -> None:
        self._network = network
        self._client = client
        self._address = address
        self._retries = iter(SYN_RETRIES)
        self._name = f"{shown(client.getsockname())} -> {shown(address)}"

    def begin(self) -> None:
        """Send a SYN."""
        to_server, to_client = self._network.wires_to(self._address)
        if not self._client.open:
            return
        if to_server.dead or to_client.dead or self._backlog_full():
            self._again()
            return
        self._network.loop.call_later(to_server.delay, self._syn_arrived, to_server.refuse or to_client.refuse)

    def _backlog_full(self) -> bool:
        listener = self._network.listener(self._address)
        return listener is not None and listener.full

    def _again(self) -> None:
        wait = next(self._retries, None)
        if wait is None:
            self._fail(errno.ETIMEDOUT)
        else:
            self._network.loop.call_later(wait, self.begin)

    def _syn_arrived(self, refused: bool) -> None:
        back = self._network.wires_to(self._address)[1].delay
        if refused or self._network.listener(self._address) is None:
            self._network.loop.call_later(back, self._fail, errno.ECONNREFUSED)
        else:
            self._network.loop.call_later(back, self._established)

    def _fail(self, error: int) -> None:
        if self._client.open:
            self._network.say(f"{self._name} failed {errno.errorcode[error]}")
            self._client.connect_failed(error)

    def _established(self) -> None:
        network, client = self._network, self._client
        if not client.open:
            return
        network.say(f"{self._name} connected")
        server = network.socket(client.family)
        server.server = self._address
        up, down = network.join(client, server, self._address)
        local = client.getsockname()
        client.established(local, self._address, up, down)
        server.established(self._address, local, down, up)
        up.announce()


@dataclass(slots=True)
class _Segment:
    kind: Literal["accept", "data", "end", "reset"]
    at: float
    data: bytes = b""
    joinable: bool = True


class Pipe:
    """One direction of a connection, with what is underway in it."""

    def __init__(
        self,
        network: "Network",
        name: str,
        source: VirtualSocket,
        sink: VirtualSocket,
        server: Address,
        flow: Flow,
        *,
        to_client: bool,
    ) -> None:
        self.server = server
        self.flow = flow
        self.to_client = to_client
        self._network = network
        self._source = source
        self._sink = sink
        self._name = name
        self._underway: deque[_Segment] = deque()
        self._held = 0
        self._timer: asyncio.Handle | None = None
        self._was_cut = False

    @property
    def room(self) -> int:
        """Bytes that the window still takes."""
        return max(0, WINDOW - self._held)

    @property
    def due(self) -> float | None:
        """When the next segment arrives; None when nothing will."""
        return None if not self._underway or self.flow.wire.dead else self._underway[0].at

    def announce(self) -> None:
        """The client's ACK: the server's kernel puts the connection before accept()."""
        self._put(_Segment("accept", self._arrival()))

    def send(self, data: bytes) -> None:
        """Bytes from the source."""
        if self._was_cut:
            self._held += 0 if self.flow.wire.drop != "silence" else len(data)
            return
        joinable = self.flow.wire.split is None
        for at, piece in self.flow.arrivals(data, self._network.loop.time()):
            self._held += len(piece)
            self._put(_Segment("data", at, piece, joinable))
        if self.flow.cut:
            self._cut()

    def finish(self) -> None:
        """The source writes no more."""
        if not self._was_cut:
            self._put(_Segment("end", self._arrival()))

    def reset(self) -> None:
        """The source broke off."""
        self._put(_Segment("reset", self._arrival()))

    def break_both(self) -> None:
        """Reset both ends now."""
        for pipe_end in (self._source, self._sink):
            if pipe_end.open:
                pipe_end.arrive_reset()
        self._network.say(f"{self._name} reset from outside")

    def consumed(self, size: int) -> None:
        """The sink's reader took bytes: the window opens."""
        self._held -= size
        if self._source.open:
            self._source.room_again()

    def lay(self, wire: Wire) -> None:
        """Behave like `wire` from now on; what a dead wire held arrives when it is mended."""
        self.flow.lay(wire)
        self._schedule()

    def end_closed(self) -> None:
        """One end closed its socket."""
        if not self._source.open and not self._sink.open:
            self._network.forget(self)
            if self._timer is not None:
                self._timer.cancel()

    def _arrival(self) -> float:
        return self.flow.arrival(self._network.loop.time())

    def _cut(self) -> None:
        self._was_cut = True
        drop = self.flow.wire.drop
        if drop == "silence":
            return
        self._put(_Segment("end" if drop == "eof" else "reset", self._arrival()))
        if drop == "eof":
            self._network.loop.call_soon(self._end_source)
        else:
            self._network.loop.call_soon(self._reset_source)

    def _end_source(self) -> None:
        if self._source.open:
            self._source.arrive_end()

    def _reset_source(self) -> None:
        if self._source.open:
            self._source.arrive_reset()

    def _put(self, segment: _Segment) -> None:
        self._underway.append(segment)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._underway or self.flow.wire.dead:
            return
        loop, at = self._network.loop, self._underway[0].at
        self._timer = loop.call_soon(self._deliver) if at <= loop.time() else loop.call_at(at, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        now = self._network.loop.time()
        while self._underway and self._underway[0].at <= now:
            segment = self._underway.popleft()
            self._arrive(segment)
            if not segment.joinable:  # the reader sees each piece by itself, one turn of the loop apart
                break
        self._schedule()

    def _arrive(self, segment: _Segment) -> None:
        if self._network.trace is not None:
            self._network.say(f"{self._name} {segment.kind} {len(segment.data)} {segment.data[:32].hex()}".rstrip())
        sink = self._sink
        match segment.kind:
            case "accept":
                self._accept()
            case "data" if sink.open and not sink.failed:
                sink.arrive(segment.data, joinable=segment.joinable)
            case "data":
                self._refuse_data(len(segment.data))
            case "end" if sink.open:
                sink.arrive_end()
            case "reset" if sink.open:
                sink.arrive_reset()

    def _accept(self) -> None:
        listener = self._network.listener(self.server)
        if listener is None:
            self._sink.abandon()
        else:
            listener.queue(self._sink)

    def _refuse_data(self, size: int) -> None:
        self.consumed(size)
        if self._source.open and not self._source.failed:
            back = self._network.wires_to(self.server)[not self.to_client]
            self._network.loop.call_later(back.delay, self._reset_source)
