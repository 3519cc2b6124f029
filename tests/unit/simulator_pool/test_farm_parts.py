"""A farm file's pools and serial rigs: built, listed, weighed, named when wrong."""

import pytest

from shedload.errors import ConfigError
from simulator.chips import IcarusRig
from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.pool import Pool

FARM = """
[farm]
time_scale = 60
[[pool]]
name = "first"
difficulty = 0.01
[[pool]]
name = "second"
[[serial]]
name = "stick-1"
path = "{path}"
group = "home"
"""


async def test_pools_and_serial_rigs_of_a_farm_file(tmp_path):
    farm = Farm(parse_farm(FARM.replace("{path}", str(tmp_path / "stick"))))
    await farm.start()
    first, second, stick = farm.parts
    assert isinstance(first, Pool)
    assert isinstance(second, Pool)
    assert isinstance(stick, IcarusRig)
    assert first.port != second.port
    assert first.url == f"stratum+tcp://127.0.0.1:{first.port}"
    row = farm.inventory()[-1]
    assert row["name"] == "stick-1"
    assert row["driver"] == "icarus"
    assert row["group"] == "home"
    assert row["address"] == str(tmp_path / "stick")
    assert row["options"] == "model=icarus;nonce_difficulty=0.001"
    assert farm.meter.true_power() == pytest.approx(0.5)
    assert (tmp_path / "stick").is_symlink()
    await farm.stop()
    assert not (tmp_path / "stick").is_symlink()


async def test_a_single_pool_table_will_do():
    farm = Farm(parse_farm("[pool]\nport = 0\n"))
    assert [part.name for part in farm.parts] == ["pool"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[pool]\ndiffculty = 1\n", "pool.diffculty"),
        ("[pool]\ndifficulty = 0\n", "pool.difficulty"),
        ("[pool]\ndifficulty = nan\n", "pool.difficulty"),
        ("[pool]\nnbits = '00000000'\n", "zero"),
        ("[pool]\nfault = 'sulk'\n", "pool.fault"),
        ("[pool]\nminimum_difficulty = 2\nmaximum_difficulty = 1\n", "below"),
        (f"[pool]\ntag = '{'x' * 41}'\n", "tag"),
        ("[[serial]]\nname = 'a'\nmodel = 'antiquary'\n", "serial.model"),
        ("[[serial]]\nname = 'a/b'\n", "serial.name"),
        ("[[serial]]\nhashrate_hs = 1\n", "serial.name"),
        ("[[serial]]\nname = 'a'\nhashrate_hs = -1\n", "serial.hashrate_hs"),
        ("[[serial]]\nname = 'a'\noutages = [{fault = 'unplug', at_s = -1}]\n", "at_s"),
    ],
)
async def test_wrong_tables_are_named(text, where):
    with pytest.raises(ConfigError, match=where):
        Farm(parse_farm(text))
