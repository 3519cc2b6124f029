"""The virtual loop: time, deadlocks, executors, signals, leftovers and repeatability."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.virtual import (
    START_MONO,
    START_WALL,
    Deadlock,
    LeftBehind,
    Livelock,
    network,
    run_virtual,
    virtual,
    virtual_loop,
)

ROOT = Path(__file__).resolve().parents[3]


def test_a_day_of_a_thousand_timers_takes_seconds() -> None:
    fired = 0

    async def tick(every: float) -> None:
        nonlocal fired
        while True:
            await asyncio.sleep(every)
            fired += 1

    async def main() -> float:
        async with asyncio.timeout(86_401), asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(tick(900 + number))
        return asyncio.get_running_loop().time()

    async def day() -> float:
        with pytest.raises(TimeoutError):
            await main()
        return asyncio.get_running_loop().time()

    started = time.perf_counter()
    assert run_virtual(day) == START_MONO + 86_401
    assert fired == sum(86_401 // (900 + number) for number in range(1000))
    assert time.perf_counter() - started < 5


@virtual
async def test_timers_fire_at_their_exact_time_and_in_order() -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []
    for name, delay in (("c", 0.3), ("a", 0.1), ("b", 0.1 + 1e-12), ("d", 1e6 + 1 / 3)):
        loop.call_at(loop.time() + delay, lambda name=name: seen.append((name, loop.time())))
    await asyncio.sleep(2e6)
    assert seen == [
        ("a", START_MONO + 0.1),
        ("b", START_MONO + (0.1 + 1e-12)),
        ("c", START_MONO + 0.3),
        ("d", START_MONO + (1e6 + 1 / 3)),
    ]


@virtual
async def test_timers_still_fire_after_thirty_years() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(1e9)
    now = loop.time()
    await asyncio.sleep(1e-9)
    assert loop.time() == now + 1e-9 == now
    await asyncio.sleep(0.001)
    assert loop.time() == now + 0.001


@virtual
async def test_a_deadline_fires_at_its_exact_time() -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 5.5
    with pytest.raises(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await asyncio.Event().wait()
    assert loop.time() == deadline


@virtual(start_wall=datetime(2026, 3, 29, 0, 59, tzinfo=UTC))
async def test_every_clock_tells_the_virtual_time() -> None:
    loop = virtual_loop()
    await asyncio.sleep(90)
    assert loop.utcnow() == datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC)
    assert time.time() == loop.wall() == loop.utcnow().timestamp()
    assert time.time_ns() == round(loop.wall() * 1e9)
    assert time.monotonic() == loop.time() == START_MONO + 90
    record = logging.LogRecord("x", logging.INFO, "", 0, "", None, None)
    assert record.created == loop.wall()


def test_the_real_clocks_come_back() -> None:
    async def fails() -> None:
        assert time.time() == START_WALL.timestamp()
        raise ValueError

    with pytest.raises(ValueError):
        run_virtual(fails)
    assert time.time() > START_WALL.timestamp() - timedelta(days=3650).total_seconds()
    assert time.time.__module__ == "time"


def test_deadlock_names_the_tasks_and_where_they_wait() -> None:
    async def wait_for_godot() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(wait_for_godot(), name="vladimir")

    with pytest.raises(Deadlock, match=r"(?s)main.*vladimir: .*wait_for_godot \(test_virtual.py:\d+\)"):
        run_virtual(main)


def test_livelock_is_found() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="spin"):
        run_virtual(spin)


@virtual
async def test_executor_jobs_run_inline() -> None:
    here = threading.get_ident()
    assert await asyncio.to_thread(threading.get_ident) == here
    loop = asyncio.get_running_loop()
    job = loop.run_in_executor(None, lambda: 1 / 0)
    assert job.done()
    with pytest.raises(ZeroDivisionError):
        await job
    assert loop.time() == START_MONO


@virtual
async def test_signals_are_delivered_on_request() -> None:
    loop = virtual_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.call_later(3, loop.send_signal, signal.SIGTERM)
    await stopped.wait()
    assert loop.time() == START_MONO + 3
    assert loop.remove_signal_handler(signal.SIGTERM)
    assert not loop.remove_signal_handler(signal.SIGTERM)


@virtual
async def test_another_thread_may_not_call_in() -> None:
    loop = asyncio.get_running_loop()
    errors: list[BaseException] = []

    def intrude() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert "virtual time" in str(errors[0])


@virtual
async def test_real_descriptors_are_refused() -> None:
    loop = asyncio.get_running_loop()
    read, write = os.pipe()
    try:
        with pytest.raises(RuntimeError, match="real"):
            loop.add_reader(read, print)
    finally:
        os.close(read)
        os.close(write)
    with pytest.raises(NotImplementedError):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))


def test_no_real_descriptor_is_opened() -> None:
    before = list(Path("/proc/self/fd").iterdir())

    async def main() -> None:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.1.0.7", 4028)
        _, writer = await asyncio.open_connection("127.1.0.7", 4028)
        assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
        writer.close()
        server.close()

    run_virtual(main)


async def _leave_task() -> None:
    virtual_loop().kept = asyncio.create_task(asyncio.sleep(1e9), name="forgotten")  # type: ignore[attr-defined]


async def _leave_connection() -> None:
    async with await asyncio.start_server(lambda _r, _w: None, "127.1.0.7", 4028):
        virtual_loop().kept = await asyncio.open_connection("127.1.0.7", 4028)  # type: ignore[attr-defined]


async def _leave_listener() -> None:
    await asyncio.start_server(lambda _r, _w: None, "127.1.0.7", 4028)


async def _leave_error() -> None:
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)


async def _leave_failed_task() -> None:
    async def fail() -> None:
        raise OSError("unheard")

    asyncio.create_task(fail())  # noqa: RUF006
    await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        (_leave_task, "task forgotten: sleep"),
        (_leave_connection, r"(?s)127.0.0.1:49152 -> 127.1.0.7:4028 \(client end\).*server end"),
        (_leave_listener, "listener 127.1.0.7:4028"),
        (_leave_error, "unheard error: .*ZeroDivisionError"),
        (_leave_failed_task, "unheard error: .*never retrieved.*unheard"),
    ],
)
def test_what_is_left_behind_fails_the_test(leave, named: str) -> None:
    with pytest.raises(LeftBehind, match=named):
        run_virtual(leave)


@virtual
async def test_goodbyes_underway_are_waited_for() -> None:
    from tests.support.wires import Wire

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read() == b"bye"
        writer.close()

    network().wire(wire=Wire(delay=0.25))
    async with await asyncio.start_server(serve, "127.1.0.7", 4028):
        _, writer = await asyncio.open_connection("127.1.0.7", 4028)
        writer.write(b"bye")
        writer.close()


def test_virtual_takes_arguments() -> None:
    @virtual
    async def takes(path: Path, *, number: int = 3) -> None:
        assert path == Path()
        assert number == 4

    takes(Path(), number=4)
    assert not asyncio.iscoroutinefunction(takes)


@pytest.fixture
def plain() -> int:
    return 7


@pytest.mark.parametrize("number", [7])
@virtual
async def test_plain_fixtures_reach_a_virtual_test(plain: int, number: int) -> None:
    assert plain == number


async def test_virtual_loop_refuses_a_real_one() -> None:
    with pytest.raises(TypeError, match="@virtual"):
        virtual_loop()


STORY = """
import asyncio, random, sys
from tests.support.virtual import network, run_virtual, virtual_loop
from tests.support.wires import Wire, anywhere
from tests.support.http import virtual_session
from aiohttp import web

