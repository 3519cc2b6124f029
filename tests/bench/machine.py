"""Where the parts of a benchmark run: processes pinned to cores, asked over a pipe, watched through /proc.

bench (this process) --line of JSON--> child (tests.bench.child) --> contestant or load generator
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 180.0
"""Seconds that a child may take for one answer; the longest measured window is below one minute."""
ENDING_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A child did not do what it should; the row that needs it cannot be measured."""


def cores() -> tuple[int, int]:
    """The core of the target and the core of the load; the same one twice on a machine with one core."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[1] if len(usable) > 1 else usable[0]


def own_net() -> str:
    """A part of loopback that another run beside this one hardly uses: "127.N"."""
    return f"127.{128 + os.getpid() % 120}"


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, all threads; 10 ms resolution."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_mb(pid: int) -> float:
    """Resident memory in megabytes (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"process {pid} has no VmRSS")


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started within the block stay on that core: a child is born where its parent may run."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class Watch:
    """CPU share of a process from the moment this is made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu = cpu_seconds(pid)
        self._wall = time.monotonic()

    def share(self) -> float:
        """CPU seconds per second so far, 1.0 being one core."""
        return (cpu_seconds(self._pid) - self._cpu) / (time.monotonic() - self._wall)


class Child:
    """A process of the benchmark. Its task is an async context manager that gives a function of one JSON object."""

    def __init__(self, task: str, options: Mapping[str, Any], *, core: int) -> None:
        self.name = task
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.child", task, str(core), json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        self._left = b""
        try:
            self.ready: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, **question: Any) -> dict[str, Any]:
        """Ask and wait. Raises BenchError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(f"{self.name} has ended") from None
        return self._answer()

    def close(self) -> None:
        """End the child: it leaves when its input ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._left:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(descriptor, 1 << 16) if ready else b""
            if not piece:
                raise BenchError(f"{self.name} {'said nothing more' if ready else 'did not answer in time'}")
            self._left += piece
        line, _, self._left = self._left.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}")
        return dict(answer)
