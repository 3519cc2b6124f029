"""`poll_exchange`: one question to one rig, from connect to telemetry, against a bare client that only moves bytes.

Both run on uvloop in a process of their own, with the same number of exchanges under way, against the same server.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from drivers._address import Endpoint
from drivers._tcp import exchange
from drivers.antminer import decode_stats
from shedload.cgminer.codec import encode_request
from tests.bench.machine import Child, cores
from tests.bench.table import Row, Runs, alternate, row_of

REPLY = Path(__file__).parent / "data" / "s19pro-stats-16-slots.json"
CONCURRENCY = 32
"""Exchanges under way at once, in both: enough to keep one core busy."""
DEADLINE_S = 4.0
ADDRESSES = tuple(f"127.90.0.{last}" for last in range(1, 17))
"""So many that no pair of address and port is needed twice within the minute that the kernel keeps it."""

Answer = Callable[..., Awaitable[dict[str, Any]]]


def measure_exchange(rounds: int, seconds: float) -> Row:
    """Run the row."""
    target, beside = cores()
    with contextlib.ExitStack() as stack:
        load = stack.enter_context(Child("tests.bench.exchange:server", {}, core=beside))
        where = {"ports": load.ask()["ports"]}
        both = tuple(
            _measure(stack.enter_context(Child(f"tests.bench.exchange:{task}", where, core=target)), seconds)
            for task in ("ours", "bare")
        )
        for warm_up in both:
            warm_up()
        (values, references), loads = alternate(rounds, both, load)
    return row_of(
        "poll_exchange",
        "exchanges/s",
        Runs(tuple(values), tuple(references), max(loads)),
        reference="bare uvloop Protocol: connect, write, read to EOF, close; nothing decoded, no deadline, no cap",
        least=0.35,
        ran=f"per second of the client's CPU time; client on core {target}, server on core {beside} "
        f"(busy {loads[0]:.0%} for us, {loads[1]:.0%} for the bare one); {CONCURRENCY} exchanges at once, "
        f"reply of {REPLY.stat().st_size + 1} bytes",
    )


def _measure(child: Child, seconds: float) -> Callable[[], float]:
    return lambda: float(child.ask(seconds=seconds)["rate"])


@contextlib.asynccontextmanager
async def ours(ports: list[int]) -> AsyncIterator[Answer]:
    """Contestant: deadline, size cap, reply end, decoding and mapping, closed in every case."""
    request = encode_request("stats")

    async def once(endpoint: Endpoint) -> None:
        telemetry = decode_stats(await exchange(endpoint, request, deadline_s=DEADLINE_S))
        assert telemetry.boards is not None

    yield _counted(once, ports)


@contextlib.asynccontextmanager
async def bare(ports: list[int]) -> AsyncIterator[Answer]:
    """Reference: the least that a client of this server can do."""
    request = encode_request("stats")
    size = REPLY.stat().st_size + 1
    loop = asyncio.get_running_loop()

    async def once(endpoint: Endpoint) -> None:
        wire = _Bare(request, loop.create_future())
        await loop.create_connection(lambda: wire, endpoint.host, endpoint.port)
        assert await wire.done == size

    yield _counted(once, ports)


class _Bare(asyncio.Protocol):
    __slots__ = ("_chunks", "_request", "_transport", "done")

    def __init__(self, request: bytes, done: asyncio.Future[int]) -> None:
        self._request = request
        self._chunks: list[bytes] = []
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(len(b"".join(self._chunks)))


def _counted(once: Callable[[Endpoint], Awaitable[None]], ports: list[int]) -> Answer:
    """Keep CONCURRENCY exchanges under way for so many seconds ; the rate is per second of this process's CPU time."""
    endpoints = [Endpoint(address, port) for address, port in zip(ADDRESSES, ports, strict=True)]
    loop = asyncio.get_running_loop()

    async def answer(seconds: float) -> dict[str, Any]:
        count = 0
        began, used = loop.time(), time.process_time()

        async def worker(place: int) -> None:
            nonlocal count
            turn = place
            while loop.time() < began + seconds:
                await once(endpoints[turn % len(endpoints)])
                turn += 1
                count += 1

        await asyncio.gather(*(worker(place) for place in range(CONCURRENCY)))
        wall, cpu = loop.time() - began, time.process_time() - used
        return {"rate": count / cpu, "busy": cpu / wall, "per_wall_second": count / wall}

    return answer


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Answer]:
    """Load: answers every connection with the reply and closes. One blocking thread an address: the cheapest server."""
    reply = REPLY.read_bytes() + b"\0"
    ports = []
    for address in ADDRESSES:
        listener = socket.create_server((address, 0), backlog=256)
        # The kernel hands a connection over when the request is there, so that recv never waits.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        ports.append(listener.getsockname()[1])
        threading.Thread(target=_serve, args=(listener, reply), daemon=True).start()

    async def answer() -> dict[str, Any]:
        return {"ports": ports}

    yield answer


def _serve(listener: socket.socket, reply: bytes) -> None:
    while True:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(4096)
            connection.sendall(reply)
