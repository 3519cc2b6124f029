"""What asyncio asks of a non-blocking TCP socket, answered in memory with a kernel's manners.

Stands between asyncio's transports above and `tests.support.pipes` below.
"""

import errno
import os
import socket
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tests.support.network import Network
    from tests.support.pipes import Pipe

Address = tuple[Any, ...]
"""Host and port; for IPv6 also flow and scope."""

RECEIVE_AT_MOST = 262_144
"""What asyncio asks of one recv()."""


class VirtualSocket:
    """What asyncio asks of a non-blocking TCP socket, with a kernel's answers."""

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, network: "Network", fd: int, family: int = socket.AF_INET) -> None:
        self.family = socket.AddressFamily(family)
        self.fileno_at_birth = fd
        self.listening = False
        self.server: Address | None = None
        """The listener's address, on both ends of a connection."""
        self._network = network
        self._fd = fd
        self._local: Address | None = None
        self._peer: Address | None = None
        self._options: dict[tuple[int, int], Any] = {}
        self._state: Literal["fresh", "connecting", "connected", "closed"] = "fresh"
        self._outward: Pipe | None = None
        self._inward: Pipe | None = None
        self._received: deque[bytes] = deque()
        self._ended = False
        self._error = 0
        self._shut = False
        self._backlog = 0
        self._waiting: deque[VirtualSocket] = deque()

    def __repr__(self) -> str:
        return f"<VirtualSocket {self}>"

    def __str__(self) -> str:
        if self.listening:
            return f"listener {shown(self._local)}"
        end = "server" if self.server == self._local else "client"
        return f"connection {shown(self._local)} -> {shown(self._peer)} ({end} end)"

    # Readiness, for the selector.

    @property
    def readable(self) -> bool:
        """A read, or an accept, would not block."""
        if self.listening:
            return bool(self._waiting)
        return bool(self._received) or self._ended or (self._error != 0 and self._state == "connected")

    @property
    def writable(self) -> bool:
        """A write would not block; a connect is decided."""
        if self._state == "connected":
            return self._error != 0 or self._outward is None or self._outward.room > 0
        return self._error != 0

    # The socket interface.

    def fileno(self) -> int:
        """The virtual descriptor; -1 when closed."""
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """Only non-blocking exists here."""
        if flag:
            raise ValueError("a virtual socket cannot block")

    def settimeout(self, value: float | None) -> None:
        """Only non-blocking exists here."""
        self.setblocking(value != 0)

    def gettimeout(self) -> float:
        """Zero: non-blocking."""
        return 0.0

    def getsockname(self) -> Address:
        """The local address."""
        self._check_open()
        return self._local or (("0.0.0.0", 0) if self.family == socket.AF_INET else ("::", 0, 0, 0))

    def getpeername(self) -> Address:
        """The peer's address; OSError(ENOTCONN) without one."""
        self._check_open()
        if self._peer is None or self._state != "connected":
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._peer

    def getsockopt(self, level: int, option: int, _size: int = 0) -> Any:
        """SO_ERROR is told once and cleared; other options are what was set, or 0."""
        self._check_open()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error = self._error
            if self._state != "connected":
                self._error = 0
            return error
        return self._options.get((level, option), 0)

    def setsockopt(self, level: int, option: int, value: Any, *_rest: Any) -> None:
        """Remembered, without effect."""
        self._check_open()
        self._options[(level, option)] = value

    def bind(self, address: Address) -> None:
        """Take a local address; port 0 takes the next free one."""
        self._check_open()
        self._local = self._network.claim(self, address)

    def listen(self, backlog: int = 128) -> None:
        """Accept connections."""
        self._check_open()
        self._backlog = max(1, backlog)
        self._network.start_listening(self)
        self.listening = True

    def accept(self) -> "tuple[VirtualSocket, Address]":
        """The next connection that is waiting."""
        self._check_open()
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        sock = self._waiting.popleft()
        self._changed()
        return sock, sock._peer or ()

    def connect(self, address: Address) -> None:
        """Begin to connect; raises BlockingIOError, and the selector says when it is decided."""
        self._check_open()
        if self._state != "fresh":
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        if self._local is None:
            self._local = self._network.claim(self, _source_for(address))
        self._peer = self.server = address
        self._state = "connecting"
        self._network.begin_handshake(self, address)
        raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))

    def send(self, data: bytes | bytearray | memoryview, _flags: int = 0) -> int:
        """Take what fits into the window and say how much."""
        pipe = self._check_writable()
        chunk = bytes(memoryview(data)[: pipe.room])
        if data and not chunk:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        pipe.send(chunk)
        self._changed()
        return len(chunk)

    def sendmsg(self, buffers: Iterable[bytes | bytearray | memoryview], *_rest: Any) -> int:
        """As `send`, from several buffers."""
        return self.send(b"".join(buffers))

    def recv(self, size: int, _flags: int = 0) -> bytes:
        """One piece of what arrived; b"" at the end."""
        self._check_open()
        if not self._received:
            return self._nothing_received()
        chunk = self._received.popleft()
        if len(chunk) > size:
            self._received.appendleft(chunk[size:])
            chunk = chunk[:size]
        if self._inward is not None:
            self._inward.consumed(len(chunk))
        self._changed()
        return chunk

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0) -> int:
        """As `recv`, into a buffer."""
        room = memoryview(buffer)
        chunk = self.recv(size or len(room))
        room[: len(chunk)] = chunk
        return len(chunk)

    def shutdown(self, how: int) -> None:
        """Half close: no more is written."""
        self._check_open()
        if self._state != "connected":
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self._shut:
            self._shut = True
            if self._outward is not None:
                self._outward.finish()

    def close(self) -> None:
        """Close: the peer sees the end of file, or a reset when something it sent was never read."""
        if self._state == "closed":
            return
        unread = bool(self._received)
        connected = self._state == "connected"
        self._state, self._fd = "closed", -1
        self._received.clear()
        for orphan in self._waiting:
            orphan.abandon()
        self._waiting.clear()
        self._network.closed(self)
        if connected and self._outward is not None and not self._error:
            if unread:
                self._outward.reset()
            elif not self._shut:
                self._outward.finish()
        for pipe in (self._outward, self._inward):
            if pipe is not None:
                pipe.end_closed()
        self._changed()

    def detach(self) -> int:
        """Not possible: there is no real descriptor."""
        raise OSError(errno.EOPNOTSUPP, "a virtual socket has no descriptor to hand over")

    # What the wire tells.

    @property
    def open(self) -> bool:
        """Not closed."""
        return self._state != "closed"

    @property
    def failed(self) -> bool:
        """A reset has arrived."""
        return self._error != 0

    def established(self, local: Address, peer: Address, outward: "Pipe", inward: "Pipe") -> None:
        """The handshake is done."""
        self._state = "connected"
        self._local, self._peer = local, peer
        self._outward, self._inward = outward, inward
        self._changed()

    def connect_failed(self, error: int) -> None:
        """The handshake failed with an errno."""
        if self._state == "connecting":
            self._state = "fresh"
            self._error = error
            self._changed()

    def queue(self, sock: "VirtualSocket") -> None:
        """A finished connection for `accept`."""
        self._waiting.append(sock)
        self._changed()

    @property
    def full(self) -> bool:
        """The backlog takes no more."""
        return len(self._waiting) >= self._backlog

    def arrive(self, data: bytes, *, joinable: bool) -> None:
        """Bytes from the peer."""
        if joinable and self._received and len(self._received[-1]) + len(data) <= RECEIVE_AT_MOST:
            self._received[-1] += data
        else:
            self._received.append(data)
        self._changed()

    def arrive_end(self) -> None:
        """The peer writes no more."""
        self._ended = True
        self._changed()

    def arrive_reset(self) -> None:
        """The connection is broken; what arrived before can still be read."""
        self._error = self._error or errno.ECONNRESET
        self._changed()

    def abandon(self) -> None:
        """Close without the courtesy of an end: the peer sees a reset."""
        if self._outward is not None and self._state == "connected":
            self._outward.reset()
            self._error = errno.ECONNABORTED
        self.close()

    def room_again(self) -> None:
        """The window opened."""
        self._changed()

    def _nothing_received(self) -> bytes:
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        if self._ended:
            return b""
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def _check_open(self) -> None:
        if self._state == "closed":
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _check_writable(self) -> "Pipe":
        self._check_open()
        if self._error:
            raise OSError(self._error, os.strerror(self._error))
        if self._shut:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE))
        if self._outward is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._outward

    def _changed(self) -> None:
        self._network.readiness(self)


def _source_for(address: Address) -> Address:
    """Linux sends to 127/8 from 127.0.0.1, whatever the destination."""
    return ("127.0.0.1", 0) if ":" not in address[0] else ("::1", 0, 0, 0)


def shown(address: Address | None) -> str:
    """Host and port as text."""
    return f"{address[0]}:{address[1]}" if address else "nowhere"
