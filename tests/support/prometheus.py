"""A real Prometheus on a free loopback port, with the shipped configuration moved to other ports and a faster pace."""

import asyncio
import re
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.peers import require_tool
from tests.support.promql import ROOT, RULES

SHIPPED = ROOT / "deploy" / "prometheus" / "prometheus.yml"
STARTS_WITHIN = 20.0


class Prometheus:
    """One server over one daemon; every answer is checked for errors and warnings."""

    def __init__(self, folder: Path, daemon: str) -> None:
        self._tool = require_tool("prometheus")
        self._folder = folder
        self._port = _free_port()
        self._file = folder / "prometheus.yml"
        self._file.write_text(adapted(daemon))
        self._process: subprocess.Popen[bytes] | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._tool,
                    f"--config.file={self._file}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._http = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(STARTS_WITHIN):
                while not await self._ready():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            await self._end()
            raise RuntimeError(f"prometheus does not start:\n{self.log}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def log(self) -> str:
        """What it wrote: warnings and errors only."""
        return (self._folder / "prometheus.log").read_text(errors="replace")

    async def now(self, expr: str) -> list[dict[str, Any]]:
        """Series that an expression gives now."""
        found = await self.ask("query", query=expr)
        result: list[dict[str, Any]] = found["result"]
        return result

    async def over(self, expr: str, start: float, end: float) -> list[dict[str, Any]]:
        """Series that an expression gives, second by second."""
        found = await self.ask("query_range", query=expr, start=str(start), end=str(end), step="1")
        result: list[dict[str, Any]] = found["result"]
        return result

    async def ask(self, what: str, **parameters: str) -> Any:
        """The data of an answer; AssertionError for an error or a warning."""
        assert self._http is not None
        async with self._http.get(f"http://127.0.0.1:{self._port}/api/v1/{what}", params=parameters) as response:
            body = await response.json()
        assert body["status"] == "success", f"{what} {parameters}: {body}"
        assert not body.get("warnings"), f"{what} {parameters}: {body['warnings']}"
        return body["data"]

    async def _ready(self) -> bool:
        assert self._http is not None
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"prometheus ended:\n{self.log}")
        try:
            async with self._http.get(f"http://127.0.0.1:{self._port}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async def _end(self) -> None:
        if self._http is not None:
            await self._http.close()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def adapted(daemon: str) -> str:
    """The shipped configuration for a daemon at `host:port`, scraping each second; everything else stays as it is."""
    text = SHIPPED.read_text()
    for pattern, value, least in (
        (r"127\.0\.0\.1:9477", daemon, 2),
        (r"127\.0\.0\.1:9093", "127.0.0.1:9", 1),  # nobody listens: alerts are looked at here, not sent
        (r"(scrape_interval|evaluation_interval|scrape_timeout|refresh_interval): \d+s", r"\1: 1s", 4),
        (r"- rules/\*\.yml", f"- {RULES}/*.yml", 1),
    ):
        text, count = re.subn(pattern, value, text)
        assert count >= least, f"{SHIPPED} has no {pattern} any more: adapt this test"
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
