"""The examples that are shipped are valid, down to the last key and row."""

import shutil
from pathlib import Path

import pytest

from controller.config import load, load_installation
from simulator.farm_config import read_farm

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


def test_the_farm_to_try_and_its_daemon_agree(tmp_path):
    folder = tmp_path / "try-it"
    shutil.copytree(EXAMPLES / "try-it", folder)
    (folder / "antminer.password").write_text("root\n")
    (folder / "antminer.password").chmod(0o600)
    config, farm = load(folder / "shedload.toml"), read_farm(folder / "farm.toml")
    serial = {table["group"] for table in farm.serial}
    assert {table.group for table in farm.groups} | serial == set(config.groups)
    assert config.meter.url == f"http://{farm.meter.address}:{farm.meter.port}/meter"
    assert config.pools[0].port == farm.pool[0]["port"]
    credential = config.credentials[farm.farm.credential].credential()
    assert (credential.user, credential.password) == (farm.farm.user, farm.farm.password)


def test_there_is_no_other_example():
    assert {path.parent.name for path in EXAMPLES.rglob("shedload.toml")} == {"home-miner", "hall", "try-it"}
