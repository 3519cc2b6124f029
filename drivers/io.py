"""What drivers share and the daemon owns: the web session, the clock for ages, the opener of serial lines.

daemon --async with Io()--> driver.open(spec, io) --> rig
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from drivers._connector import BoundedConnector

CONNECTIONS_PER_HOST = 2
"""Each CGI run is a process on a slow ARM board; a lane asks one thing at a time, the second covers a new login."""
KEEP_ALIVE_S = 75.0
"""Longer than the slowest cadence at which a driver polls the web (60 s): a connection lives to its next use."""


def network_connector() -> aiohttp.BaseConnector:
    """The connector of the real network. Rigs come by address, so nothing is cached about names."""
    return BoundedConnector(
        limit=0,  # bounded concurrency is the host's business
        limit_per_host=CONNECTIONS_PER_HOST,
        keepalive_timeout=KEEP_ALIVE_S,
    )


@dataclass(slots=True)
class Io:
    """Resources bound to the running loop. Open it with `async with`; tests replace the ports by their own."""

    mono: Callable[[], float] = time.monotonic
    connector: Callable[[], aiohttp.BaseConnector] = network_connector
    serial: Callable[..., Any] | None = None
    """Replaces the opener of `drivers/_serial.py` where no real serial line exists; None takes the real one."""
    _http: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=self.connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # every exchange brings its own deadline
            auto_decompress=True,
            headers={"User-Agent": "shedload"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """The web session of all rigs."""
        if self._http is None:
            raise RuntimeError("Io is not open: use `async with Io(...)`")
        return self._http
