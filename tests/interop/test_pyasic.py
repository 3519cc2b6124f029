"""pyasic, written by others against real machines, takes the simulated Antminers for real ones.

It insists on ports 80 and 4028, so each rig has its own loopback address.
"""

import asyncio
import errno
import socket
import warnings

import pytest

from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.faults import Fault
from simulator.rig import RigState
from tests.support.peers import missing, require_module

pytestmark = pytest.mark.interop

POOL = "stratum+tcp://pool.example:3333"
CASES = [
    ("S19", "127.77.10.1", "BMMinerS19", 76),
    ("S19 Pro", "127.77.10.2", "BMMinerS19Pro", 114),
    ("S19j Pro", "127.77.10.3", "BMMinerS19jPro", 126),
    ("S19 XP", "127.77.10.4", "BMMinerS19XP", 110),
    ("S21", "127.77.10.5", "BMMinerS21", 108),
    ("S21 Pro", "127.77.10.6", "BMMinerS21Pro", 65),
    ("T21", "127.77.10.7", "BMMinerT21", 108),
]
IDS = [case[0] for case in CASES]


def farm_text(model: str, address: str, more: str = "") -> str:
    return f"""
    [[pools]]
    url = "{POOL}"
    [[groups]]
    model = "{model}"
    count = 1
    first_address = "{address}"
    name = "rig"
    {more}
    """


@pytest.fixture
def pyasic():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = require_module("pyasic")
    needs_port_80()
    return module


def needs_port_80() -> None:
    with socket.socket() as probe:
        try:
            probe.bind(("127.77.10.254", 80))
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
                raise
            missing(f"port 80 cannot be had on 127.77.10.254 ({error.strerror}), which pyasic insists on")


async def miner_at(pyasic, address: str):
    async with asyncio.timeout(20):
        return await pyasic.get_miner(address)


@pytest.mark.parametrize(("model", "address", "kind", "chips"), CASES, ids=IDS)
@pytest.mark.filterwarnings("ignore")
async def test_identifies_and_reads_everything(pyasic, model, address, kind, chips):
    farm = Farm(parse_farm(farm_text(model, address)))
    await farm.start()
    try:
        miner = await miner_at(pyasic, address)
        assert type(miner).__name__ == kind
        async with asyncio.timeout(20):
            data = await miner.get_data()
        rig = farm.rigs["rig-001"].antminer
        truth = rig.rig.read(farm.clock.now())
        assert data.device_info.model.startswith(model)
        assert float(data.hashrate) == pytest.approx(truth.hashrate / 1e12, rel=0.05)
        assert float(data.expected_hashrate) == pytest.approx(truth.hashrate_ideal / 1e12, rel=0.01)
        assert [board.chips for board in data.hashboards] == [chips] * 3
        for board in data.hashboards:
            assert truth.chip_temperature - 20 < board.chip_temp <= truth.chip_temperature + 1
            assert 20 < board.temp < board.chip_temp
            assert float(board.hashrate) == pytest.approx(truth.hashrate / 3e12, rel=0.1)
            assert not board.missing
        assert len(data.fans) == 4
        assert all(3000 < fan.speed <= 6200 for fan in data.fans)
        assert [str(pool.url) for pool in data.pools if pool.url] == [POOL]
        assert data.pools[0].user == "farm.rig-001"
        assert data.pools[0].accepted > 0
        assert data.mac.upper() == rig.identity.mac
        assert data.serial_number == rig.identity.serial
        assert data.errors == []
        assert data.is_mining
        assert data.uptime == pytest.approx(truth.elapsed, abs=5)
    finally:
        await farm.stop()


@pytest.mark.filterwarnings("ignore")
async def test_sees_an_overheated_rig_by_its_error(pyasic):
    farm = Farm(parse_farm("[farm]\ntime_scale = 200\nambient_c = 60\n" + farm_text("S21", "127.77.10.9")))
    await farm.start()
    try:
        miner = await miner_at(pyasic, "127.77.10.9")
        rig = farm.rigs["rig-001"].antminer.rig
        async with asyncio.timeout(20):
            while rig.read(farm.clock.now()).state is not RigState.OVERHEATED:
                await asyncio.sleep(0.02)
            errors = await miner.get_errors()
        assert [error.error_message for error in errors] == ["overheated"]
    finally:
        await farm.stop()


@pytest.mark.filterwarnings("ignore")
async def test_puts_a_rig_to_sleep_and_turns_on_its_light(pyasic):
    farm = Farm(parse_farm("[farm]\ntime_scale = 100\n" + farm_text("S19 Pro", "127.77.10.8")))
    await farm.start()
    try:
        miner = await miner_at(pyasic, "127.77.10.8")
        async with asyncio.timeout(30):
            assert await miner.fault_light_on()
            assert farm.rigs["rig-001"].antminer.blinking
            await miner.stop_mining()
            while await miner.is_mining() is not False:
                await asyncio.sleep(0.02)  # the configuration is readable five plant seconds after the write
        rig = farm.rigs["rig-001"].antminer
        assert rig.rig.read(farm.clock.now()).state is RigState.ASLEEP
        assert [pool.url for pool in rig.configuration.pools] == [POOL, "", ""]
    finally:
        await farm.stop()


@pytest.mark.filterwarnings("ignore")
async def test_cannot_find_a_rig_that_is_offline(pyasic):
    farm = Farm(parse_farm(farm_text("S19", "127.77.10.10")))
    await farm.start()
    try:
        await farm.set_faults("rig-001", [Fault.OFFLINE])
        assert await miner_at(pyasic, "127.77.10.10") is None
    finally:
        await farm.stop()
