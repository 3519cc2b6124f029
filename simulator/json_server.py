"""A small JSON-over-HTTP server for what is no rig: the meter's page and the control of a simulated farm."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import orjson

from simulator.web_wire import BadRequest, Request, RequestReader, render

Handler = Callable[[Request], Awaitable[tuple[int, Any]]]


class JsonServer:
    """Listens on one loopback address and answers through one handler."""

    def __init__(self, address: str, port: int, handler: Handler) -> None:
        self.address = address
        self.port = port
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where to ask, known once started."""
        return f"http://{self.address}:{self.port}"

    async def start(self) -> None:
        """Open the port. OSError where it cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _JsonProtocol(self), self.address, self.port)
        self.port = self.port or self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            for transport in tuple(self._connections):
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    def opened(self, transport: asyncio.Transport) -> None:
        """A client has come."""
        self._connections.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """A client has gone."""
        self._connections.discard(transport)

    def take(self, transport: asyncio.Transport, requests: list[Request]) -> None:
        """Answer requests of one connection in their order."""
        task = asyncio.ensure_future(self._answer(transport, requests))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, transport: asyncio.Transport, requests: list[Request]) -> None:
        for request in requests:
            status, value = await self._handler(request)
            body = orjson.dumps(value)
            head = render(status, {"Content-Type": "application/json"}, len(body), keep=request.keep)
            if transport.is_closing():
                return
            transport.write(head + body)
            if not request.keep:
                transport.close()


class _JsonProtocol(asyncio.Protocol):
    def __init__(self, server: JsonServer) -> None:
        self._server = server
        self._reader = RequestReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            if requests := list(self._reader.feed(data)):
                self._server.take(self._transport, requests)
        except BadRequest as error:
            body = orjson.dumps({"error": str(error)})
            self._transport.write(render(400, {"Content-Type": "application/json"}, len(body), keep=False) + body)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        self._server.closed(self._transport)
