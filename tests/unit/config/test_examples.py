"""The examples that are shipped are valid, down to the last key and row."""

import shutil
from pathlib import Path

import pytest

from controller.config import load_installation

EXAMPLES = Path(__file__).resolve().parents[3] / "deploy" / "examples"
DRIVERS = ("antminer", "cgminer", "icarus")
SECRETS = ("antminer", "antminer.password", "clients", "api-token", "mqtt")


@pytest.mark.parametrize(("name", "rigs"), [("home-miner", 3), ("hall", 7)])
def test_example(tmp_path, name, rigs):
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder)
    for secret in SECRETS:
        (folder / secret).write_text("0123456789abcdef\n")
        (folder / secret).chmod(0o600)
    environ = {"CREDENTIALS_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder / "state")}
    installation = load_installation(folder / "shedload.toml", DRIVERS, environ)
    assert len(installation.specs()) == rigs
    assert all(control == "observe" for control in installation.config.controls().values())


def test_there_is_no_other_example():
    assert {path.parent.name for path in EXAMPLES.rglob("shedload.toml")} == {"home-miner", "hall"}
