"""What a test may not leave behind: tasks, descriptors (so sockets, transports, files), threads and child processes.

`tests/conftest.py` takes a snapshot before each test and compares after its last fixture is gone; tasks are looked at
while the test's own loop still lives, before pytest-asyncio cancels what is left.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

FINISHING_TURNS = 10
"""Turns of the loop for callbacks already scheduled: asyncio closes a transport in three."""
THREAD_GRACE = 2.0
"""Seconds for threads that were told to stop and are stopping: an executor's worker needs milliseconds."""
TOOL_THREADS = ("pytest_timeout", "pydevd", "ThreadPoolExecutor-execnet")
"""Beginnings of the names of threads that belong to the test tools."""


class LeftBehind(AssertionError):
    """The test left something behind."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process holds: descriptors with what they point at, threads, children."""

    descriptors: dict[int, str]
    threads: frozenset[threading.Thread]
    children: frozenset[int]

    @classmethod
    def take(cls) -> Self:
        """Now."""
        fd, pid = _tracker()
        descriptors = {number: what for number, what in _descriptors().items() if number != fd}
        return cls(descriptors, frozenset(threading.enumerate()), _children() - {pid})

    def left_since(self) -> list[str]:
        """What exists now and did not then, as text; waits a little for threads that are ending."""
        threads = [t for t in threading.enumerate() if t not in self.threads and not t.name.startswith(TOOL_THREADS)]
        _await_threads(threads)
        now = Snapshot.take()
        fds = [f"descriptor {fd}: {what}" for fd, what in now.descriptors.items() if self.descriptors.get(fd) != what]
        names = [f"thread {thread.name}" for thread in threads if thread.is_alive()]
        children = [f"child process {_command(pid)}" for pid in sorted(now.children - self.children)]
        return [*fds, *names, *children]


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Raise `LeftBehind` when descriptors, threads or children outlive the block."""
    before = Snapshot.take()
    yield
    report(before.left_since())


async def left_tasks(before: set[asyncio.Task[Any]]) -> list[str]:
    """The running loop's tasks that were not there `before` and do not end within a few turns, as text."""
    own = asyncio.current_task()
    left: list[asyncio.Task[Any]] = []
    for _ in range(FINISHING_TURNS):
        left = [task for task in asyncio.all_tasks() if task not in before and task is not own]
        if not left:
            break
        await asyncio.sleep(0)
    return sorted(f"task {task.get_name()}: {task.get_coro()!r}" for task in left)


def report(left: list[str]) -> None:
    """Raise `LeftBehind` unless the list is empty."""
    if left:
        raise LeftBehind("the test left behind:\n" + "\n".join(f"  {line}" for line in left))


def _descriptors() -> dict[int, str]:
    found: dict[int, str] = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


def _children() -> frozenset[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(int(pid) for pid in (task / "children").read_text().split())
        except OSError:  # the thread ended, or the kernel does not tell
            continue
    return frozenset(found)


def _tracker() -> tuple[int | None, int | None]:
    """Descriptor and process of multiprocessing's resource tracker, which lives as long as this process."""
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    return getattr(tracker, "_fd", None), getattr(tracker, "_pid", None)


def _command(pid: int) -> str:
    process = Path(f"/proc/{pid}")
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        # no words: a zombie, or between fork and exec; its short name is there all the same
        return f"{pid} {words[:120] or (process / 'comm').read_text().strip()}"
    except OSError:  # it ended while we looked
        return str(pid)


def _await_threads(threads: list[threading.Thread]) -> None:
    until = time.monotonic() + THREAD_GRACE
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, until - time.monotonic()))
