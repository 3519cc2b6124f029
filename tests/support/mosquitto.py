"""A real Mosquitto on a free loopback port, and a client beside ours that sees what it keeps and what it passes on."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt
import orjson

from tests.support.peers import require_tool

STARTS_WITHIN_S = 10.0
SEEN_WITHIN_S = 10.0
TRIES = 5
"""A free port that was found may be taken by the time it is used."""


class Mosquitto:
    """One broker process; `lines` go into its configuration beside the listener."""

    def __init__(self, folder: Path, lines: str = "allow_anonymous true") -> None:
        self._program = require_tool("mosquitto")
        self._folder = folder
        self._lines = lines
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start, on the port it had before or on a free one; returns when it listens."""
        for _ in range(TRIES):
            port = self.port or _free_port()
            process = self._spawn(port)
            if _listens(port, process):
                self.port, self._process = port, process
                return
            _end(process)
        raise RuntimeError(f"mosquitto does not start:\n{self.log}")

    def kill(self) -> None:
        """SIGKILL: whatever it kept in memory is lost."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def freeze(self) -> None:
        """Stop the process as a half-open connection would: the kernel answers, nobody else does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Read passwords and ACL anew."""
        self._signal(signal.SIGHUP)

    @property
    def log(self) -> str:
        """What it said."""
        path = self._folder / "mosquitto.log"
        return path.read_text() if path.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        # As root it would become the user mosquitto, who cannot read a test's folder.
        user = "user root\n" if os.geteuid() == 0 else ""
        config = self._folder / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\n{user}persistence false\n{self._lines}\n")
        with (self._folder / "mosquitto.log").open("ab") as log:
            return subprocess.Popen([self._program, "-c", str(config), "-v"], stdout=log, stderr=log)


@contextmanager
def mosquitto(folder: Path, lines: str = "allow_anonymous true") -> Iterator[Mosquitto]:
    """A broker for the block."""
    broker = Mosquitto(folder, lines)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


def password_file(folder: Path, **users: str) -> Path:
    """A password file that Mosquitto reads."""
    path = folder / "passwd"
    path.write_text("".join(f"{user}:{password}\n" for user, password in users.items()))
    path.chmod(0o600)
    subprocess.run([require_tool("mosquitto_passwd", package="mosquitto"), "-U", str(path)], check=True)
    return path


@dataclass(slots=True)
class Observer:
    """A client of its own: everything it saw, in order."""

    client: aiomqtt.Client
    seen: list[aiomqtt.Message] = field(default_factory=list)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def collect(self) -> None:
        """Gather until cancelled."""
        async for message in self.client.messages:
            async with self._news:
                self.seen.append(message)
                self._news.notify_all()

    async def until(self, condition: Callable[[list[aiomqtt.Message]], Any]) -> Any:
        """Wait until `condition` of all messages is true, and return what it gave."""
        async with asyncio.timeout(SEEN_WITHIN_S), self._news:
            while not (found := condition(self.seen)):
                await self._news.wait()
            return found

    async def message(self, topic: str, payload: bytes | None = None, **fields: Any) -> aiomqtt.Message:
        """The latest message on a topic with this payload or these JSON fields, as soon as there is one."""
        found: aiomqtt.Message = await self.until(
            lambda seen: next((m for m in reversed(seen) if _matches(m, topic, payload, fields)), None)
        )
        return found


@asynccontextmanager
async def observer(port: int, topics: str = "#", **options: Any) -> AsyncIterator[Observer]:
    """An observer for the block."""
    async with aiomqtt.Client("127.0.0.1", port, timeout=5, **options) as client:
        watcher = Observer(client)
        await client.subscribe(topics, qos=1)
        task = asyncio.create_task(watcher.collect())
        try:
            yield watcher
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], Any], within_s: float = SEEN_WITHIN_S) -> None:
    """Wait until something that raises no event of its own is true."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def _matches(message: aiomqtt.Message, topic: str, payload: bytes | None, fields: dict[str, Any]) -> bool:
    if str(message.topic) != topic or (payload is not None and message.payload != payload):
        return False
    return not fields or fields.items() <= orjson.loads(message.payload).items()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
        return port


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
