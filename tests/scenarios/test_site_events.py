"""What happens to whole sites: switches that die, hosts that pause, supplies that return, secrets that stay."""

import asyncio
from dataclasses import replace

from controller.plan import RigState
from simulator.faults import Fault
from simulator.rig import RigState as Truth
from tests.scenarios.test_faults import DEAR
from tests.scenarios.test_limits import CHEAP, api, turns_dear
from tests.support.virtual import virtual, virtual_loop
from tests.support.whole import Wanted, whole


@virtual
async def test_a_third_of_the_rigs_vanishes_and_control_goes_on(tmp_path):
    # The cap binds, so that what cannot be reached must be counted, and others must make room for it.
    wanted = Wanted(price=turns_dear(1800), scale=5, s19=6, s21=6, cap_kw=34)
    async with whole(tmp_path, wanted) as site:
        await site.until(lambda: site.status()["commands"]["in_flight"] == 0 and site.clock.plant() > 300, 900)
        gone = {"s21-001", "s21-002", "s21-003", "s19-001"}
        for name in gone:
            await site.farm.set_faults(name, (Fault.OFFLINE,))
        await site.until(lambda: site.named("offline") == gone, 300)
        over = len(site.over_cap)
        await site.plant(300)
        assert len(site.over_cap) == over
        # They may still draw what they drew: nobody is woken in their place.
        await site.until(
            lambda: all(site.daemon.farm.state(name) is RigState.ASLEEP for name in set(site.farm.rigs) - gone),
            2400,
            "the price",
        )
        for name in gone:
            await site.farm.set_faults(name, ())
        await site.until(lambda: site.truly(Truth.ASLEEP) == set(site.farm.rigs), 900, "those that come back too")
        assert site.named("contested") == set()


@virtual
async def test_after_an_outage_of_the_supply_all_start_at_once_and_the_cap_is_kept(tmp_path):
    wanted = Wanted(price=CHEAP, scale=1, running=False, cap_kw=24)
    async with whole(tmp_path, wanted) as site:
        await site.plant(600)
        assert site.over_cap == []  # ramping rigs count in full: it acts before the power is there
        assert site.farm.meter.true_power() > 0.75 * 24e3


@virtual
async def test_a_host_that_was_suspended_trusts_nothing_old(tmp_path):
    wanted = Wanted(price=CHEAP, scale=1, asleep=True, s19=0, s21=6, cap_kw=10)
    async with whole(tmp_path, wanted) as site:
        await site.until(lambda: len(site.truly(Truth.HASHING, Truth.RAMPING, Truth.BOOTING)) == 2, 120)
        await site.plant(400)
        before = site.writes()
        virtual_loop()._now += 60.0
        await asyncio.sleep(0.01)
        assert {site.daemon.farm.state(name) for name in site.farm.rigs} == {RigState.OFFLINE}
        await site.plant(60)
        assert site.writes() == before
        assert site.over_cap == []
        assert site.named("offline") == set()


@virtual
async def test_a_flapping_order_storms_nobody(tmp_path):
    wanted = Wanted(price=CHEAP, scale=5, control="min_on_s = 0\nmin_off_s = 300\ncanary_percent = 100")
    async with whole(tmp_path, wanted) as site:
        await site.plant(120)
        async with api(site) as session:
            for _ in range(20):
                async with session.post("/api/v1/orders", json={"limit_kw": 5}) as answer:
                    number = (await answer.json())["number"]
                await site.plant(30)
                async with session.delete(f"/api/v1/orders/{number}"):
                    pass
                await site.plant(30)
        # Twenty minutes of flapping: rigs sleep at once and stay so for five minutes each time.
        assert max(site.writes().values()) <= 10


@virtual
async def test_no_secret_is_told_to_anybody(tmp_path):
    wanted = Wanted(price=DEAR, scale=10, s19=1, s21=1, farm='[[faults]]\nrig = "s21-001"\nfault = "unauthorized"\n')
    async with whole(tmp_path, replace(wanted, site="")) as site:
        daemon = site.daemon
        secrets = {(daemon._config.site.state_dir / "api.token").read_text().strip(), "PASSWORD-CANARY"}
        for end in site.farm.rigs.values():
            pools = tuple(replace(pool, password="PASSWORD-CANARY") for pool in end.antminer.configuration.pools)
            end.antminer.configuration = replace(end.antminer.configuration, pools=pools)
        await site.plant(1200)
        told = [repr(site.events), repr(site.status()), repr(site.rig("s21-001")), repr(site.store.records)]
        told.append(repr(site.store.noted) + repr(site.store._facts))
        told.append(daemon.metrics.render().decode())
        assert site.writes()["s19-001"] >= 1
        for secret in secrets:
            assert not any(secret in text for text in told), secret
        assert "s21-001" in site.named("refusing") | site.named("offline")
