"""One exchange over HTTP: login, deadlines, caps, and what each failure means; against a web server of few lines."""

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from drivers._address import Endpoint
from drivers._http import Web
from drivers.io import Io
from shedload.device import Credential
from shedload.errors import Garbled, NoAnswer, Refused, Unauthorized, Unreachable, Unsupported
from simulator.digest import DigestGate
from tests.support.http import VirtualConnector
from tests.support.virtual import virtual

ADDRESS = Endpoint("127.0.0.9", 80)
LOGIN = Credential("root", "s3cret-pass")
SOON = 5.0

Page = Callable[[str, str, bytes, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers with `page`; counts connections and requests; asks for a digest login where a gate is given."""

    def __init__(self, page: Page, *, gate: DigestGate | None = None, drop_challenges: int = 0) -> None:
        self.page = page
        self.gate = gate
        self.drop_challenges = drop_challenges
        self.connections = 0
        self.requests: list[str] = []
        self.tasks: set[asyncio.Task] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        with (
            contextlib.closing(writer),
            contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError),
        ):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]) if length else 0)
                method, path = head.split(" ", 2)[:2]
                self.requests.append(f"{method} {path}")
                authorization = re.search(r"^authorization: (.*)\r$", head, re.IGNORECASE | re.MULTILINE)
                refusal = self.gate and self.gate.refusal(method, path, authorization and authorization[1])
                if refusal and self.drop_challenges:
                    self.drop_challenges -= 1
                    break
                if refusal:
                    await reply(writer, b"<h1>401</h1>", status=401, headers=f"WWW-Authenticate: {refusal}\r\n")
                else:
                    await self.page(method, path, body, writer)


async def reply(writer, body: bytes, *, status: int = 200, headers: str = "") -> None:
    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
    await writer.drain()


def always(body: bytes, **more) -> Page:
    async def page(method, path, sent, writer):
        await reply(writer, body, **more)

    return page


@asynccontextmanager
async def web(page: Page, *, credential: Credential | None = LOGIN, cap: int = 1 << 20, **server):
    served = Server(page, **server)
    listening = await asyncio.start_server(served.serve, ADDRESS.host, ADDRESS.port)
    try:
        async with Io(mono=asyncio.get_running_loop().time, connector=VirtualConnector) as io:
            yield Web(io.http, ADDRESS, credential, cap=cap), served
    finally:
        listening.close()
        for task in served.tasks:
            task.cancel()
        await asyncio.gather(*served.tasks, return_exceptions=True)
        await listening.wait_closed()


def gate(password: str = LOGIN.password) -> DigestGate:
    return DigestGate("root", password, random.Random(1))


@virtual
async def test_login_once_then_one_request_each_on_one_connection():
    async with web(always(b'{"a":1}'), gate=gate()) as (client, server):
        for _ in range(5):
            assert (await client.get_json("/x.cgi", deadline_s=SOON)).value == {"a": 1}
        assert (await client.post_json("/y.cgi", {"b": True}, deadline_s=SOON)) == b'{"a":1}'
    assert server.requests == ["GET /x.cgi"] * 6 + ["POST /y.cgi"]
    assert server.connections == 1


@virtual
async def test_forgotten_nonce_costs_one_more_request_and_nothing_else():
    locks = gate()
    async with web(always(b"{}"), gate=locks) as (client, server):
        await client.get("/x.cgi", deadline_s=SOON)
        locks._nonces.clear()
        await client.get("/x.cgi", deadline_s=SOON)
    assert len(server.requests) == 4


@virtual
async def test_dropped_first_challenge_is_asked_once_more():
    async with web(always(b"{}"), gate=gate(), drop_challenges=1) as (client, server):
        assert await client.get("/x.cgi", deadline_s=SOON) == b"{}"
    assert server.connections == 2


@virtual
async def test_rig_that_always_hangs_up_is_no_answer():
    async with web(always(b"{}"), gate=gate(), drop_challenges=99) as (client, server):
        with pytest.raises(NoAnswer, match="hung up"):
            await client.get("/x.cgi", deadline_s=SOON)
    assert len(server.requests) <= 4


@virtual
async def test_post_is_never_sent_twice():
    async def drop(method, path, sent, writer):
        writer.close()

    async with web(drop) as (client, server):
        with pytest.raises(NoAnswer):
            await client.post_json("/set.cgi", {"a": 1}, deadline_s=SOON)
    assert server.requests == ["POST /set.cgi"]


@virtual
async def test_wrong_password_is_unauthorized_and_shows_no_secret():
    async with web(always(b"{}"), gate=gate("another")) as (client, server):
        with pytest.raises(Unauthorized) as caught:
            await client.get("/x.cgi", deadline_s=SOON)
    assert LOGIN.password not in str(caught.value)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, Unauthorized), (404, Unsupported), (500, Garbled), (503, Garbled), (418, Refused), (302, Refused)],
)
def test_statuses(status, error):
    @virtual
    async def body():
        async with web(always(b"<html>", status=status, headers="Location: http://evil.example/\r\n")) as (
            client,
            server,
        ):
            with pytest.raises(error) as caught:
                await client.get("/x.cgi", deadline_s=SOON)
        assert type(caught.value) is error
        assert len(server.requests) == 1

    body()


@virtual
async def test_page_instead_of_an_answer_is_unsupported():
    async with web(always(b"<!DOCTYPE html><html>no such page</html>")) as (client, _):
        with pytest.raises(Unsupported):
            await client.get_json("/x.cgi", deadline_s=SOON)


@virtual
async def test_broken_json_is_mended_or_garbled():
    async with web(always(b'{"bitmain-fan-ctrl" : ,"b":1}')) as (client, _):
        found = await client.get_json("/x.cgi", deadline_s=SOON)
        assert found.value == {"bitmain-fan-ctrl": None, "b": 1}
        assert found.repairs == ("missing_value",)
    async with web(always(b"\x80\x81 nothing")) as (client, _):
        with pytest.raises(Garbled, match=r"/x\.cgi"):
            await client.get_json("/x.cgi", deadline_s=SOON)


@virtual
async def test_silent_rig_costs_the_deadline():
    async def hang(method, path, sent, writer):
        await asyncio.sleep(3600)

    async with web(hang) as (client, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer, match="within 5 s"):
            await client.get("/x.cgi", deadline_s=SOON)
        assert asyncio.get_running_loop().time() - began == pytest.approx(SOON)


@virtual
async def test_dripping_rig_costs_the_deadline():
    async def drip(method, path, sent, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(1)

    async with web(drip) as (client, _):
        with pytest.raises(NoAnswer):
            await client.get("/x.cgi", deadline_s=SOON)


@virtual
async def test_endless_page_ends_at_the_cap():
    async def endless(method, path, sent, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    async with web(endless, cap=10_000) as (client, _):
        with pytest.raises(Garbled, match="longer than 10000 bytes"):
            await client.get("/x.cgi", deadline_s=SOON)


@virtual
async def test_not_http_at_all():
    async def garbage(method, path, sent, writer):
        writer.write(b"\x00\xffGARBAGE\r\n\r\n")
        writer.close()

    async with web(garbage) as (client, _):
        with pytest.raises(Garbled, match="not HTTP"):
            await client.get("/x.cgi", deadline_s=SOON)


@virtual
async def test_nobody_there_is_unreachable():
    async with Io(connector=VirtualConnector) as io:
        with pytest.raises(Unreachable):
            await Web(io.http, Endpoint("127.0.0.77", 80), LOGIN).get("/x.cgi", deadline_s=SOON)


@virtual
async def test_malformed_challenge_is_an_error_of_the_tree():
    headers = "WWW-Authenticate: Digest qop=auth\r\n"
    async with web(always(b"", status=401, headers=headers)) as (client, _):
        with pytest.raises(Garbled):
            await client.get("/x.cgi", deadline_s=SOON)


@virtual
async def test_cancelled_request_leaves_nothing_open():
    async def hang(method, path, sent, writer):
        await asyncio.sleep(3600)

    async with web(hang) as (client, server):
        task = asyncio.create_task(client.get("/x.cgi", deadline_s=60))
        await asyncio.sleep(1)
        assert server.requests == ["GET /x.cgi"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_io_that_is_not_open_says_so():
    with pytest.raises(RuntimeError, match="async with"):
        _ = Io().http
