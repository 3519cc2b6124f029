"""A network between the daemon and its rigs that delays, splits, loses and cuts."""

import asyncio

import pytest

from controller.plan import RigState
from simulator.rig import RigState as Truth
from tests.scenarios.test_faults import DEAR
from tests.scenarios.test_limits import CHEAP, api
from tests.support.virtual import network, run_virtual, virtual
from tests.support.whole import Wanted, whole
from tests.support.wires import Wire, anywhere

SLOW = Wire(split=anywhere, delay=0.05, jitter=0.3)
WIRES = {
    "slow and in pieces": SLOW,
    "lossy": Wire(delay=0.02, jitter=0.05, lose=0.1),
    "narrow": Wire(rate=4000.0, delay=0.02),
}


@pytest.mark.parametrize("name", WIRES)
def test_an_order_is_obeyed_over_a_bad_network(tmp_path, name):
    async def live():
        async with whole(tmp_path, Wanted(price=CHEAP, scale=1, control="canary_percent = 100")) as site:
            for port in (80, 4028):
                network().wire(None, port, WIRES[name])
            await site.until(lambda: site.daemon.controller.ready, 60)
            await site.plant(20)
            async with api(site) as session, session.post("/api/v1/orders", json={"limit_kw": 4}) as answer:
                assert answer.status == 201
            await site.until(lambda: site.truly(Truth.ASLEEP) == set(site.farm.rigs), 60, "the order")
            await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 180)
            await site.until(lambda: site.all_in(RigState.ASLEEP), 60)
            assert site.pools() == site.pools_before
            assert site.named("refusing") | site.named("contested") | site.named("offline") == set()
            assert not site.logged("driver_bug")
            network().wire(None, 80, Wire())
            network().wire(None, 4028, Wire())

    run_virtual(live())


@pytest.mark.parametrize("cut", [1, 50, 200, 700, 1500])
def test_connections_that_break_at_any_byte_lose_no_pools_and_no_commands(tmp_path, cut):
    async def live():
        async with whole(tmp_path, Wanted(price=DEAR, scale=1, s19=2, s21=2)) as site:
            # The third rig's web answers and requests are cut off, first for a while, then never again.
            victim = site.farm.rigs["s21-001"].address
            network().wire(victim, 80, Wire(drop_after=cut))
            await site.plant(60)
            network().wire(victim, 80, Wire())
            await site.until(lambda: site.truly(Truth.ASLEEP) == set(site.farm.rigs), 400, "all asleep at last")
            await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 180)
            assert site.pools() == site.pools_before
            assert not site.logged("driver_bug")
            assert not site.daemon.actuator._verbs

    run_virtual(live())


@virtual
async def test_a_cable_that_is_pulled_and_plugged_again(tmp_path):
    async with whole(tmp_path, Wanted(price=CHEAP, scale=1)) as site:
        await site.until(lambda: site.daemon.controller.ready, 60)
        black = Wire(lose=1.0)
        network().wire(None, 80, black)
        network().wire(None, 4028, black)
        await site.until(lambda: site.named("offline") == set(site.farm.rigs), 60)
        assert site.daemon.controller.estimated_power > 0.9 * site.farm.meter.true_power()
        network().wire(None, 80, Wire())
        network().wire(None, 4028, Wire())
        await site.until(lambda: site.all_in(RigState.HASHING), 60, "back within a backoff")
        assert set(site.writes().values()) == {0}
        await asyncio.sleep(1)
