"""A whole simulated farm: from its file to sockets, meter, control page and inventory."""

import asyncio
import csv
import dataclasses
from pathlib import Path

import aiohttp
import pytest

from shedload.errors import ConfigError
from simulator.clock import PlantClock
from simulator.farm import Farm
from simulator.farm_config import parse_farm, read_farm
from simulator.faults import Fault
from simulator.meter import ConstantLoad, Meter
from simulator.models import SLEEP
from simulator.rig import RigState
from tests.support.virtual import virtual

FARM = """
[farm]
seed = 7
web_port = 0
rpc_port = 0
time_scale = {scale}

[meter]
base_load_w = 1000

[control]

[[pools]]
url = "stratum+tcp://127.0.0.1:3333"

[[groups]]
model = "S19 Pro"
count = 3
first_address = "127.91.0.1"
hall = "A"
per_rack = 2
feeders = ["F1", "F2"]
phases = ["L1", "L2", "L3"]
owner = "us"

[[groups]]
model = "S21"
count = 2
first_address = "127.91.1.1"
asleep = true
"""


def farm_text(scale: float = 1.0, more: str = "") -> str:
    return FARM.format(scale=scale) + more


@pytest.fixture
async def farm():
    farm = Farm(parse_farm(farm_text()))
    await farm.start()
    yield farm
    await farm.stop()


async def ask(farm: Farm, name: str, command: bytes) -> bytes:
    rig = farm.rigs[name]
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection(rig.address, rig.socket_port)
        writer.write(command)
        data = await reader.read()
        writer.close()
        await writer.wait_closed()
        return data


async def test_meter_shows_rigs_and_base_load(farm):
    async with aiohttp.ClientSession() as client, client.get(farm.meter_server.url + "/meter") as reply:
        shown = await reply.json()
    assert set(shown) == {"power_w", "energy_wh", "timestamp"}
    assert shown["power_w"] == pytest.approx(1000 + 3 * 3250 + 2 * 30, rel=0.03)
    assert farm.rig_power() == pytest.approx(3 * 3250 + 2 * 30, rel=0.03)
    async with aiohttp.ClientSession() as client, client.get(farm.meter_server.url + "/") as reply:
        assert reply.status == 404


async def test_the_meter_weighs_the_truth_and_not_what_a_liar_says(farm):
    before = farm.meter.true_power()
    await farm.set_faults("s19pro-001", [Fault.LIE])
    rig = farm.rigs["s19pro-001"].antminer.rig
    assert rig.read(farm.clock.now() + 60).power < 0.45 * 3250
    assert farm.meter.true_power() <= before + 200


def test_a_meter_counts_energy_and_stays_within_its_noise():
    times = iter([0.0, *(float(t) for t in range(1, 4000))])
    meter = Meter(PlantClock(lambda: next(times), 1.0), noise=0.01, seed=1)
    meter.add(ConstantLoad(5000.0))
    samples = [meter.sample() for _ in range(500)]
    assert all(abs(sample.power - 5000) <= 50 for sample in samples)
    assert len({sample.power for sample in samples}) > 400
    assert samples[-1].energy > samples[0].energy > 0


async def test_control_page_lists_breaks_and_warms(farm):
    base = farm.control_server.url
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:

        async def post(path, value):
            async with client.post(base + path, json=value) as reply:
                return reply.status, await reply.json()

        async with client.get(base + "/rigs") as reply:
            rigs = await reply.json()
        assert [rig["name"] for rig in rigs] == ["s19pro-001", "s19pro-002", "s19pro-003", "s21-001", "s21-002"]
        assert [rig["state"] for rig in rigs] == ["hashing"] * 3 + ["asleep"] * 2
        status, rig = await post("/rigs/s21-001/fault", {"fault": "hang"})
        assert (status, rig["faults"]) == (200, ["hang"])
        status, rig = await post("/rigs/s21-001/fault", {"fault": None})
        assert (status, rig["faults"]) == (200, [])
        status, wrong = await post("/rigs/s21-001/fault", {"fault": "hong"})
        assert status == 400
        assert "hang" in wrong["error"]
        assert (await post("/rigs/nobody/fault", {"fault": "hang"}))[0] == 404
        assert (await post("/rigs/s21-001/fault", {}))[0] == 400
        assert (await post("/ambient", {"celsius": 38}))[0] == 200
        assert {rig.antminer.rig.inlet for rig in farm.rigs.values()} == {38.0}
        assert (await post("/ambient", {"celsius": "hot"}))[0] == 400
        async with client.get(base + "/meter") as reply:
            assert (await reply.json())["power_w"] > 0


async def test_inventory_has_the_columns_places_and_ports(farm, tmp_path):
    path = tmp_path / "slots.csv"
    farm.write_inventory(path)
    assert path.read_text().splitlines()[0] == (
        "name,site,hall,rack,position,group,feeder,phase,owner,driver,address,credential,serial,mac,model,options"
    )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["rack"], r["position"], r["feeder"], r["phase"]) for r in rows[:3]] == [
        ("R01", "1", "F1", "L1"), ("R01", "2", "F1", "L2"), ("R02", "1", "F2", "L3"),
    ]  # fmt: skip
    rig = farm.rigs["s19pro-002"]
    assert (rows[1]["address"], rows[1]["driver"], rows[1]["hall"]) == ("127.91.0.2", "antminer", "A")
    assert rows[1]["options"] == f"web_port={rig.web_port};rpc_port={rig.socket_port}"
    assert len({r["serial"] for r in rows}) == len({r["mac"] for r in rows}) == 5


