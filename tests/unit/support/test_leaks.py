"""The leak detector: each kind of leftover fails the test that made it, and clean tests pass."""

import asyncio
import multiprocessing
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.leaks import LeftBehind, left_tasks, nothing_left_behind

ROOT_LINE = "ROOT = str(Path(__file__).resolve().parents[1])"
TESTS = Path(__file__).resolve().parents[2]

LEAKING = """
import asyncio, socket, subprocess, threading
import pytest

kept = []

async def test_task_clean():
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()

async def test_task_left():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

async def test_transport_left():
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    kept.append(server.sockets[0].dup())
    server.close()

async def test_executor_clean():
    await asyncio.to_thread(lambda: None)

async def test_streams_clean():
    async def echo(reader, writer):
        writer.write(await reader.read(100))
        writer.close()
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert await reader.read() == b"x"
        writer.close()

def test_socket_left():
    kept.append(socket.socket())

def test_thread_left():
    stop = threading.Event()
    kept.append(stop)
    threading.Thread(target=stop.wait, args=(20,), name="forgotten thread", daemon=True).start()

def test_child_left():
    kept.append(subprocess.Popen(["sleep", "20"]))

def test_child_gone():
    for child in kept:
        if isinstance(child, subprocess.Popen):
            child.kill()
            child.wait()

@pytest.mark.allow_leftovers("to see that the marker works")
def test_allowed_clean():
    kept.append(socket.socket())

def test_file_clean(tmp_path):
    (tmp_path / "x").write_text("x")
"""


@pytest.mark.slow
def test_each_leak_fails_its_own_test_and_no_other(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LEAKING)
    pytester.makeconftest((TESTS / "conftest.py").read_text().replace(ROOT_LINE, f"ROOT = {str(TESTS.parent)!r}"))
    pytester.makeini("[pytest]\nasyncio_mode=auto\nasyncio_default_fixture_loop_scope=function\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "timeout=30")
    outcome = {line.split("::")[1].split(" ")[0] for line in result.outlines if line.startswith("ERROR ")}
    assert outcome == {
        "test_task_left",
        "test_transport_left",
        "test_socket_left",
        "test_thread_left",
        "test_child_left",
    }
    result.stdout.fnmatch_lines_random(
        ["*task forgotten: *", "*descriptor *: socket:*", "*thread forgotten thread*", "*child process *"]
    )


def test_descriptor_is_named() -> None:
    sock = socket.socket()
    with pytest.raises(LeftBehind, match=r"descriptor .*: socket"), nothing_left_behind():
        second = sock.dup()
    sock.close()
    second.close()


def test_thread_is_named_and_a_stopping_one_is_waited_for() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="lingerer")
    with nothing_left_behind():
        thread.start()
        threading.Timer(0.05, stop.set).start()
    assert not thread.is_alive()


def test_child_process_is_named() -> None:
    with pytest.raises(LeftBehind, match=r"child process .*"), nothing_left_behind():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")


def test_the_resource_tracker_of_multiprocessing_may_stay() -> None:
    with nothing_left_behind():
        process = multiprocessing.get_context("spawn").Process(target=print)
        process.start()
        process.join()
        process.close()


async def test_tasks_are_named_unless_they_are_ending() -> None:
    before = asyncio.all_tasks()
    ending = asyncio.create_task(asyncio.sleep(0))
    assert await left_tasks(before) == []
    assert ending.done()
    forgotten = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    (text,) = await left_tasks(before)
    assert text.startswith("task forgotten: ")
    assert "Event.wait" in text
    forgotten.cancel()
