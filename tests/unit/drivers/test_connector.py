"""What never becomes a body is bounded too: over real sockets, since the bound sits in aiohttp's own connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from drivers._address import Endpoint
from drivers._connector import WIRE_CAP, BoundedConnector
from drivers._http import PAGE_CAP, Web
from drivers.io import Io, network_connector
from shedload.device import Credential
from shedload.errors import Garbled, NoAnswer, Refused, RigError

SOON = 5.0


@asynccontextmanager
async def pouring(head: bytes, unit: bytes) -> AsyncIterator[tuple[Endpoint, list[int]]]:
    """A web server that answers everything with `head` and then `unit` for ever; counts what it got rid of."""
    sent: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            sent.append(0)
            while not writer.is_closing():
                writer.write(unit)
                sent[-1] += len(unit)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]), sent


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        (b"", b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" * 500),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
        (HEAD + b"1;", b"e" * 9000),
        (HEAD, b"1\r\n \r\n" * 3000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b'{"a":[' * 1000),
    ],
    ids=["processing", "continue", "chunk-extension", "small-chunks", "body"],
)
async def test_flood_ends_long_before_the_deadline(head, unit):
    async with pouring(head, unit) as (where, sent), Io() as io:
        with pytest.raises((Garbled, NoAnswer)):
            async with asyncio.timeout(SOON):
                await Web(io.http, where, None).get("/stats", deadline_s=60)
    assert 1 <= len(sent) <= 2
    assert all(amount < WIRE_CAP + (8 << 20) for amount in sent)  # what the sockets' buffers take besides


def test_the_network_is_reached_through_the_bounded_connector():
    async def kind() -> type[aiohttp.BaseConnector]:
        connector = network_connector()
        await connector.close()
        return type(connector)

    assert asyncio.run(kind()) is BoundedConnector
    assert WIRE_CAP > PAGE_CAP


CHALLENGES = {
    "not utf-8": b'Digest realm="\xff\xfe", nonce="\xc3\x28", qop="auth", algorithm=SHA-512-256, opaque="\x80\xff"',
    "not an address": b'Digest realm="x", qop="auth", nonce="1", domain="http://[::1"',
    "unknown algorithm": b'Digest realm="x", qop="auth", nonce="1", algorithm=MD5-evil',
    "nothing": b"Digest",
    "huge": b'Digest realm="' + b"r" * 4000 + b'", nonce="' + b"n" * 4000 + b'"',
}


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES.keys())
async def test_challenge_that_means_nothing_is_a_named_error_and_forgotten_when_the_rig_comes_to_its_senses(challenge):
    sane = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if sane and b'nonce="good"' in head:
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
                else:
                    asked = b'Digest realm="antMiner", nonce="good", qop="auth"' if sane else challenge
                    answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: " + asked + b"\r\n\r\n"
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, Io() as io:
        where = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        web = Web(io.http, where, Credential("root", "s3cret-pass"))
        for _ in range(2):
            with pytest.raises(RigError) as caught:
                await web.get("/x", deadline_s=SOON)
            assert "s3cret-pass" not in str(caught.value)
        sane = True
        assert await web.get("/x", deadline_s=SOON) == b"{}"


async def test_what_cannot_be_echoed_is_refused_before_anything_is_sent():
    deep: list[object] = []
    for _ in range(500):  # a rig may nest its configuration as deep as our parser reads, deeper than it writes
        deep = [deep]
    async with pouring(b"", b"x") as (where, sent), Io() as io:
        with pytest.raises(Refused, match="not sent"):
            await Web(io.http, where, None).post_json("/set", {"x": deep}, deadline_s=SOON)
        assert sent == []
