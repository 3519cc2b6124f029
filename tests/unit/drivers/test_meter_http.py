"""A meter asked over real loopback HTTP, by instruments that are well and by some that are not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from drivers.io import Io
from drivers.meter_http import ANSWER_CAP, open_meter
from shedload.errors import Garbled, NoAnswer, Refused, RigError, Unauthorized, Unreachable
from shedload.units import Watts
from simulator.clock import PlantClock
from simulator.meter import ConstantLoad, Meter, MeterServer

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
DEADLINE_S = 0.25


@pytest.fixture
async def io() -> AsyncIterator[Io]:
    async with Io() as opened:
        yield opened


@asynccontextmanager
async def instrument(peer: Peer) -> AsyncIterator[str]:
    """A server whose answer `peer` writes; yields its address."""

    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        assert own is not None
        tasks.add(own)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/meter?token=canary"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()


def says(body: bytes, status: str = "200 OK", headers: str = "") -> Peer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}Connection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    return answer


async def ask(io: Io, peer: Peer, field: str | None = "power") -> float:
    async with instrument(peer) as url:
        return await open_meter(url, field, DEADLINE_S, io).read()


async def test_reads_the_simulated_meter(io: Io) -> None:
    meter = Meter(PlantClock(asyncio.get_running_loop().time), [ConstantLoad(Watts(1500.0))], noise=0.0)
    server = MeterServer(meter, "127.0.0.1", 0)
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.port}/meter"
        driver = open_meter(url, "power_w", 1.0, io)
        assert [await driver.read() for _ in range(3)] == [1500.0] * 3
    finally:
        await server.stop()


async def test_reads_a_field_and_a_bare_number(io: Io) -> None:
    assert await ask(io, says(b'{"emeters":[{"power":-3.5}]}'), "emeters.0.power") == -3.5
    assert await ask(io, says(b" 812.0\n"), None) == 812.0


@pytest.mark.parametrize("body", [b"", b"{", b'{"power":NaN}', b'{"power":null}', b'{"watts":1}', b"<html>busy</html>"])
async def test_an_answer_without_a_number_is_garbled(io: Io, body: bytes) -> None:
    with pytest.raises(Garbled):
        await ask(io, says(body))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("401 Unauthorized", Unauthorized),
        ("403 Forbidden", Unauthorized),
        ("404 Not Found", Refused),
        ("500 Internal Server Error", Garbled),
        ("503 Service Unavailable", Garbled),
    ],
)
async def test_other_statuses(io: Io, status: str, error: type[RigError]) -> None:
    with pytest.raises(error):
        await ask(io, says(b'{"power":1}', status))


async def test_a_redirect_is_not_followed(io: Io) -> None:
    async with instrument(says(b'{"power":666}')) as elsewhere:
        with pytest.raises(Refused, match="302"):
            await ask(io, says(b"", "302 Found", f"Location: {elsewhere}\r\n"))


async def test_nobody_there(io: Io) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(Unreachable, match=f"meter 127.0.0.1:{port}"):
        await open_meter(f"http://127.0.0.1:{port}/", "power", DEADLINE_S, io).read()


async def test_a_silent_instrument_ends_at_the_deadline(io: Io) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    started = asyncio.get_running_loop().time()
    with pytest.raises(NoAnswer, match=r"0\.25 s"):
        await ask(io, silent)
    assert asyncio.get_running_loop().time() - started < DEADLINE_S + 0.5


async def test_an_instrument_that_drips_ends_at_the_deadline(io: Io) -> None:
    async def drips(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    with pytest.raises(NoAnswer):
        await ask(io, drips)


async def test_an_instrument_that_hangs_up_half_way(io: Io) -> None:
    async def breaks_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"power":1')
        await writer.drain()

    with pytest.raises(NoAnswer):
        await ask(io, breaks_off)


async def test_an_endless_answer_is_cut(io: Io) -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n[")
        while True:
            writer.write(b"1," * 4096)
            await writer.drain()

    with pytest.raises(Garbled, match=str(ANSWER_CAP)):
        await ask(io, endless)


async def test_what_is_not_http(io: Io) -> None:
    async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x01garbage\r\n\r\n" * 5)
        await writer.drain()

    with pytest.raises(RigError):
        await ask(io, garbage)


async def test_no_error_shows_the_query(io: Io) -> None:
    for peer in (says(b"{"), says(b"", "404 Not Found"), says(b"x", "500 Oops")):
        with pytest.raises(RigError) as caught:
            await ask(io, peer)
        assert "canary" not in str(caught.value)
