"""The demonstration's accelerated day, as `make demo` runs it: real farm process, real daemon, real sockets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 150.0
"""Seconds; the day takes 45 on two idle cores, and other tests run beside it."""


@pytest.mark.timeout(PATIENCE + 30)
@pytest.mark.xdist_group("demo")
def test_one_day_of_the_demonstration(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "controller", "demo", "--once", "--json", "--keep", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        timeout=PATIENCE,
        check=False,
    )
    log = (folder / "daemon.log").read_text() if (folder / "daemon.log").exists() else "no log"
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{log[-4000:]}"
    told = json.loads(done.stdout)
    assert told["passed"] is True
    assert told["simulated"] is True
    assert told["shares_accepted"] > 0
    assert told["most_asleep"] > 10
    assert told["unexplained"] == []
    assert told["pools_kept"] is True, "a write of power must leave the pools alone"
    assert told["order_met_after_s"] is not None
    assert "offline" in told["named"]["xp-004"]
    assert "Traceback" not in done.stderr
    events = [json.loads(line) for line in log.splitlines()]
    assert {event["event"] for event in events} >= {"api_listening", "pool_active", "command_confirmed", "order_placed"}
    assert not [event for event in events if event["event"] in {"driver_bug", "daemon_failed", "journal_failing"}]
    unchanged = [event["evidence"]["pools"] for event in events if event["event"] == "command_answered"]
    assert unchanged
    assert all(evidence == "unchanged (2)" for evidence in unchanged), "every receipt says the same of the pools"


@pytest.mark.timeout(60)
@pytest.mark.xdist_group("demo")
def test_a_terminal_that_is_closed_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "controller", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
        cwd=tmp_path,
    ) as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            if "simulated rigs" in line:  # the first line of the story: signals are taken
                break
        assert list(scratch.iterdir())
        playing.send_signal(signal.SIGHUP)
        assert playing.wait(30) == 130
    assert not list(scratch.iterdir())
