"""Virtual time for tests: run a coroutine, or a whole test, in an event loop whose clock jumps to the next timer.

    @virtual
    async def test_a_day():
        await asyncio.sleep(86_400)        # takes a millisecond, and loop.time() is exactly 86,400 s further

Executor jobs run inline, chance is seeded, time.time() and time.monotonic() follow the virtual clock, tasks are
hashed by their number: the same seed gives the same run. What a test leaves behind fails it.
"""

import asyncio
import contextlib
import functools
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any, TypeVar, overload
from unittest import mock

from tests.support.loop import START_MONO, START_WALL, Deadlock, Livelock, VirtualLoop, where
from tests.support.network import Network

__all__ = [
    "START_MONO",
    "START_WALL",
    "Deadlock",
    "LeftBehind",
    "Livelock",
    "VirtualLoop",
    "network",
    "run_virtual",
    "virtual",
    "virtual_loop",
]

T = TypeVar("T")

SETTLE_TURNS = 20
"""Turns that callbacks get to finish after the test: closing a transport takes asyncio three, a server a few more."""
SETTLE_WAITS = 1_000
"""How many arrivals on slow wires are waited for after the test, so that the last goodbye may still be underway."""


class LeftBehind(AssertionError):
    """The test ended and left tasks, connections, listeners or unheard errors behind."""


def virtual_loop() -> "VirtualLoop":
    """The running loop, which has to be virtual."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"{loop!r} is not virtual: decorate the test with @virtual")
    return loop


def network() -> Network:
    """The network of the running virtual loop."""
    return virtual_loop().network


def run_virtual(
    main: Coroutine[Any, Any, T] | Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int = 0,
    start_wall: datetime | float = START_WALL,
    start_mono: float = START_MONO,
    trace: list[str] | None = None,
) -> T:
    """Run a coroutine in a fresh virtual loop and give its result.

    Raises what it raises; `Deadlock` and `Livelock`; `LeftBehind` when it leaves something. `trace` collects one line
    per network event.
    """
    loop = VirtualLoop(seed=seed, start_wall=start_wall, start_mono=start_mono, trace=trace)
    coroutine = main if isinstance(main, Coroutine) else main()
    chance = random.getstate()
    random.seed(seed)
    try:
        with _clocks_follow(loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                return runner.run(_supervised(loop, coroutine))
            finally:
                runner.run(_tidy(loop))
    finally:
        random.setstate(chance)


TestFunction = Callable[..., Coroutine[Any, Any, None]]


@overload
def virtual(test: TestFunction) -> Callable[..., None]: ...
@overload
def virtual(
    *, seed: int = ..., start_wall: datetime | float = ...
) -> Callable[[TestFunction], Callable[..., None]]: ...
def virtual(
    test: TestFunction | None = None, *, seed: int = 0, start_wall: datetime | float = START_WALL
) -> Callable[..., None] | Callable[[TestFunction], Callable[..., None]]:
    """Make an async test run in a virtual loop of its own. Plain fixtures work, async fixtures do not."""

    def decorate(function: TestFunction) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            run_virtual(function(*args, **kwargs), seed=seed, start_wall=start_wall)

        return run

    return decorate if test is None else decorate(test)


async def _supervised(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    result = await main
    await _settle(loop)
    if left := _left_behind(loop):
        raise LeftBehind("the test left behind:\n" + "\n".join(f"  {line}" for line in left)) from _first_error(loop)
    return result


async def _settle(loop: VirtualLoop) -> None:
    for _ in range(SETTLE_WAITS):
        for _turn in range(SETTLE_TURNS):
            await asyncio.sleep(0)
        at = loop.network.next_arrival()
        if at is None:
            return
        await asyncio.sleep(max(0.0, at - loop.time()))


def _left_behind(loop: VirtualLoop) -> list[str]:
    own = asyncio.current_task()
    tasks = [f"task {where(task)}" for task in asyncio.all_tasks(loop) if task is not own]
    errors = [f"unheard error: {context.get('message')}: {context.get('exception')!r}" for context in loop.unheard]
    return [*sorted(tasks), *loop.network.left_open(), *errors]


def _first_error(loop: VirtualLoop) -> BaseException | None:
    return next((context["exception"] for context in loop.unheard if "exception" in context), None)


async def _tidy(loop: VirtualLoop) -> None:
    """Break off what is left, so that a failed test does not also warn from the garbage collector."""
    own = asyncio.current_task()
    for task in asyncio.all_tasks(loop):
        if task is not own:
            task.cancel()
    for transport in list(loop._transports.values()):
        if getattr(transport, "_sock", None) is not None:  # asyncio's mark of a transport that is not closed yet
            transport.abort()
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)


@contextlib.contextmanager
def _clocks_follow(loop: VirtualLoop) -> Iterator[None]:
    """Libraries that ask `time` themselves (logging, the Date of HTTP) get virtual answers too."""
    answers: dict[str, Any] = {
        "time": loop.wall,
        "time_ns": lambda: round(loop.wall() * 1e9),
        "monotonic": loop.time,
        "monotonic_ns": lambda: round(loop.time() * 1e9),
    }
    with mock.patch.multiple(time, **answers):
        yield
