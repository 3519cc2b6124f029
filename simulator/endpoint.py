"""The two TCP servers of one simulated Antminer on its own loopback address, and what faults do to them.

    connection --bytes--> SocketProtocol --> antminer_socket.answer --> Sender
                          WebProtocol --> antminer_web.answer --> Sender

One listening socket each and no task per connection: a thousand rigs fit in one process, idle ones cost nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

from simulator import antminer_socket, antminer_web
from simulator.antminer import Antminer, Layer
from simulator.clock import PlantClock
from simulator.faults import Fault
from simulator.web_wire import BadRequest, Request, RequestReader, render
from simulator.wire import Sender

SOCKET_PORT = 4028
WEB_PORT = 80
BACKLOG = 100
"""What cgminer gives to listen()."""
RETRY_LISTEN = 0.05
"""Seconds until a port that could not be had again is tried once more."""


class RigEndpoint:
    """Serves one Antminer. Faults and restarts open and close its ports."""

    def __init__(
        self,
        name: str,
        antminer: Antminer,
        clock: PlantClock,
        *,
        address: str,
        socket_port: int = SOCKET_PORT,
        web_port: int = WEB_PORT,
        latency: float = 0.0,
    ) -> None:
        self.name = name
        self.antminer = antminer
        self.clock = clock
        self.address = address
        self.latency = latency
        self._wanted = {Layer.SOCKET: socket_port, Layer.BOARD: web_port}
        self._ports = dict(self._wanted)
        self._servers: dict[Layer, asyncio.Server] = {}
        self._closed_until = dict.fromkeys(Layer, 0.0)
        self._connections: set[asyncio.Transport] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._serving = False
        self._opening = asyncio.Lock()
        self._free_at = 0.0
        antminer.on_outage = self._outage

    @property
    def socket_port(self) -> int:
        """The port of the CGMiner socket, known once started."""
        return self._ports[Layer.SOCKET]

    @property
    def web_port(self) -> int:
        """The port of the web interface, known once started."""
        return self._ports[Layer.BOARD]

    async def start(self) -> None:
        """Open both ports. OSError where they cannot be had."""
        self._serving = True
        try:
            for layer in Layer:
                await self._open(layer)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything and wait for it."""
        self._serving = False
        for timer in self._timers:
            timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        servers = tuple(self._servers.values())
        for layer in Layer:
            self._shut(layer)
        self._hang_up()
        for server in servers:
            await server.wait_closed()

    async def set_faults(self, faults: Iterable[Fault]) -> None:
        """Have exactly these faults on from now on; returns once the ports are as they should be."""
        self.antminer.set_faults(tuple(faults), self.clock.now())
        if Fault.OFFLINE in self.antminer.faults:
            for layer in Layer:
                self._shut(layer)
        elif self._serving:
            await self._open_all()
        self._hang_up()

    def busy(self, work: Callable[[], None]) -> None:
        """Do a piece of work as the single API thread would: one after another, each taking the latency."""
        if self.latency <= 0:
            work()
            return
        loop = asyncio.get_running_loop()
        self._free_at = max(loop.time(), self._free_at) + self.latency
        self._later(self._free_at - loop.time(), work)

    def opened(self, transport: asyncio.Transport) -> None:
        """A client has come."""
        self._connections.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """A client has gone."""
        self._connections.discard(transport)

    def _outage(self, layer: Layer, plant_seconds: float) -> None:
        """Something restarts: its port is gone for a while."""
        if not self._serving:
            return
        seconds = self.clock.delay(plant_seconds)
        loop = asyncio.get_running_loop()
        layers = (Layer.SOCKET,) if layer is Layer.SOCKET else tuple(Layer)
        for affected in layers:
            self._closed_until[affected] = max(self._closed_until[affected], loop.time() + seconds)
            self._shut(affected)
        if layer is Layer.BOARD:
            self._hang_up()
        self._later(seconds, self._reopen)

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(seconds, fire)
        self._timers.add(timer)

    def _reopen(self) -> None:
        if self._serving:
            task = asyncio.ensure_future(self._open_all())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_all(self) -> None:
        try:
            for layer in Layer:
                await self._open(layer)
        except OSError:
            self._later(RETRY_LISTEN, self._reopen)

    async def _open(self, layer: Layer) -> None:
        loop = asyncio.get_running_loop()
        async with self._opening:
            if layer in self._servers or not self._may_listen():
                return
            if (wait := self._closed_until[layer] - loop.time()) > 0:
                self._later(wait, self._reopen)
                return
            protocol = SocketProtocol if layer is Layer.SOCKET else WebProtocol
            server = await loop.create_server(
                lambda: protocol(self, loop), self.address, self._ports[layer], backlog=BACKLOG, reuse_address=True
            )
            if not self._may_listen():  # switched off meanwhile
                server.close()
                return
            self._servers[layer] = server
            self._ports[layer] = self._wanted[layer] or server.sockets[0].getsockname()[1]

    def _may_listen(self) -> bool:
        return self._serving and Fault.OFFLINE not in self.antminer.faults

    def _shut(self, layer: Layer) -> None:
        server = self._servers.pop(layer, None)
        if server is not None:
            server.close()

    def _hang_up(self) -> None:
        for transport in tuple(self._connections):
            transport.abort()


class _RigProtocol(asyncio.Protocol):
    """What both servers have in common."""

    def __init__(self, endpoint: RigEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        self._endpoint = endpoint
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sender = Sender(self._transport, self._loop)
        self._endpoint.opened(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        self._sender.stop()
        self._endpoint.closed(self._transport)

    def pause_writing(self) -> None:
        self._sender.pause()

    def resume_writing(self) -> None:
        self._sender.resume()


class SocketProtocol(_RigProtocol):
    """Port 4028: what the first segment holds is the request; the connection closes behind the answer."""

    _asked = False

    def data_received(self, data: bytes) -> None:
        """Take the request, once."""
        if self._asked:
            return
        self._asked = True
        self._endpoint.busy(lambda: self._answer(data))

    def _answer(self, request: bytes) -> None:
        if self._transport.is_closing():
            return
        rig = self._endpoint.antminer
        reply = antminer_socket.answer(rig, request, self._endpoint.clock.now())
        self._sender.send(b"", reply, rig.faults, keep=False)


class WebProtocol(_RigProtocol):
    """Port 80: kept-alive HTTP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client with nothing said yet."""
        super().connection_made(transport)
        self._reader = RequestReader()

    def data_received(self, data: bytes) -> None:
        """Answer the requests that are complete."""
        try:
            for request in self._reader.feed(data):
                self._endpoint.busy(partial(self._answer, request))
        except BadRequest:
            self._transport.write(render(400, {}, 0, keep=False))
            self._transport.close()

    def _answer(self, request: Request) -> None:
        if self._transport.is_closing():
            return
        rig = self._endpoint.antminer
        now = self._endpoint.clock.now()
        reply = antminer_web.answer(rig, request.method, request.path, request.headers, request.body, now)
        if reply.drop:
            self._transport.close()
            return
        head = render(reply.status, reply.headers, len(reply.body), keep=request.keep)
        self._sender.send(head, reply.body, rig.faults, keep=request.keep)
