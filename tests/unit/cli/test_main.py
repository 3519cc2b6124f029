"""The command as a user runs it: exit codes, words instead of tracebacks, and a quick --help."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from controller.__main__ import main
from controller.cli.client import Client
from controller.cli.trouble import Trouble
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = ("run", "check", "scan", "status", "why", "order", "control", "simulate", "demo")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"}


def shedload(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "controller", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=60, check=False)


def code_of(*arguments: str) -> int:
    """The exit code of the command in this process."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A configuration whose rig does not exist."""
    (tmp_path / "slots.csv").write_text("name,group,driver,address\nr1,g,cgminer,127.0.0.1:1\n")
    config = tmp_path / "shedload.toml"
    config.write_text(
        f"""
        [site]
        name = "t"
        currency = "EUR"
        timezone = "UTC"
        power_cap_kw = 5
        inventory = "slots.csv"
        state_dir = "state"
        [groups.g]
        [price]
        source = "fixed"
        price_per_kwh = 0.05
        [api]
        listen = "127.0.0.1:{free_port()}"
        """
    )
    return config


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_help_teaches_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", text)
    assert "shedload run --observe" in " ".join(re.sub(r"[│╭╮╰╯─]", "", text).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(command, "--help") == 0
    assert f"Usage: shedload {command}" in capsys.readouterr().out


def test_help_and_version_import_nothing_heavy() -> None:
    heavy = ("aiohttp", "pydantic", "structlog", "controller.daemon", "simulator", "uvloop")
    code = f"""
import sys
from controller.__main__ import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code
found = [name for name in {heavy!r} if name in sys.modules]
assert not found, found
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("run", "--nonsense"),
        ("why",),
        ("order", "--url", "127.0.0.1:1", "sideways"),
        ("scan", "10.0.0.0/8"),
        ("scan", "10.0.0.0/19"),
        ("scan", "here"),
        ("status", "--config", "/nowhere/shedload.toml"),
        ("run", "--config", "/nowhere/shedload.toml"),
        ("simulate", "/nowhere/farm.toml"),
        ("check", "/nowhere/shedload.toml"),
        ("status", "--url", "127.0.0.1:1"),
    ],
)
def test_wrong_usage_ends_with_2_and_words(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*arguments) == 2
    told = capsys.readouterr()
    assert told.err + told.out
    assert "Traceback" not in told.err + told.out


def test_check_says_what_it_understood_and_json_the_same(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("check", str(site)) == 0
    assert "can be run" in capsys.readouterr().out
    assert code_of("check", str(site), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["config"]["site"]["name"] == "t"


def test_check_lists_every_problem_with_its_remedy(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = site.read_text()
    site.write_text(text.replace("power_cap_kw = 5", 'power_cap_kw = "5 MW"').replace("currency =", "curency ="))
    assert code_of("check", str(site)) == 2
    told = capsys.readouterr().err
    assert "power_cap_kw = 5000" in told
    assert 'did you mean "currency"?' in told
    assert "problems; nothing was started" in told
    assert code_of("check", str(site), "--json") == 2
    assert len(json.loads(capsys.readouterr().out)["problems"]) >= 2


def test_check_asks_the_drivers_too(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site.parent / "slots.csv").write_text("name,group,driver,address,options\nr1,g,cgminer,127.0.0.1,rpc_port=99999\n")
    assert code_of("check", str(site)) == 2
    assert "slot r1" in capsys.readouterr().err


def test_an_unexpected_error_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def boom(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("controller.cli.check.check", boom)
    assert code_of("check", "x") == 1
    assert "internal error: ZeroDivisionError: oh" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "check", "x"])


def steer(site: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that a person may ask or tell a running daemon."""
    capsys.readouterr()
    assert code_of("status", "--config", site) in (0, 1)
    assert "Power" in capsys.readouterr().out
    assert code_of("why", "nobody", "--config", site) == 1
    assert code_of("why", "r1", "--config", site) == 0
    assert code_of("order", "2kW", "--yes", "--no-wait", "--config", site) == 0
    assert "at most 2.0 kW" in capsys.readouterr().out
    assert code_of("order", "list", "--config", site) == 0
    assert "2.0 kW" in capsys.readouterr().out
    assert code_of("order", "1kW", "--config", site) == 2, "nobody is there to be asked"
    assert "--yes" in capsys.readouterr().err
    assert code_of("order", "2kW", "--yes", "--url", url) == 1
    assert "wants its token" in capsys.readouterr().err
    assert code_of("order", "release", "all", "--yes", "--config", site) == 0
    assert code_of("order", "release", "1", "--yes", "--config", site) == 1
    assert code_of("control", "g", "auto", "--yes", "--config", site) == 0
    assert code_of("control", "nobody", "auto", "--yes", "--config", site) == 2


def test_the_daemon_runs_with_nothing_reachable_and_stops_cleanly(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = re.search(r"127\.0\.0\.1:(\d+)", site.read_text())
    assert port is not None
    url = f"http://127.0.0.1:{port[1]}"
    command = [sys.executable, "-m", "controller", "run", "--config", str(site)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as daemon:
        try:
            until(lambda: answers(f"{url}/-/healthy"), "the daemon answers")
            second = shedload("run", "--config", str(site))
            daemon.send_signal(signal.SIGHUP)
            steer(str(site), url, capsys)
        finally:
            daemon.send_signal(signal.SIGTERM)
            out, err = daemon.communicate(timeout=20)
    assert daemon.returncode == 0
    assert err == ""
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert events[-1] == "stopped"
    assert "reload_unsupported" in events
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    assert "state_dir" in second.stderr


def test_a_port_that_is_taken_is_told(site: Path) -> None:
    port = re.search(r"127\.0\.0\.1:(\d+)", site.read_text())
    assert port is not None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(port[1])))
        taken.listen()
        done = shedload("run", "--config", str(site))
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Stranger(http.server.BaseHTTPRequestHandler):
    """Something else than a daemon."""

    replies: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/text": (200, b"<html>hello"),
        "/token": (401, b'{"error": "the token is missing or wrong"}'),
        "/no": (400, b'{"error": "give one of two"}'),
        "/odd": (500, b"[1]"),
    }

    def do_GET(self) -> None:
        """Answer as told."""
        status, body = self.replies[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def stranger() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "words", "code"),
    [
        ("/text", "is no shedload daemon", 2),
        ("/token", "wants its token", 1),
        ("/no", "said no: give one of two", 1),
        ("/odd", "said no", 1),
    ],
)
def test_odd_answers_are_told(stranger: str, path: str, words: str, code: int) -> None:
    with pytest.raises(Trouble, match=words) as caught:
        Client(stranger).get(path)
    assert caught.value.code == code


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "///"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(Trouble, match="no address"):
        Client(url)