log = []

async def rig(reader, writer):
    try:
        while line := await reader.readline():
            await asyncio.sleep(random.random())
            writer.write(line.upper())
            await writer.drain()
    except ConnectionError as error:
        log.append(f"rig {error!r}")
    finally:
        writer.close()

async def poll(number):
    host = f"127.1.0.{number}"
    while True:
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection(host, 4028)
                try:
                    writer.write(f"stats {number}\\n".encode())
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            answer = repr(error)
        log.append(f"{asyncio.get_running_loop().time()!r} {number} {answer!r} {asyncio.current_task().get_name()}")
        await asyncio.sleep(virtual_loop().rng.uniform(1, 10))

async def page(request):
    return web.Response(text=request.query["q"])

async def main():
    servers = [await asyncio.start_server(rig, f"127.1.0.{n}", 4028) for n in range(1, 9)]
    network().wire(None, 4028, Wire(split=anywhere, delay=0.01, jitter=0.2, lose=0.1))
    network().wire("127.1.0.3", None, Wire(lose=1))
    network().wire("127.1.0.4", None, Wire(drop_after=9))
    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/", page)
    await runner.setup()
    await web.TCPSite(runner, "127.1.0.99", 80).start()
    polls = {asyncio.create_task(poll(n)) for n in range(1, 10)}
    async with virtual_session() as session:
        async with session.get("http://127.1.0.99/", params={"q": "x"}) as answer:
            log.append(f"{answer.headers} {await answer.text()}")
    await asyncio.sleep(600)
    for task in polls:       # a set: its order is repeatable too
        task.cancel()
        log.append(task.get_name())
    await asyncio.gather(*polls, return_exceptions=True)
    await runner.cleanup()
    for server in servers:
        server.close()

trace = []
run_virtual(main, seed=int(sys.argv[1]), trace=trace)
print("\\n".join(log + trace))
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_log_in_every_process(tmp_path: Path) -> None:
    story = tmp_path / "story.py"
    story.write_text(textwrap.dedent(STORY))

    def run(seed: int, hash_seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, str(story), str(seed)], env=environment, check=True, capture_output=True, timeout=60
        ).stdout

    first = run(1, "1")
    assert first.count(b"\n") > 1000
    assert run(1, "2") == first
    assert run(2, "1") != first
