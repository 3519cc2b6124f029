"""One exchange over HTTP with one rig: digest login, one deadline, a size cap, no redirects.

    driver --path, body--> Web --bytes or JSON--> driver

The login keeps the rig's nonce and sends it ahead, so that kept-alive polling costs one request each. A GET whose
connection the rig dropped is asked once more: rigs do that on the first challenge. A POST never is.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from drivers._address import Endpoint
from drivers._connector import Flood
from drivers._tcp import knock
from shedload.cgminer.repair import HtmlPage, Repaired, decode_json
from shedload.device import Credential
from shedload.errors import Garbled, NoAnswer, Refused, RigError, Unauthorized, Unreachable, Unsupported

PAGE_CAP = 256 * 1024
"""Bytes. Configurations and statistics are a few KiB, the largest recorded page of any firmware has 72 KB; parsing what
a rig invents beyond that would cost the others their time."""
_FAILURES = (TimeoutError, aiohttp.ClientError, OSError, ValueError)
"""What an exchange may end with; ValueError is what the login and the address parser let out on foreign text."""
_OK, _REDIRECT, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_ERROR = 200, 300, 400, 401, 403, 404, 500


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class Web:
    """The web interface of one rig; one login, one pair of credentials, never another one tried."""

    def __init__(
        self, session: aiohttp.ClientSession, where: Endpoint, credential: Credential | None, *, cap: int = PAGE_CAP
    ) -> None:
        self._session = session
        self._where = where
        self._base = f"http://{where}"
        self._cap = cap
        self._credential = credential
        self._login = self._fresh_login()

    async def knock(self, *, deadline_s: float) -> bool:
        """True if somebody listens at all."""
        return await knock(self._where, deadline_s=deadline_s)

    async def get(self, path: str, *, deadline_s: float) -> bytes:
        """The body at `path`. Raises RigError; Unsupported where this firmware has no such page."""
        try:
            async with asyncio.timeout(deadline_s):
                try:
                    answer = await self._send("GET", path)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError) as error:
                    if isinstance(error, aiohttp.ClientConnectorError):
                        raise
                    answer = await self._send("GET", path)
        except _FAILURES as error:
            raise self._meaning(error, path, deadline_s) from None
        return self._body(answer, path)

    async def get_json(self, path: str, *, deadline_s: float) -> Repaired:
        """The value at `path`, with the repairs it needed."""
        return self._decode(await self.get(path, deadline_s=deadline_s), path)

    async def post_json(self, path: str, body: Mapping[str, Any], *, deadline_s: float) -> bytes:
        """Send JSON. After NoAnswer the outcome is unknown."""
        try:
            sent = orjson.dumps(body)
        except orjson.JSONEncodeError as error:  # what a rig gave to be echoed: nested deeper than can be written
            raise Refused(f"{path}: not sent: {error}") from None
        return await self._post(path, sent, "application/json", deadline_s)

    async def post_form(self, path: str, form: str, *, deadline_s: float) -> bytes:
        """Send a form that is encoded already. After NoAnswer the outcome is unknown."""
        return await self._post(path, form.encode(), "application/x-www-form-urlencoded", deadline_s)

    async def _post(self, path: str, body: bytes, content_type: str, deadline_s: float) -> bytes:
        try:
            async with asyncio.timeout(deadline_s):
                answer = await self._send("POST", path, body, content_type)
        except _FAILURES as error:
            raise self._meaning(error, path, deadline_s) from None
        return self._body(answer, path)

    async def _send(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> _Answer:
        headers = {"Content-Type": content_type} if body is not None else None
        async with self._session.request(
            method,
            self._base + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            middlewares=self._login,
        ) as response:
            return _Answer(response.status, await self._bounded(response, path))

    async def _bounded(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._cap:
                response.close()  # the rest is never read, so the connection is of no more use
                raise Garbled(f"{path} is longer than {self._cap} bytes", b"".join(chunks)[:512])
        return b"".join(chunks)

    def _body(self, answer: _Answer, path: str) -> bytes:
        status, body = answer.status, answer.body
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            why = (
                "the rig does not take this user and password" if self._login else "no credential is configured for it"
            )
            raise Unauthorized(f"{path}: HTTP {status}, {why}", status)
        if status == _NOT_FOUND:
            raise Unsupported(f"{path}: not on this firmware", status)
        if status >= _SERVER_ERROR:
            raise Garbled(f"{path}: HTTP {status}", body)
        if not _OK <= status < _REDIRECT:
            raise Refused(f"{path}: HTTP {status}", status)
        return body

    def _decode(self, body: bytes, path: str) -> Repaired:
        try:
            return decode_json(body)
        except HtmlPage:
            raise Unsupported(f"{path}: a web page instead of an answer, not on this firmware") from None
        except Garbled as error:
            raise Garbled(f"{path}: {error.detail}", error.raw) from None

    def _fresh_login(self) -> tuple[aiohttp.DigestAuthMiddleware, ...]:
        who = self._credential
        return () if who is None else (aiohttp.DigestAuthMiddleware(who.user, who.password),)

    def _meaning(self, error: Exception, path: str, deadline_s: float) -> RigError:
        """The error tree's word for what went wrong; text of foreign exceptions stays out (it may quote headers)."""
        where = f"{self._where}{path}"
        if isinstance(error, Flood):
            return NoAnswer(f"{where}: a flood instead of an answer")
        if isinstance(error, aiohttp.ClientConnectorError):
            return Unreachable(f"{self._where}: {error.os_error.strerror or 'no connection'}")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Unreachable(f"{self._where}: no connection in time")
        if isinstance(error, TimeoutError):
            return NoAnswer(f"{where}: no complete answer within {deadline_s:g} s")
        if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
            return NoAnswer(f"{where}: the rig hung up before its answer was complete")
        self._login = self._fresh_login()  # the old one keeps a challenge that means nothing and never gets past it
        return Garbled(f"{where}: not HTTP ({type(error).__name__})")
