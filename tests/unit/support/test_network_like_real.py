"""The same story over real loopback sockets and over the network in memory: both have to tell it alike."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.support.virtual import run_virtual

HOST = "127.1.0.7"
ENOUGH = 8 << 20
"""Bytes that fill every buffer between a writer and a reader who does not read, Linux's autotuned ones too."""

Log = list[Any]


class Recorder(asyncio.Protocol):
    """Notes what its transport does to it."""

    def __init__(self, log: Log, *, stay_open: bool = False) -> None:
        self.log = log
        self.stay_open = stay_open
        self.lost = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()
        self.got = bytearray()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.log.append("made")

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.log.append(("eof", bytes(self.got)))
        self.ended.set()
        return self.stay_open

    def pause_writing(self) -> None:
        self.log.append("pause")

    def resume_writing(self) -> None:
        self.log.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.log.append(("lost", type(error).__name__))
        self.lost.set_result(None)


async def _pair(log: Log, *, stay_open: bool = False) -> tuple[asyncio.Server, Recorder, Recorder, Log]:
    loop = asyncio.get_running_loop()
    server_log: Log = []
    accepted: asyncio.Future[Recorder] = loop.create_future()

    def factory() -> Recorder:
        recorder = Recorder(server_log, stay_open=stay_open)
        loop.call_soon(accepted.set_result, recorder)
        return recorder

    server = await loop.create_server(factory, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    _, client = await loop.create_connection(lambda: Recorder(log, stay_open=stay_open), HOST, port)
    return server, client, await accepted, server_log


async def refused() -> Log:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConnectionRefusedError) as caught:
        await asyncio.open_connection(HOST, port)
    return [caught.value.errno, str(caught.value).replace(str(port), "PORT")]


async def names() -> Log:
    log: Log = []
    server, client, far, _ = await _pair(log)
    at = server.sockets[0].getsockname()
    peer, own = client.transport.get_extra_info("peername"), client.transport.get_extra_info("sockname")
    log += [peer == at, own[0], own[1] > 1023]
    log += [far.transport.get_extra_info("peername") == own, far.transport.get_extra_info("sockname") == at]
    log += [client.transport.get_extra_info("socket").family, client.transport.can_write_eof()]
    client.transport.close()
    await client.lost
    await far.lost
    server.close()
    return log


async def echo_and_half_close() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log, stay_open=True)
    client.transport.write(b"hello ")
    client.transport.writelines([b"wor", b"ld"])
    client.transport.write_eof()
    await far.ended.wait()
    with pytest.raises(RuntimeError):
        client.transport.write(b"more")
    far.transport.write(bytes(far.got).upper())
    far.transport.close()
    await client.ended.wait()
    client.transport.close()
    await client.lost
    await far.lost
    server.close()
    return [log, server_log]


async def eof_closes_by_itself() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log)
    far.transport.write(b"answer")
    far.transport.close()
    await client.lost
    await far.lost
    server.close()
    return [log, server_log]


async def write_to_a_closed_peer() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log, stay_open=True)
    far.transport.close()
    await far.lost
    await client.ended.wait()
    while not client.lost.done():
        client.transport.write(b"x")
        await asyncio.sleep(0.001)
    server.close()
    # the first write is answered by a reset; whether the next write or a read meets it differs by a hair
    return [log[:-1], log[-1][1] in ("ConnectionResetError", "BrokenPipeError"), server_log]


async def close_with_unread_bytes_resets() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log)
    far.transport.pause_reading()
    client.transport.write(b"never read")
    await asyncio.sleep(0.02)
    far.transport.close()
    await client.lost
    await far.lost
    server.close()
    return [log, server_log]


async def abort_drops_what_waits() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log)
    far.transport.pause_reading()
    client.transport.write(bytes(ENOUGH))
    assert client.transport.get_write_buffer_size() > 0
    client.transport.abort()
    await client.lost
    far.transport.resume_reading()
    await far.lost
    server.close()
    return [log, 0 < len(far.got) < ENOUGH, server_log[0], server_log[-1][0]]


async def back_pressure() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log)
    client.transport.set_write_buffer_limits(high=1000, low=100)
    far.transport.pause_reading()
    client.transport.write(bytes(ENOUGH))
    paused = list(log)
    far.transport.resume_reading()
    while client.transport.get_write_buffer_size():
        await asyncio.sleep(0.001)
    client.transport.close()
    await client.lost
    await far.lost
    server.close()
    return [paused, log, len(far.got), server_log[0], server_log[-1]]


async def close_flushes() -> Log:
    log: Log = []
    server, client, far, server_log = await _pair(log)
    client.transport.write(bytes(ENOUGH))
    client.transport.close()
    client.transport.close()
    assert client.transport.is_closing()
    await client.lost
    await far.lost
    server.close()
    return [log[-1], len(far.got), server_log[-1]]


async def address_in_use() -> Log:
    async with await asyncio.start_server(lambda _r, w: w.close(), HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError) as caught:
            await asyncio.start_server(lambda _r, w: w.close(), HOST, port)
        other = await asyncio.start_server(lambda _r, w: w.close(), "127.1.0.8", port)
        other.close()
    again = await asyncio.start_server(lambda _r, w: w.close(), HOST, port)
    again.close()
    text = str(caught.value)  # its end is worded differently from Python 3.13 on
    return [caught.value.errno, text[: text.index(")")].replace(str(port), "PORT"), "address already in use" in text]


async def unaccepted_connections_are_reset_with_their_listener() -> Log:
    server = await asyncio.start_server(lambda _r, w: w.close(), HOST, 0, start_serving=False)
    sock = server.sockets[0]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*sock.getsockname())
    server.close()
    return []


async def cancelled_reads_lose_nothing() -> Log:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"first")
        await writer.drain()
        await go_on.wait()
        writer.write(b" second")
        writer.close()

    go_on = asyncio.Event()
    async with await asyncio.start_server(serve, HOST, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.readexactly(5) == b"first"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await reader.read(1)
        go_on.set()
        rest = await reader.read()
        writer.close()
        await writer.wait_closed()
    return [rest]


async def overrun_and_incomplete() -> Log:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 200)
        writer.close()

    log: Log = []
    async with await asyncio.start_server(serve, HOST, 0) as server:
        for read in ("readline", "readuntil"):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=16)
            with suppress(ValueError, asyncio.LimitOverrunError):
                await getattr(reader, read)()
                log.append("no error")
            writer.close()
            with suppress(ConnectionError):  # closing with unread bytes resets; asyncio may or may not meet it
                await writer.wait_closed()
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(300)
        log.append(len(caught.value.partial))
        writer.close()
    return log


async def unknown_name() -> Log:
    with pytest.raises(socket.gaierror) as caught:
        await asyncio.open_connection("no-such-rig.invalid", 4028)
    return [isinstance(caught.value, OSError)]


STORIES: list[Callable[[], Awaitable[Log]]] = [
    refused,
    names,
    echo_and_half_close,
    eof_closes_by_itself,
    write_to_a_closed_peer,
    close_with_unread_bytes_resets,
    abort_drops_what_waits,
    back_pressure,
    close_flushes,
    address_in_use,
    unaccepted_connections_are_reset_with_their_listener,
    cancelled_reads_lose_nothing,
    overrun_and_incomplete,
    unknown_name,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_memory_tells_the_story_that_loopback_tells(story: Callable[[], Any]) -> None:
    assert run_virtual(story) == asyncio.run(asyncio.wait_for(story(), 20))