async def test_a_fault_may_be_in_the_file_for_a_time():
    more = '[[faults]]\nrig = "s19pro-002"\nfault = "offline"\nat_s = 10\nfor_s = 20\n'
    farm = Farm(parse_farm(farm_text(100.0, more)))
    await farm.start()
    try:
        seen = set()
        async with asyncio.timeout(5):
            while farm.clock.now() < 60:
                seen.add(frozenset(farm.rigs["s19pro-002"].antminer.faults.active))
                await asyncio.sleep(0.02)
        assert seen == {frozenset(), frozenset({Fault.OFFLINE})}
    finally:
        await farm.stop()


@dataclasses.dataclass
class StubPart:
    table: dict
    running: bool = False

    async def start(self):
        self.running = True

    async def stop(self):
        self.running = False

    def power(self, _now):
        return 77.0

    def energy(self, now):
        return 77.0 * now

    def inventory_row(self):
        return {"name": self.table["name"], "driver": "icarus", "address": "/dev/pts/9"}


async def test_parts_of_others_are_built_started_weighed_listed_and_stopped():
    config = parse_farm(farm_text(1.0, '[pool]\nport = 0\n[[serial]]\nname = "stick-1"\n'))
    made = []

    def build(table, _clock, seed):
        made.append((StubPart({"name": "pool", **table}), seed))
        return made[-1][0]

    farm = Farm(config, pool=build, serial=build)
    bare = Farm(parse_farm(farm_text()))
    await farm.start()
    assert [part.running for part, _ in made] == [True, True]
    assert made[0][1] != made[1][1]
    assert farm.meter.true_power() == pytest.approx(bare.meter.true_power() + 2 * 77, abs=300)
    assert farm.inventory()[-1]["address"] == "/dev/pts/9"
    await farm.stop()
    assert [part.running for part, _ in made] == [False, False]
    with pytest.raises(ConfigError, match="without that part"):
        Farm(config, pool=None, serial=None)


async def test_a_port_that_is_taken_leaves_nothing_open(farm):
    taken = farm.rigs["s19pro-001"].socket_port
    text = farm_text().replace("rpc_port = 0", f"rpc_port = {taken}")
    with pytest.raises(OSError, match="in use"):
        await Farm(parse_farm(text)).start()


@virtual
async def test_a_night_asleep_and_a_morning_awake_in_virtual_time():
    farm = Farm(parse_farm(farm_text()), epoch=1_750_000_000.0)
    await farm.start()
    loop = asyncio.get_running_loop()
    rig = farm.rigs["s19pro-001"].antminer
    rig.write(dataclasses.replace(rig.configuration, mode=SLEEP), farm.clock.now())
    with pytest.raises(ConnectionRefusedError):
        await ask(farm, "s19pro-001", b"version")
    await asyncio.sleep(8 * 3600)
    assert b'"GHS 5s":0.0' in await ask(farm, "s19pro-001", b"summary")
    rig.write(dataclasses.replace(rig.configuration, mode=0), farm.clock.now())
    states = []
    for _ in range(40):
        await asyncio.sleep(10)
        states.append(rig.rig.read(farm.clock.now()).state)
    assert list(dict.fromkeys(states)) == [RigState.BOOTING, RigState.RAMPING, RigState.HASHING]
    assert loop.time() > 8 * 3600
    await farm.stop()


GROUP = "[[groups]]\nmodel = '{}'\ncount = 1\nfirst_address = '{}'"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[farm]\nsede = 1", ("f.toml: farm.sede", "unknown key", "did you mean 'seed'?")),
        ("[garm]\nseed = 1", ("f.toml: garm", "unknown key", "did you mean 'farm'?")),
        ("[farm]\nseed = 'x'", ("f.toml: farm.seed", "valid integer")),
        ("[farm]\ntime_scale = 0", ("f.toml: farm.time_scale", "greater than 0")),
        (GROUP.format("S19 Prp", "127.1.1.1"), ("groups[0]", "did you mean 'S19 Pro'?")),
        (GROUP.format("S19", "10.0.0.1"), ("first_address", "not on loopback")),
        (GROUP.format("S19", "x"), ("first_address", "no IPv4 address", "127.1.0.1")),
        (GROUP.format("S19", "127.1.1.1") + "\nquirks = ['gluet']", ("did you mean 'glued'?",)),
        ("[[groups]]\nmodel = 'S19'\nfirst_address = '127.1.1.1'", ("groups[0].count", "required")),
        ("[[faults]]\nrig = 'a'\nfault = 'hong'", ("faults[0].fault", "hang")),
        ("[", ("f.toml", "is not TOML")),
    ],
)
def test_a_wrong_file_is_a_named_error(text, parts):
    with pytest.raises(ConfigError) as caught:
        parse_farm(text, "f.toml")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_groups_may_not_share_addresses():
    group = "[[groups]]\nmodel = 'S19'\ncount = 5\nfirst_address = '127.1.1.{}'\n"
    with pytest.raises(ConfigError, match="overlap"):
        parse_farm(group.format(1) + group.format(5))


async def test_names_are_unique_and_faults_name_rigs():
    group = "[[groups]]\nmodel = 'S19'\ncount = 1\nfirst_address = '127.1.{}.1'\n"
    with pytest.raises(ConfigError, match="two rigs are called 's19-001'"):
        Farm(parse_farm(group.format(1) + group.format(2)))
    with pytest.raises(ConfigError, match="there is no rig 'x'"):
        await Farm(parse_farm("[[faults]]\nrig = 'x'\nfault = 'hang'")).start()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read"):
        read_farm(tmp_path / "nothing.toml")
