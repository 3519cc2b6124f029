"""One exchange over TCP against peers that misbehave in every known way, on real loopback sockets and both loops."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from drivers import _tcp
from drivers._address import Endpoint
from drivers._tcp import exchange
from shedload.errors import Garbled, NoAnswer, Unauthorized, Unreachable

REQUEST = b'{"command":"stats"}'
REPLY = b'{"STATUS":[{"STATUS":"S"}],"STATS":[],"id":1}\0'
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
SOON = 5.0
uvloop.new_event_loop().close()  # libuv opens one pipe for the whole process with its first loop

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(loop: str, serve: Serve, talk):
    """Run `talk(endpoint)` against a server and return what it returns; nothing may be left open."""

    async def body():
        gone = asyncio.Event()

        async def handle(reader, writer):
            with contextlib.suppress(ConnectionError):
                await serve(reader, writer)
            with contextlib.suppress(ConnectionError):
                while await reader.read(4096):
                    pass
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            gone.set()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await talk(Endpoint("127.0.0.1", port))
        finally:
            await asyncio.wait_for(gone.wait(), SOON)  # the client hung up: its connection is closed
            server.close()
            await server.wait_closed()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        return runner.run(body())


def answering(loop: str, serve: Serve, *, deadline_s: float = SOON, cap: int = 1 << 20) -> bytes:
    return against(loop, serve, lambda where: exchange(where, REQUEST, deadline_s=deadline_s, cap=cap))


pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_reply_in_one_piece(loop):
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.read(4095))
        writer.write(REPLY)
        writer.close()

    assert answering(loop, serve) == REPLY
    assert asked == [REQUEST]


def test_reply_byte_by_byte_ends_at_the_nul_although_the_peer_keeps_the_connection(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        for byte in REPLY:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    assert answering(loop, serve) == REPLY


def test_nul_inside_a_value_is_not_the_end(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(b'{"a":"x\0')
        await asyncio.sleep(0.05)
        writer.write(b'y"}')
        await asyncio.sleep(0.05)
        writer.write(b"\0")

    assert answering(loop, serve) == b'{"a":"x\0y"}\0'


def test_reply_without_nul_ends_when_the_peer_closes(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(REPLY[:-1])
        writer.close()

    assert answering(loop, serve) == REPLY[:-1]


def test_reply_without_nul_on_a_kept_connection_ends_with_silence(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(REPLY[:20])
        await asyncio.sleep(0.02)
        writer.write(REPLY[20:-1])

    began = time.monotonic()
    assert answering(loop, serve) == REPLY[:-1]
    assert time.monotonic() - began < SOON / 2


def test_a_brace_in_the_middle_of_a_slow_reply_is_not_its_end(loop, monkeypatch):
    monkeypatch.setattr(_tcp, "SILENCE_S", 0.02)

    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(b'{"a":{"b":1}')
        await asyncio.sleep(0.1)
        writer.write(b',"c":2}\0')

    assert answering(loop, serve) == b'{"a":{"b":1},"c":2}\0'


def test_truncated_reply_is_handed_over_as_it_is(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(REPLY[:17])
        writer.close()

    assert answering(loop, serve) == REPLY[:17]


def test_closed_without_a_byte_means_not_allowed(loop):
    async def serve(reader, writer):
        await reader.read(4095)
        writer.close()

    with pytest.raises(Unauthorized, match="api-allow"):
        answering(loop, serve)


def test_reset_without_a_byte_means_not_allowed(loop):
    async def serve(reader, writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    with pytest.raises(Unauthorized, match="api-allow"):
        answering(loop, serve)


def test_silent_peer_costs_the_deadline_and_no_more(loop):
    async def serve(reader, writer):
        await reader.read(4095)

    began = time.monotonic()
    with pytest.raises(NoAnswer, match=r"within 0\.2 s"):
        answering(loop, serve, deadline_s=0.2)
    assert time.monotonic() - began < SOON / 2


def test_dripping_peer_costs_the_deadline_and_no_more(loop):
    async def serve(reader, writer):
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    with pytest.raises(NoAnswer, match="bytes came"):
        answering(loop, serve, deadline_s=0.2)


def test_endless_reply_ends_at_the_cap(loop):
    async def serve(reader, writer):
        while not writer.is_closing():
            writer.write(b'{"a":1},' * 1000)
            await writer.drain()

    with pytest.raises(Garbled, match="longer than 20000 bytes") as caught:
        answering(loop, serve, cap=20_000)
    assert len(caught.value.raw) == 512


def test_refused_connection(loop):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused

        async def body():
            await exchange(Endpoint("127.0.0.1", taken.getsockname()[1]), REQUEST, deadline_s=SOON)

        with pytest.raises(Unreachable, match="refused"), asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(body())


def test_connection_that_is_never_made(loop):
    """A full backlog: the kernel lets the handshake hang."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())

        async def body():
            await exchange(Endpoint(*server.getsockname()), REQUEST, deadline_s=0.3)

        with pytest.raises(Unreachable, match="no connection within"), asyncio.Runner(loop_factory=LOOPS[loop]) as run:
            run.run(body())


def test_cancelled_exchange_closes_its_connection(loop):
    reading = []

    async def serve(reader, writer):
        await reader.read(4095)
        reading[0].set()

    async def talk(where):
        reading.append(asyncio.Event())
        task = asyncio.create_task(exchange(where, REQUEST, deadline_s=60))
        await asyncio.wait_for(reading[0].wait(), SOON)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    against(loop, serve, talk)


def test_many_exchanges_at_once(loop):
    async def body():
        async def handle(reader, writer):
            await reader.read(4095)
            writer.write(REPLY)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        where = Endpoint(*server.sockets[0].getsockname())
        replies = await asyncio.gather(*(exchange(where, REQUEST, deadline_s=SOON) for _ in range(50)))
        server.close()
        await server.wait_closed()
        return replies

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        assert runner.run(body()) == [REPLY] * 50


def test_dripping_after_a_long_reply_is_not_looked_through_again_and_again(loop, monkeypatch):
    looked = []
    monkeypatch.setattr(_tcp, "SILENCE_S", 0.02)
    monkeypatch.setattr(_tcp, "value_end", lambda text: looked.append(len(text)))

    async def serve(reader, writer):
        await reader.read(4095)
        writer.write(b"[" * (_tcp.MOST_UNENDED + 1))
        for _ in range(6):
            writer.write(b"]")
            await asyncio.sleep(0.05)

    with pytest.raises(NoAnswer):
        answering(loop, serve, deadline_s=0.25)
    assert looked == []
