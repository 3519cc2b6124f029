"""TCP in memory: names, listeners, connections and the wires between them, inside a virtual-time loop.

asyncio's own transports, streams and servers run over `VirtualSocket` unchanged, so that back-pressure, half close,
resets and cancelled connects are asyncio's real behaviour; only what the kernel and the cable do is made here.

    socket --send--> Pipe (window, Flow: split, delay, lose...) --arrive--> socket --> readable --> virtual selector
    sockets.py       pipes.py             wires.py                          sockets.py              selector.py
"""

import asyncio
import errno
import itertools
import os
import socket
from collections.abc import Callable

from tests.support.pipes import Handshake, Pipe
from tests.support.sockets import Address, VirtualSocket, shown
from tests.support.wires import Flow, Wire

FIRST_FD = 1 << 20
"""Virtual descriptors start here, far above the real ones, so that the two are never mistaken for each other."""
FIRST_EPHEMERAL_PORT = 49_152
"""IANA's dynamic range; ports are given out in order so that the same run has the same ports."""
PERFECT = (Wire(), Wire())


class Network:
    """All hosts of a test: names, listeners, connections and the wires between them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, seed: int = 0, trace: list[str] | None = None) -> None:
        self.loop = loop
        self.trace = trace
        self.names: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        """What getaddrinfo knows; write to it."""
        self.readiness: Callable[[VirtualSocket], None] = lambda _sock: None
        """Told by every socket whose readiness may have changed: the selector's ear."""
        self._seed = seed
        self._fds = itertools.count(FIRST_FD)
        self._ports = itertools.count(FIRST_EPHEMERAL_PORT)
        self._connection_numbers: dict[Address, int] = {}
        self._wires: dict[tuple[str | None, int | None], tuple[Wire, Wire]] = {}
        self._listeners: dict[tuple[str, int], VirtualSocket] = {}
        self._sockets: dict[int, VirtualSocket] = {}
        self._pipes: dict[Pipe, None] = {}

    def wire(
        self,
        host: str | None = None,
        port: int | None = None,
        wire: Wire | None = None,
        *,
        to_server: Wire | None = None,
        to_client: Wire | None = None,
    ) -> None:
        """Lay `wire` before a listener (None: any host, any port), under living connections too.

        `to_server` and `to_client` set one direction; what is not given becomes `wire` or perfect. The most exact
        rule wins: host and port, host, port, any.
        """
        both = wire or Wire()
        self._wires[(host, port)] = (to_server or both, to_client or both)
        for pipe in list(self._pipes):
            new = self.wires_to(pipe.server)[pipe.to_client]
            if new is not pipe.flow.wire:
                pipe.lay(new)

    def wires_to(self, server: Address) -> tuple[Wire, Wire]:
        """The wires to and from a server's address."""
        host, port = server[0], server[1]
        for rule in ((host, port), (host, None), (None, port), (None, None)):
            if rule in self._wires:
                return self._wires[rule]
        return PERFECT

    def listen(self, host: str, port: int, *, backlog: int = 1 << 16) -> "VirtualSocket":
        """A tar-pit: connections succeed, as a kernel completes them, and nobody ever reads or answers. Close it."""
        sock = self.socket()
        sock.bind((host, port))
        sock.listen(backlog)
        return sock

    def reset(self, host: str | None = None, port: int | None = None) -> int:
        """Reset all connections to a listener (None: any), both ends at once; says how many there were."""
        hit = [
            p for p in self._pipes if not p.to_client and host in (None, p.server[0]) and port in (None, p.server[1])
        ]
        for pipe in hit:
            pipe.break_both()
        return len(hit)

    def connections(self, host: str | None = None, port: int | None = None) -> list[str]:
        """Open ends of connections to a listener (None: any), as text."""
        return [
            str(s) for s in self._open() if not s.listening and s.server is not None and _fits(s.server, host, port)
        ]

    def left_open(self) -> list[str]:
        """Every socket that nobody closed, as text."""
        return [str(sock) for sock in self._open()]

    def next_arrival(self) -> float | None:
        """When the next thing underway arrives; None when the wires are quiet."""
        return min((p.due for p in self._pipes if p.due is not None), default=None)

    def socket(self, family: int = socket.AF_INET) -> "VirtualSocket":
        """A new socket."""
        sock = VirtualSocket(self, next(self._fds), family)
        self._sockets[sock.fileno()] = sock
        return sock

    def find(self, fd: int) -> "VirtualSocket | None":
        """The open socket behind a virtual descriptor."""
        return self._sockets.get(fd)

    def resolve(self, host: str | bytes | None, port: str | int | None, family: int, flags: int) -> list[Address]:
        """What getaddrinfo answers for a stream socket; gaierror for names nobody wrote into `names`."""
        name = host.decode() if isinstance(host, bytes) else host
        number = _port_number(port)
        if not name:
            name = "0.0.0.0" if flags & socket.AI_PASSIVE else "127.0.0.1"
        addresses = [name] if _family(name) else self.names.get(name.lower(), [])
        found: list[Address] = []
        for address in addresses:
            kind = _family(address)
            if family in (0, kind):
                where = (address, number) if kind == socket.AF_INET else (address, number, 0, 0)
                found.append((socket.AddressFamily(kind), socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where))
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    def say(self, text: str) -> None:
        """Write a line to the trace, when there is one."""
        if self.trace is not None:
            self.trace.append(f"{self.loop.time():.6f} {text}")

    # What sockets ask of their kernel.

    def claim(self, sock: "VirtualSocket", address: Address) -> Address:
        """Give `sock` a local address; OSError(EADDRINUSE) when another listens there."""
        host, port = address[0], address[1]
        if port and any(self._clash(host, port, other) for other in self._listeners):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return (host, port or next(self._ports), *address[2:])

    def start_listening(self, sock: "VirtualSocket") -> None:
        """Connections to the socket's address are its own from now on."""
        host, port = sock.getsockname()[:2]
        if any(self._clash(host, port, other) for other, owner in self._listeners.items() if owner is not sock):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._listeners[(host, port)] = sock
        self.say(f"{host}:{port} listens")

    def listener(self, address: Address) -> "VirtualSocket | None":
        """Who accepts connections to `address`."""
        host, port = address[0], address[1]
        wildcard = "::" if ":" in host else "0.0.0.0"
        return self._listeners.get((host, port)) or self._listeners.get((wildcard, port))

    def closed(self, sock: "VirtualSocket") -> None:
        """Forget a socket."""
        self._sockets.pop(sock.fileno_at_birth, None)
        for address, owner in list(self._listeners.items()):
            if owner is sock:
                del self._listeners[address]
                self.say(f"{address[0]}:{address[1]} listens no more")

    def join(self, client: "VirtualSocket", server: "VirtualSocket", address: Address) -> tuple["Pipe", "Pipe"]:
        """Two pipes between the ends of a new connection."""
        number = self._connection_numbers[address] = self._connection_numbers.get(address, 0) + 1
        seed = f"{self._seed}:{address[0]}:{address[1]}:{number}"
        to_server, to_client = self.wires_to(address)
        near, far = shown(client.getsockname()), shown(address)
        up = Pipe(
            self,
            f"{near} -> {far}",
            client,
            server,
            address,
            Flow(to_server, f"{seed}:up", resends=True),
            to_client=False,
        )
        down = Pipe(
            self,
            f"{far} -> {near}",
            server,
            client,
            address,
            Flow(to_client, f"{seed}:down", resends=True),
            to_client=True,
        )
        self._pipes[up] = self._pipes[down] = None
        return up, down

    def begin_handshake(self, client: VirtualSocket, address: Address) -> None:
        """Start to connect; the socket is told how it went."""
        Handshake(self, client, address).begin()

    def forget(self, pipe: "Pipe") -> None:
        """A pipe whose both ends are gone."""
        self._pipes.pop(pipe, None)

    def _open(self) -> list["VirtualSocket"]:
        return list(self._sockets.values())

    def _clash(self, host: str, port: int, other: tuple[str, int]) -> bool:
        return port == other[1] and (host == other[0] or "0.0.0.0" in (host, other[0]) or "::" in (host, other[0]))


def _fits(server: Address, host: str | None, port: int | None) -> bool:
    return host in (None, server[0]) and port in (None, server[1])


def _family(address: str) -> int:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except OSError:
            continue
        return family
    return 0


def _port_number(port: str | int | bytes | None) -> int:
    try:
        return int(port or 0)
    except ValueError:
        services = {"http": 80, "https": 443, "mqtt": 1883}
        name = port.decode() if isinstance(port, bytes) else str(port)
        if name not in services:
            raise socket.gaierror(socket.EAI_SERVICE, "Servname not supported for ai_socktype") from None
        return services[name]
