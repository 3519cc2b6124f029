"""Load for `poll_full`: the simulator's rigs with their clock stopped and every reply kept once it was made.

The simulator itself would use more of its core than the client under test. Here each byte is still its own: a request
is answered by the simulator's functions the first time and from memory afterwards. At the start the replies are
compared with those of a real farm that serves the same rigs at the same standing clock.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

from simulator import antminer_socket, antminer_web
from simulator.antminer import Antminer
from simulator.farm import Farm
from simulator.farm_config import FarmConfig, parse_farm
from simulator.web_wire import END_OF_HEAD, render

STANDING_AT = 1000.0
"""Plant seconds: the rigs have run for long enough to be in steady state."""
USER = PASSWORD = "root"
MODELS = ("S19", "S19 Pro", "S19j Pro", "S19 XP")
Answer = Callable[..., Awaitable[dict[str, Any]]]


def addresses(per_model: int, net: str) -> list[tuple[str, str]]:
    """Model and address of every rig."""
    return [
        (model, f"{net}.{10 + place}.{number}")
        for place, model in enumerate(MODELS)
        for number in range(1, per_model + 1)
    ]


def farm_of(per_model: int, net: str, *, ports: bool = True) -> FarmConfig:
    """Their farm file; without `ports` on whichever are free."""
    text = "[farm]\nstart = 2026-01-15T12:00:00Z\n" + ("" if ports else "web_port = 0\nrpc_port = 0\n")
    for place, host in enumerate(("one", "two", "three")):
        text += f'[[pools]]\nurl = "stratum+tcp://{host}.pool.example:333{place}"\n'
    for place, model in enumerate(MODELS):
        text += (
            f'[[groups]]\nmodel = "{model}"\ncount = {per_model}\nfirst_address = "{net}.{10 + place}.1"\n'
            f'name = "rig{place}"\n'
        )
    return parse_farm(text)


@contextlib.asynccontextmanager
async def canned(per_model: int, net: str) -> AsyncIterator[Answer]:
    """Task of a child: serve until the input ends."""
    loop = asyncio.get_running_loop()
    farm = Farm(farm_of(per_model, net), read=lambda: STANDING_AT)
    rigs = [CannedRig(endpoint.antminer, farm.clock.now()) for endpoint in farm.rigs.values()]
    await check_against_farm(per_model, net, rigs)
    servers = []
    for rig, endpoint in zip(rigs, farm.rigs.values(), strict=True):
        for protocol, port in ((SocketServer, endpoint.socket_port), (WebServer, endpoint.web_port)):
            servers.append(await loop.create_server(_maker(protocol, rig), endpoint.address, port, backlog=256))

    async def answer() -> dict[str, Any]:
        return {"requests": sum(rig.served for rig in rigs)}

    try:
        yield answer
    finally:
        for server in servers:
            server.close()


class CannedRig:
    """The replies of one rig."""

    def __init__(self, antminer: Antminer, now: float) -> None:
        self._antminer = antminer
        self._now = now
        self._socket: dict[bytes, bytes] = {}
        self._web: dict[tuple[bytes, bytes], bytes] = {}
        self._challenge = self._page("GET", "/", b"", {})
        self.served = 0

    def socket(self, request: bytes) -> bytes:
        """The reply on port 4028."""
        self.served += 1
        reply = self._socket.get(request)
        if reply is None:
            reply = self._socket[request] = antminer_socket.answer(self._antminer, request, self._now)
        return reply

    def web(self, line: bytes, *, authorized: bool, body: bytes) -> bytes:
        """Head and body of the answer to the request with that first line."""
        self.served += 1
        if not authorized:
            return self._challenge
        reply = self._web.get((line, body))
        if reply is None:
            method, path, _ = line.decode().split(" ")
            headers = {"authorization": self._login(method, path)}
            reply = self._web[line, body] = self._page(method, path, body, headers)
        return reply

    def _page(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        reply = antminer_web.answer(self._antminer, method, path, headers, body, self._now)
        return render(reply.status, reply.headers, len(reply.body), keep=True) + reply.body

    def _login(self, method: str, path: str) -> str:
        return digest(self._antminer.gate.challenge(), method, path)


def digest(challenge: str, method: str, path: str) -> str:
    """The value of Authorization that answers a challenge."""
    realm, nonce = (re.search(rf'{name}="([^"]*)"', challenge)[1] for name in ("realm", "nonce"))  # type: ignore[index]
    secret, request = _md5(f"{USER}:{realm}:{PASSWORD}"), _md5(f"{method}:{path}")
    response = _md5(f"{secret}:{nonce}:00000001:c0ffee:auth:{request}")
    return (
        f'Digest username="{USER}", realm="{realm}", nonce="{nonce}", uri="{path}", qop=auth, nc=00000001, '
        f'cnonce="c0ffee", response="{response}"'
    )


async def check_against_farm(per_model: int, net: str, rigs: list[CannedRig]) -> None:
    """Raises RuntimeError where a canned reply is not what the farm itself sends."""
    farm = Farm(farm_of(per_model, net, ports=False), read=lambda: STANDING_AT)
    await farm.start()
    try:
        for rig, endpoint in zip(rigs, farm.rigs.values(), strict=True):
            for command in (b'{"command":"stats"}', b'{"command":"pools"}', b'{"command":"summary"}'):
                if await _talk(endpoint.address, endpoint.socket_port, command) != rig.socket(command):
                    raise RuntimeError(f"{endpoint.name}: the canned reply to {command!r} differs")
            for page in ("stats", "summary", "get_miner_conf", "get_system_info", "get_blink_status"):
                path = f"/cgi-bin/{page}.cgi"
                login = digest(endpoint.antminer.gate.challenge(), "GET", path)
                head = f"GET {path} HTTP/1.1\r\nConnection: close\r\nAuthorization: {login}\r\n\r\n"
                sent = await _talk(endpoint.address, endpoint.web_port, head.encode())
                kept = rig.web(f"GET {path} HTTP/1.1".encode(), authorized=True, body=b"")
                if sent.replace(b"Connection: close", b"Connection: keep-alive") != kept:
                    raise RuntimeError(f"{endpoint.name}: the canned {path} differs")
    finally:
        await farm.stop()


async def _talk(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


class SocketServer(asyncio.Protocol):
    """Port 4028."""

    def __init__(self, rig: CannedRig) -> None:
        self._rig = rig

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(self._rig.socket(data))
        self._transport.close()


class WebServer(asyncio.Protocol):
    """Port 80; any digest is taken for right, since the arithmetic of the rig is not what is measured."""

    def __init__(self, rig: CannedRig) -> None:
        self._rig = rig
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(END_OF_HEAD)) >= 0:
            head, rest = self._buffer[:end], self._buffer[end + 4 :]
            low = head.lower()
            told = re.search(rb"\r\ncontent-length: *(\d+)", low)
            size = int(told[1]) if told else 0
            if len(rest) < size:
                return
            self._buffer = rest[size:]
            line = head.partition(b"\r\n")[0]
            self._transport.write(
                self._rig.web(line, authorized=b"\r\nauthorization: digest " in low, body=rest[:size])
            )


def _maker(protocol: type[Any], rig: CannedRig) -> Callable[[], Any]:
    return lambda: protocol(rig)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
