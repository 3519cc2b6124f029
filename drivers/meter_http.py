"""A site power meter that is asked over HTTP: one GET, one number, in the unit that the configuration states.

    daemon --open_meter(url, field, timeout_s, io)--> HttpMeter --read()--> float --settings.watts()--> SiteMeter

Fits what serves JSON on the local network (gateways of Modbus meters, Shelly, Tasmota) and pages of one bare number.
"""

import asyncio
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from drivers.io import Io
from shedload.errors import Garbled, NoAnswer, Refused, RigError, Unauthorized, Unreachable
from shedload.reading import read_number

ANSWER_CAP = 64 * 1024
"""Bytes. The largest status page of a meter gateway seen is some 10 KiB."""
_OK, _UNAUTHORIZED, _FORBIDDEN, _SERVER_ERROR = 200, 401, 403, 500


class Meter(Protocol):
    """An instrument that is asked."""

    async def read(self) -> float:
        """The reading in the instrument's own unit. Raises RigError."""
        ...


class HttpMeter:
    """The instrument behind one address; every reading ends within the deadline."""

    def __init__(self, session: aiohttp.ClientSession, url: str, field: str | None, timeout_s: float) -> None:
        self._session = session
        self._url = url
        self._field = field
        self._timeout_s = timeout_s
        parts = urlsplit(url)
        self._where = f"meter {parts.hostname}{f':{parts.port}' if parts.port else ''}"  # a query may hold a token

    async def read(self) -> float:
        """Ask once. Raises Unreachable, NoAnswer, Garbled, or Refused for an answer other than 200."""
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await self._ask()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise self._meaning(error) from None
        self._judge(status, body)
        try:
            return read_number(body, self._field)
        except Garbled as error:
            raise Garbled(f"{self._where}: {error.detail}", error.raw or body) from None

    async def _ask(self) -> tuple[int, bytes]:
        # A redirect would let whoever sits at the address send us anywhere.
        async with self._session.get(self._url, allow_redirects=False) as response:
            return response.status, await self._bounded(response)

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > ANSWER_CAP:
                response.close()  # the rest is never read, so the connection is of no more use
                raise Garbled(f"{self._where}: the answer is longer than {ANSWER_CAP} bytes", bytes(body))
        return bytes(body)

    def _judge(self, status: int, body: bytes) -> None:
        if status == _OK:
            return
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            raise Unauthorized(f"{self._where}: HTTP {status}", status)
        if status >= _SERVER_ERROR:
            raise Garbled(f"{self._where}: HTTP {status}", body)
        raise Refused(f"{self._where}: HTTP {status} instead of a reading", status)

    def _meaning(self, error: Exception) -> RigError:
        """The error tree's word for what went wrong; text of foreign exceptions stays out (it may quote the URL)."""
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Unreachable(f"{self._where}: its certificate is not trusted")
        if isinstance(error, aiohttp.ClientConnectorError):
            return Unreachable(f"{self._where}: {error.os_error.strerror or 'no connection'}")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return Unreachable(f"{self._where}: no connection in time")
        if isinstance(error, TimeoutError):
            return NoAnswer(f"{self._where}: no complete answer within {self._timeout_s:g} s")
        if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
            return NoAnswer(f"{self._where}: hung up before the answer was complete")
        return Garbled(f"{self._where}: not HTTP ({type(error).__name__})")


def open_meter(url: str, field: str | None, timeout_s: float, io: Io) -> Meter:
    """A meter at `url`; `field` is a dotted path into JSON, None for a bare number. Sends nothing yet."""
    return HttpMeter(io.http, url, field, timeout_s)
