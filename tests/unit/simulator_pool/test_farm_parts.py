"""A farm file's pools and serial rigs: built, listed, weighed, named when wrong."""

import asyncio
import json

import pytest

from shedload.errors import ConfigError
from simulator.chips import IcarusRig
from simulator.effort import NONCE_DIFFICULTY
from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.pool import Pool
from simulator.pool_config import PoolFault

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
    assert row["options"] == f"model=icarus;nonce_difficulty={NONCE_DIFFICULTY:g}"
    assert farm.meter.true_power() == pytest.approx(0.5)
    assert (tmp_path / "stick").is_symlink()
    await farm.stop()
    assert not (tmp_path / "stick").is_symlink()


async def test_faults_of_parts_are_switched_on_the_control_page():
    farm = Farm(parse_farm(f"{FARM.replace('{path}', '')}\n[control]\n"))
    await farm.start()
    port = farm.control_server.port
    assert await get(port, "/parts") == [
        {"name": "first", "faults": []},
        {"name": "second", "faults": []},
        {"name": "stick-1", "faults": []},
    ]
    assert await post(port, "/parts/first/fault", {"fault": "refuse"}) == {"name": "first", "faults": ["refuse"]}
    assert farm.parts[0].faults == {PoolFault.REFUSE}
    await post(port, "/parts/stick-1/fault", {"fault": "unplug"})
    assert not farm.parts[2].plugged
    await post(port, "/parts/stick-1/fault", {"fault": None})
    assert farm.parts[2].plugged
    assert "sulk" in (await post(port, "/parts/first/fault", {"fault": "sulk"}))["error"]
    assert "error" in await post(port, "/parts/first/fault", {})
    await farm.stop()


async def get(port, path):
    return await _ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


async def post(port, path, value):
    body = json.dumps(value).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return await _ask(port, head.encode() + body)


async def _ask(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return json.loads(body)


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
        ("[[pool]]\nport = 0\n[[pool]]\nport = 0\n", "'pool'"),
        ("[[serial]]\nname = 'a'\n[[serial]]\nname = 'a'\n", "'a'"),
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
