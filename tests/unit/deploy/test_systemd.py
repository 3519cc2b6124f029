"""The shipped unit: systemd takes every line of it, and it stays hardened."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import require_tool

DEPLOY = Path(__file__).parents[3] / "deploy"
UNIT = DEPLOY / "shedload.service"
DROP_INS = DEPLOY / "shedload.service.d"
EXPOSURE_LIMIT = 20
"""Tenths: 2.0 on the scale of systemd-analyze, where an unhardened service has 9.6."""


def verify(unit: Path) -> str:
    """What systemd has to say about a unit; it exits with 0 even where it ignores lines."""
    tool = require_tool("systemd-analyze", package="systemd")
    done = subprocess.run(
        [tool, "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit and its drop-ins as they are, but for the program, which is not installed here."""
    shutil.copytree(DROP_INS, tmp_path / DROP_INS.name)
    text = UNIT.read_text()
    program = "/opt/shedload/bin/shedload"
    assert text.count(program) == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace(program, "/bin/true"))
    return unit


def test_systemd_has_nothing_to_say(installed: Path) -> None:
    assert verify(installed) == ""


def test_systemd_would_say_it(installed: Path) -> None:
    with installed.open("a") as unit:
        unit.write("\n[Service]\nProtectSytem=strict\n")
    assert "ProtectSytem" in verify(installed)
    drop_in = installed.parent / DROP_INS.name / "internet.conf"
    drop_in.write_text("[Service]\nIPAddressAlow=any\n")
    assert "IPAddressAlow" in verify(installed)


def test_the_service_is_hardened() -> None:
    tool = require_tool("systemd-analyze", package="systemd")
    command = [tool, "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-500:]


def settings(path: Path) -> dict[str, list[str]]:
    """Keys of [Unit] and [Service] with all their values."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def test_it_never_gives_up_and_is_watched() -> None:
    unit = settings(UNIT)
    assert unit["Type"] == ["notify"]
    assert unit["WatchdogSec"] == ["30"]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert "RestartPreventExitStatus" not in unit


def test_it_sees_what_the_metrics_need() -> None:
    # prometheus_client reads the boot time from /proc/stat and tells nothing of the process without it.
    assert "ProcSubset" not in settings(UNIT)
    assert "PrivateDevices" not in settings(UNIT)


def test_no_secret_stands_in_a_unit() -> None:
    for path in [UNIT, *DROP_INS.iterdir()]:
        for key, values in settings(path).items():
            assert key not in {"SetCredential", "EnvironmentFile"}
            assert not [value for value in values if key == "Environment" and "PASS" in value.upper()]


def test_the_examples_secrets_are_those_of_the_drop_in() -> None:
    loaded = {value.split(":")[0] for value in settings(DROP_INS / "credentials.conf")["LoadCredential"]}
    hall = (DEPLOY / "examples" / "hall" / "shedload.toml").read_text()
    assert {name for name in loaded if f"${{CREDENTIALS_DIRECTORY}}/{name}" in hall} == loaded


def test_every_section_is_one_of_systemd() -> None:
    for path in [UNIT, *DROP_INS.iterdir()]:
        parser = configparser.RawConfigParser(strict=False, interpolation=None, delimiters=("=",))
        parser.read(path)
        assert set(parser.sections()) <= {"Unit", "Service", "Install"}
