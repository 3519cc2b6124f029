"""Wires between two ends in memory: they split, delay, slow down, lose, mangle and cut what passes.

A `Wire` is a value that says how one direction behaves; `tests.support.network` lays it under TCP connections and
`SerialWire` below under a serial line. Every choice by chance comes from a seed.
"""

import asyncio
import errno
import random
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Splitter = Callable[[random.Random, bytes], Iterable[bytes]]

RETRANSMIT_AFTER = 0.2
"""Seconds until TCP sends a lost segment again: Linux's smallest retransmission time-out, doubled at each loss."""
RETRANSMIT_AT_MOST = 8
"""Losses in a row that one segment suffers; the eighth wait is 25 s and longer stories are told by lose=1."""
SERIAL_CAPACITY = 4096
"""Bytes a serial end takes before its writer waits: the buffer of a Linux pty."""


def one_byte(_rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Each byte on its own."""
    return (data[i : i + 1] for i in range(len(data)))


def anywhere(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """Pieces of random size, small ones likelier."""
    start = 0
    while start < len(data):
        size = min(1 << rng.randrange(11), 1 + rng.randrange(len(data) - start))
        yield data[start : start + size]
        start += size


def pieces_of(size: int) -> Splitter:
    """Pieces of `size` bytes, the last one shorter."""
    return lambda _rng, data: (data[i : i + size] for i in range(0, len(data), size))


@dataclass(frozen=True, slots=True)
class Wire:
    """How one direction of a wire behaves; the default is a perfect wire."""

    split: Splitter | None = None
    """Cuts each write into the pieces that the reader sees one by one; None joins what waits, as TCP does."""
    delay: float = 0.0
    """Seconds one way."""
    jitter: float = 0.0
    """Further seconds by chance, at most this many; order is kept."""
    rate: float | None = None
    """Bytes per second; None is unlimited. `Wire(split=one_byte, rate=1)` drips."""
    lose: float = 0.0
    """Chance that a piece is lost. TCP sends it again later, a serial line never does.

    At 1 nothing passes: a black hole. TCP delivers what was held when the wire is mended."""
    mangle: Callable[[bytes], bytes] | None = None
    """Changes each write, before it is split."""
    drop_after: int | None = None
    """Cuts the connection behind this many bytes, counted per connection from when the wire was laid."""
    drop: Literal["reset", "eof", "silence"] = "reset"
    """What the cut looks like: both ends reset, both ends at end of file, or nothing ever again."""
    refuse: bool = False
    """New connections are refused, as if nobody listened."""

    @property
    def dead(self) -> bool:
        """Nothing passes."""
        return self.lose >= 1


class Flow:
    """One direction of one connection: which pieces arrive, and when."""

    def __init__(self, wire: Wire, seed: str, *, resends: bool) -> None:
        self.wire = wire
        self._seed = seed
        self._resends = resends
        self._rng: random.Random | None = None
        self._passed = 0
        self._line_free = 0.0
        self._last_arrival = 0.0

    @property
    def cut(self) -> bool:
        """The wire's `drop_after` has been reached."""
        return self.wire.drop_after is not None and self._passed >= self.wire.drop_after

    def lay(self, wire: Wire) -> None:
        """Behave like `wire` from now on."""
        self.wire = wire
        self._passed = 0

    def arrivals(self, data: bytes, now: float) -> Iterator[tuple[float, bytes]]:
        """The pieces of `data` sent at `now`, each with its time of arrival."""
        wire = self.wire
        if wire.mangle is not None:
            data = wire.mangle(data)
        if wire.drop_after is not None:
            data = data[: max(0, wire.drop_after - self._passed)]
        self._passed += len(data)
        if wire.split is None:
            pieces: Iterable[bytes] = (data,) if data else ()
        else:
            pieces = wire.split(self.rng, data)
        for piece in pieces:
            if not self._resends and self._lost():
                continue
            yield self.arrival(now, len(piece)), piece

    def arrival(self, now: float, size: int = 0) -> float:
        """When something of `size` bytes that is sent at `now` arrives; never before what was sent earlier."""
        wire = self.wire
        start = max(now, self._line_free)
        if wire.rate is not None:
            start = self._line_free = start + size / wire.rate
        at = start + wire.delay
        if wire.jitter:
            at += wire.jitter * self.rng.random()
        if self._resends and 0 < wire.lose < 1:
            at += self._resending()
        self._last_arrival = max(at, self._last_arrival)
        return self._last_arrival

    @property
    def rng(self) -> random.Random:
        """This direction's own source of chance."""
        if self._rng is None:
            self._rng = random.Random(self._seed)
        return self._rng

    def _lost(self) -> bool:
        return self.wire.lose > 0 and self.rng.random() < self.wire.lose

    def _resending(self) -> float:
        waited = 0.0
        for attempt in range(RETRANSMIT_AT_MOST):
            if not self._lost():
                break
            waited += RETRANSMIT_AFTER * 2**attempt
        return waited


class SerialWire:
    """A serial line in memory with two ends, `host` and `device`; works in real and in virtual time.

    As a context manager it fails the test that leaves an end open.
    """

    def __init__(
        self, wire: Wire | None = None, *, to_device: Wire | None = None, to_host: Wire | None = None, seed: int = 0
    ):
        both = wire or Wire()
        self._to_device = Flow(to_device or both, f"{seed}:to_device", resends=False)
        self._to_host = Flow(to_host or both, f"{seed}:to_host", resends=False)
        self.host = SerialEnd("host", self._to_device)
        self.device = SerialEnd("device", self._to_host)
        self.host.join(self.device)
        self.device.join(self.host)

    def lay(self, wire: Wire | None = None, *, to_device: Wire | None = None, to_host: Wire | None = None) -> None:
        """Change the behaviour while running; a direction that is not given stays as it is."""
        for flow, new in ((self._to_device, to_device or wire), (self._to_host, to_host or wire)):
            if new is not None:
                flow.lay(new)

    def unplug(self) -> None:
        """The device is gone: reads say closed, writes raise OSError(EIO)."""
        self.host.hang_up()
        self.device.hang_up()

    def left_open(self) -> list[str]:
        """The names of the ends that nobody closed."""
        return [end.name for end in (self.host, self.device) if not end.closed]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        left = self.left_open()
        self.host.close()
        self.device.close()
        if left and kind is None:
            raise AssertionError(f"serial wire left open at: {', '.join(left)}")

    def __del__(self) -> None:
        if left := self.left_open():
            warnings.warn(f"serial wire left open at: {', '.join(left)}", ResourceWarning, source=self, stacklevel=2)


class SerialEnd:
    """One end of a `SerialWire`: `read`, `write` and `close`, in place of a pty."""

    def __init__(self, name: str, outward: Flow) -> None:
        self.name = name
        self.closed = False
        self._outward = outward
        self._peer: SerialEnd = self
        self._hung_up = False
        self._chunks: deque[bytes] = deque()
        self._underway = 0
        self._changed: deque[asyncio.Future[None]] = deque()

    def join(self, peer: "SerialEnd") -> None:
        """Make `peer` the other end."""
        self._peer = peer

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes and give at most `max_bytes` of one piece; b"" when the line is closed. Safe to cancel."""
        while not self._chunks:
            if self.closed or self._hung_up:
                return b""
            await self._wait()
        chunk = self._chunks.popleft()
        if len(chunk) > max_bytes:
            self._chunks.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._peer._settle(len(chunk))
        return chunk

    async def write(self, data: bytes) -> None:
        """Send; waits while the line is full. OSError when this end is closed (EBADF) or the device is gone (EIO)."""
        self._check_writable()
        while self._underway and self._underway + len(data) > SERIAL_CAPACITY:
            await self._wait()
            self._check_writable()
        loop = asyncio.get_running_loop()
        now = loop.time()
        for at, piece in self._outward.arrivals(bytes(data), now):
            self._underway += len(piece)
            if at <= now:
                self._peer._arrive(piece)
            else:
                loop.call_at(at, self._peer._arrive, piece)
        if self._outward.cut and self._outward.wire.drop != "silence":
            loop.call_at(self._outward.arrival(now), self._cut)

    def close(self) -> None:
        """Close this end; the other end reads what is underway and then b""."""
        if self.closed:
            return
        self.closed = True
        self._chunks.clear()
        self._wake()
        self._peer.hang_up()

    def hang_up(self) -> None:
        """The other end, or the device, is gone."""
        self._hung_up = True
        self._wake()

    def _cut(self) -> None:
        self.hang_up()
        self._peer.hang_up()

    def _check_writable(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "serial end is closed")
        if self._hung_up:
            raise OSError(errno.EIO, "serial line is gone")

    def _arrive(self, piece: bytes) -> None:
        if self.closed or self._hung_up or self._outward_dead():
            self._peer._settle(len(piece))
            return
        self._chunks.append(piece)
        self._wake()

    def _outward_dead(self) -> bool:
        return self._peer._outward.wire.dead

    def _settle(self, size: int) -> None:
        self._underway -= size
        self._wake()

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._changed.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._changed:
                self._changed.remove(waiter)

    def _wake(self) -> None:
        while self._changed:
            waiter = self._changed.popleft()
            if not waiter.done():
                waiter.set_result(None)
