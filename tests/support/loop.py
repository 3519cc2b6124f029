"""The event loop that lives in no time: its selector moves the clock, its network is in memory, its jobs run inline.

Above sockets everything is asyncio's own code. `tests.support.virtual` runs tests in it.
"""

import asyncio
import collections
import contextvars
import itertools
import math
import random
import signal
import socket
import threading
from asyncio import selector_events
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.support.network import Network
from tests.support.selector import VirtualSelector
from tests.support.sockets import VirtualSocket

START_MONO = 1_000.0
"""Where loop.time() begins; not zero, because a real monotonic clock is never zero either."""
START_WALL = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the wall clock begins."""
IDLE_TURNS = 200_000
"""Turns of the loop in which the clock may stand still (about two real seconds) before it counts as a livelock."""


class Deadlock(AssertionError):
    """Nothing is scheduled and nothing is underway: the tasks named would wait for ever."""


class Livelock(AssertionError):
    """The loop turns and turns and the clock stands still."""


class VirtualTask(asyncio.Task[Any]):
    """A task whose place in sets depends on its number and not on its address, so that runs repeat."""

    def __init__(
        self, number: int, coro: Any, *, loop: asyncio.AbstractEventLoop, name: str | None, **more: Any
    ) -> None:
        self.number = number
        super().__init__(coro, loop=loop, name=name or f"Task-{number}", **more)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(selector_events.BaseSelectorEventLoop):
    """An event loop that lives in no time at all; see the module."""

    if TYPE_CHECKING:  # what asyncio's base classes keep to themselves
        _scheduled: list[asyncio.TimerHandle]
        _thread_id: int | None
        _transports: dict[int, asyncio.Transport]

        def _check_closed(self) -> None: ...

    def __init__(
        self,
        *,
        seed: int = 0,
        start_wall: datetime | float = START_WALL,
        start_mono: float = START_MONO,
        trace: list[str] | None = None,
    ) -> None:
        self._now = start_mono
        self._start_mono = start_mono
        self._start_wall = start_wall.timestamp() if isinstance(start_wall, datetime) else start_wall
        self._idle_turns = 0
        self._task_numbers = itertools.count(1)
        self._signals: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._twins: dict[int, VirtualSocket] = {}
        self.unheard: list[dict[str, Any]] = []
        """What reached the loop's exception handler; any makes the test fail, a test that expects one clears it."""
        self.rng = random.Random(seed)
        self.network = Network(self, seed=seed, trace=trace)
        super().__init__(VirtualSelector(self.network, self._wait))
        self._tick(start_mono)
        self.set_exception_handler(lambda _loop, context: self.unheard.append(context))

    # Time.

    def time(self) -> float:
        """Virtual seconds, monotonic."""
        return self._now

    def wall(self) -> float:
        """Virtual wall time, seconds since 1970."""
        return self._start_wall + (self._now - self._start_mono)

    def utcnow(self) -> datetime:
        """Virtual wall time, aware UTC."""
        return datetime.fromtimestamp(self.wall(), UTC)

    def _wait(self, timeout: float | None) -> None:
        if timeout is None:
            raise Deadlock(f"nothing will ever happen again at {self._now}; waiting:\n{self._waiting()}")
        if timeout > 0:
            # the timer's own time and not now + timeout, which can miss it by a rounding error
            self._tick(max(self._now, self._scheduled[0].when()))
            return
        self._idle_turns += 1
        if self._idle_turns > IDLE_TURNS:
            self._idle_turns = 0
            raise Livelock(f"the clock has stood at {self._now} for {IDLE_TURNS} turns; tasks:\n{self._waiting()}")

    def _tick(self, now: float) -> None:
        self._now = now
        self._idle_turns = 0
        # asyncio runs timers due before now + resolution: the next float makes that exactly "due now"
        self._clock_resolution = math.nextafter(now, math.inf) - now

    def _waiting(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        return "\n".join(f"  {where(task)}" for task in tasks) or "  no task at all"

    # Tasks, threads and signals.

    def create_task(self, coro: Any, *, name: Any = None, **more: Any) -> Any:
        """As asyncio's, numbered within this loop."""
        if self.get_task_factory() is not None:
            return super().create_task(coro, name=name, **more)
        self._check_closed()
        return VirtualTask(next(self._task_numbers), coro, loop=self, name=name, **more)

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run the job at once, here; the future is done. The executor is not asked."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Only from the loop's own thread: another thread has no place in virtual time."""
        if self._thread_id not in (None, threading.get_ident()):
            raise RuntimeError("a thread called into virtual time; replace what runs it at its port")
        return self.call_soon(callback, *args, context=context)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Remember a handler for `send_signal`; the process's signals are left alone."""
        self._signals[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Forget a handler."""
        return self._signals.pop(sig, None) is not None

    def send_signal(self, sig: signal.Signals) -> None:
        """Do what the process would do if it got `sig`; KeyError when nobody listens."""
        callback, args = self._signals[sig]
        self.call_soon(callback, *args)

    # The network.

    async def getaddrinfo(self, host: Any, port: Any, *, family: int = 0, flags: int = 0, **_hints: int) -> Any:
        """Answered by the network's names."""
        return self.network.resolve(host, port, family, flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """The address itself: there are no reverse names."""
        return str(sockaddr[0]), str(sockaddr[1])

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As asyncio's, over the network in memory; `sock` only when it was connected by this loop's sock_connect."""
        sock = options.pop("sock", None)
        if sock is not None and (host is not None or port is not None):
            raise ValueError("host/port and sock can not be specified at the same time")
        if sock is not None:
            sock = self._own(sock)
        elif host is not None or port is not None:
            sock = await self._connect(host, port, options)
        for used in ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors"):
            options.pop(used, None)
        if options.get("ssl") and options.get("server_hostname") is None and host:
            options["server_hostname"] = host
        try:
            return await super().create_connection(protocol_factory, sock=sock, **options)
        except BaseException:
            if sock is not None and sock.open:
                sock.close()
            raise

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As asyncio's, listening in the network in memory; `sock` has to be a virtual one."""
        sock = options.pop("sock", None)
        family, flags = options.pop("family", 0), options.pop("flags", socket.AI_PASSIVE)
        start = options.pop("start_serving", True)
        if sock is not None:
            sockets = [_only_virtual(sock)]
        elif host is None and port is None:
            raise ValueError("Neither host/port nor sock were specified")
        else:
            sockets = self._bind_all(host, port, family, flags)
        server = asyncio.base_events.Server(
            self,
            sockets,  # type: ignore[arg-type]
            protocol_factory,
            options.pop("ssl", None),
            options.pop("backlog", 100),
            options.pop("ssl_handshake_timeout", None),
            options.pop("ssl_shutdown_timeout", None),
        )
        if start:
            await server.start_serving()
        return server

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect a virtual socket, or a real one that only stands for it (aiohttp makes those)."""
        if isinstance(sock, VirtualSocket):
            await super().sock_connect(sock, address)  # type: ignore[arg-type]
            return
        twin = self.network.socket(sock.family)
        try:
            await super().sock_connect(twin, address)  # type: ignore[arg-type]
        except BaseException:
            twin.close()
            raise
        self._twins[sock.fileno()] = twin

    async def create_datagram_endpoint(self, *_args: Any, **_options: Any) -> Any:
        """Refused."""
        raise NotImplementedError("the network in memory has no datagrams")

    def _bind_all(self, host: Any, port: Any, family: int, flags: int) -> list[VirtualSocket]:
        hosts = [host] if host is None or isinstance(host, str) else list(host)
        found = [info[4] for name in hosts for info in self.network.resolve(name, port, family, flags)]
        sockets: list[VirtualSocket] = []
        for address in dict.fromkeys(found):
            sock = self.network.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            sockets.append(sock)
            try:
                sock.bind(address)
            except OSError as error:
                for made in sockets:
                    made.close()
                text = f"error while attempting to bind on address {address!r}: {(error.strerror or '').lower()}"
                raise OSError(error.errno, text) from None
        return sockets

    async def _connect(self, host: Any, port: Any, options: dict[str, Any]) -> VirtualSocket:
        infos = self.network.resolve(host, port, options.get("family", 0), options.get("flags", 0))
        errors: list[OSError] = []
        for family, _type, _proto, _name, address in infos:
            sock = self.network.socket(family)
            try:
                if options.get("local_addr") is not None:
                    sock.bind(options["local_addr"])
                await super().sock_connect(sock, address)  # type: ignore[arg-type]
                return sock
            except OSError as error:
                errors.append(error)
                sock.close()
            except BaseException:
                sock.close()
                raise
        if len({str(error) for error in errors}) == 1:
            raise errors[0]
        raise OSError(f"Multiple exceptions: {', '.join(str(error) for error in errors)}")

    def _own(self, sock: Any) -> VirtualSocket:
        if isinstance(sock, VirtualSocket):
            return sock
        twin = self._twins.pop(sock.fileno(), None)
        if twin is None:
            raise ValueError(f"{sock!r} is a real socket: in virtual time only the network in memory exists")
        sock.close()
        return twin

    # asyncio's wake-up pipe between threads: there is one thread, and no real descriptor may be made.

    def _make_self_pipe(self) -> None:
        self._internal_fds = 0

    def _close_self_pipe(self) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


def _only_virtual(sock: Any) -> VirtualSocket:
    if not isinstance(sock, VirtualSocket):
        raise ValueError(f"{sock!r} is a real socket: in virtual time only the network in memory exists")
    return sock


def where(task: asyncio.Task[Any]) -> str:
    """A task's name and the innermost places where it waits."""
    frames: collections.deque[str] = collections.deque(maxlen=3)
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            frames.append(f"{frame.f_code.co_name} ({frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return f"{task.get_name()}: {' > '.join(frames)}"
