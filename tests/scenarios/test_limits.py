"""Caps, orders, the meter and the store: what may be raised, what must be lowered, and how fast."""

import aiohttp

from controller.plan import RigState
from shedload.units import Watts
from simulator.rig import RigState as Truth
from tests.support.http import virtual_session
from tests.support.virtual import virtual
from tests.support.whole import Wanted, whole

CHEAP = 'source = "fixed"\nprice_per_kwh = 0.01'
FREE = Wanted(price=CHEAP, scale=1)


def turns_dear(after_s: float) -> str:
    """A time of use that becomes dear some plant seconds after the start (midnight UTC is 02:00 in Stockholm)."""
    hour, minute = divmod(120 + int(after_s // 60), 60)
    return (
        'source = "schedule"\nrules = [{ price_per_kwh = 0.01 }, '
        f'{{ price_per_kwh = 0.5, hours = "{hour:02d}:{minute:02d}-23:00" }}]'
    )


@virtual
async def test_an_order_is_obeyed_within_a_minute_of_plant_time(tmp_path):
    async with whole(tmp_path, FREE) as site:
        await site.until(lambda: site.daemon.controller.ready, 60)
        await site.plant(10)
        before = site.farm.meter.true_power()
        async with api(site) as session:
            async with session.post("/api/v1/orders", json={"limit_kw": 20, "note": "grid"}) as answer:
                assert answer.status == 201
                number = (await answer.json())["number"]
            took = await site.until(lambda: site.farm.meter.true_power() <= 20e3, 60, "the order")
            assert before > 35e3
            assert took < 30
            await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 60)
            why = [site.rig(name)["decision"]["reason"] for name in site.truly(Truth.ASLEEP)]
            assert set(why) <= {"order", "minimum_off_time"}
            assert site.logged("group_proven") == []  # firm commands prove no canary
            async with session.delete(f"/api/v1/orders/{number}") as answer:
                assert answer.status == 200
        await site.until(lambda: site.farm.meter.true_power() > 0.97 * before, 1800, "everything back")
        assert site.pools() == site.pools_before


@virtual
async def test_rigs_that_refuse_an_order_are_made_up_for_by_others(tmp_path):
    """The site is under the order long before the refusing rigs are done refusing."""
    refusing = "".join(f'[[faults]]\nrig = "{rig}"\nfault = "refuse"\n' for rig in ("s19-001", "s19-002", "s21-001"))
    async with whole(tmp_path, Wanted(price='source = "fixed"\nprice_per_kwh = 0.01', scale=1, farm=refusing)) as site:
        await site.until(lambda: site.daemon.controller.ready, 60)
        await site.plant(10)
        async with api(site) as session, session.post("/api/v1/orders", json={"limit_kw": 20}) as answer:
            assert answer.status == 201
        took = await site.until(lambda: site.farm.meter.true_power() <= 20e3, 120, "the order")
        assert took < 60
        await site.until(lambda: len(site.status()["attention"]["refusing"]) == 3, 900, "all three named")
        assert site.farm.meter.true_power() <= 20.1e3


@virtual
async def test_waking_never_goes_over_the_cap(tmp_path):
    wanted = Wanted(price=CHEAP, scale=10, asleep=True, cap_kw=23, s19=6, s21=6)
    async with whole(tmp_path, wanted) as site:
        await site.until(lambda: site.farm.meter.true_power() > 0.85 * 23e3, 2400, "cap in use")
        await site.plant(900)
        assert site.over_cap == []
        hashing = site.truly(Truth.HASHING)
        assert len({name for name in hashing if name.startswith("s21")}) >= 5  # the efficient ones


@virtual
async def test_over_the_cap_at_the_start_only_the_excess_is_shed(tmp_path):
    # 6 S21 and 6 S19j Pro draw some 41.5 kW; the cap leaves room for all but two S19j Pro.
    async with whole(tmp_path, Wanted(price=CHEAP, scale=1, cap_kw=37)) as site:
        await site.until(lambda: site.farm.meter.true_power() <= 37e3, 60)
        await site.plant(120)
        asleep = site.truly(Truth.ASLEEP)
        assert len(asleep) == 2, asleep
        assert all(name.startswith("s19") for name in asleep)
        assert max(at for at, _ in site.over_cap) < 60


@virtual
async def test_a_silent_meter_stops_raises_and_no_lowering(tmp_path):
    wanted = Wanted(price=turns_dear(1200), scale=30, asleep=True)
    async with whole(tmp_path, wanted) as site:
        await site.farm.meter_server.stop()
        await site.plant(400)
        assert site.truly(Truth.ASLEEP) == set(site.farm.rigs)
        assert {site.rig(name)["decision"]["reason"] for name in site.farm.rigs} == {"meter_stale"}
        assert sum(site.writes().values()) == 0
        await site.farm.meter_server.start()
        await site.until(lambda: site.all_in(RigState.HASHING), 760, "meter is back")
        await site.farm.meter_server.stop()
        await site.until(lambda: site.truly(Truth.ASLEEP) == set(site.farm.rigs), 2000, "price without a meter")
        await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 300)
        await site.farm.meter_server.start()
        await site.plant(60)
        # A silence is logged once, not with every try.
        assert len(site.logged("meter_failed")) <= 4


@virtual
async def test_a_disk_that_takes_nothing_lets_only_lowering_through(tmp_path):
    wanted = Wanted(price=CHEAP, scale=30, asleep=True, s19=0, s21=4)
    async with whole(tmp_path, wanted) as site:
        site.store.fail("no space left on device")
        await site.plant(600)
        assert sum(site.writes().values()) == 0
        assert {site.rig(name)["decision"]["reason"] for name in site.farm.rigs} == {"store_failing"}
        assert site.status()["control"]["journal_failing"]
        site.store.heal()
        await site.until(lambda: site.all_in(RigState.HASHING), 900, "healed by itself")
        site.store.fail("no space left on device")
        async with api(site) as session:
            async with session.post("/api/v1/orders", json={"limit_percent": 0}) as answer:
                assert answer.status == 201
                body = await answer.json()
                assert body["on_disk"] is False
            await site.until(lambda: site.truly(Truth.ASLEEP) == set(site.farm.rigs), 300, "lowered without a disk")
            await site.until(lambda: site.all_in(RigState.ASLEEP), 300)
            await site.plant(900)
            assert site.truly(Truth.ASLEEP) == set(site.farm.rigs)
            async with session.delete(f"/api/v1/orders/{body['number']}") as answer:
                assert answer.status == 200
            site.store.heal()
        await site.until(lambda: site.all_in(RigState.HASHING), 1500, "up again")
        assert len(site.logged("journal_failing")) == 2
        assert len(site.logged("journal_healed")) == 2
        assert not site.daemon.actuator._verbs


@virtual
async def test_a_disk_that_hangs_holds_no_lowering_up(tmp_path):
    import asyncio

    async with whole(tmp_path, Wanted(price=CHEAP, scale=1, s19=0, s21=4)) as site:
        await site.until(lambda: site.daemon.controller.ready, 60)
        gate = asyncio.Event()

        def hanging(name):
            write = getattr(site.store, name)

            async def wait(*args):
                await gate.wait()
                return await write(*args)

            setattr(site.store, name, wait)

        for name in ("intend", "settle", "remember", "heartbeat", "prove", "place"):
            hanging(name)
        site.daemon.controller.site = replace_cap(site, 8e3)
        took = await site.until(lambda: site.farm.meter.true_power() <= 8e3, 60, "without the disk")
        assert took < 30
        assert site.status()["control"]["journal_failing"]
        site.daemon.controller.site = replace_cap(site, 1e6)
        await site.plant(120)
        assert len(site.truly(Truth.ASLEEP)) >= 2
        gate.set()
        await site.until(lambda: not site.status()["control"]["journal_failing"], 30)
        await site.until(lambda: not site.truly(Truth.ASLEEP), 1200, "raised again")


def replace_cap(site, watts):
    from dataclasses import replace

    return replace(site.daemon.controller.site, power_cap=Watts(watts))


@virtual
async def test_a_gap_in_the_prices_changes_nothing(tmp_path):
    (tmp_path / "gap.csv").write_text(
        "start,price\n2023-08-24T00:00:00Z,10\n2023-08-24T01:00:00Z,300\n2023-08-24T03:00:00Z,10\n"
    )
    price = (
        'source = "csv"\nfile = "gap.csv"\nstart_column = "start"\nprice_columns = ["price"]\nunit = "MWh"\n'
        'currency = "EUR"\nresolution_minutes = 60\nallow_gaps = true'
    )
    async with whole(tmp_path, Wanted(price=price, scale=60, s19=2, s21=2)) as site:
        await site.plant(3000)
        assert site.all_in(RigState.HASHING)
        await site.plant(3600)
        assert site.all_in(RigState.ASLEEP)
        before = site.writes()
        await site.plant(3600)
        assert site.status()["price"]["now"] is None
        assert site.all_in(RigState.ASLEEP)
        assert {site.rig(name)["decision"]["reason"] for name in site.farm.rigs} == {"price_unknown"}
        assert site.writes() == before
        await site.until(lambda: site.all_in(RigState.HASHING), 3000, "prices again")


@virtual
async def test_before_the_first_pass_nothing_is_raised(tmp_path):
    wanted = Wanted(price=CHEAP, scale=1, asleep=True, s19=0, s21=8, polling="interval_s = 30\nstale_after_s = 60")
    async with whole(tmp_path, wanted) as site:
        await site.until(lambda: len([n for n in site.farm.rigs if site.rig(n)["state"] == "asleep"]) >= 6, 60)
        assert not site.daemon.controller.ready
        assert sum(site.writes().values()) == 0
        await site.until(lambda: site.daemon.controller.ready, 60)
        await site.until(lambda: sum(site.writes().values()) > 0, 60)


def api(site) -> aiohttp.ClientSession:
    """A client of the interface with its token."""
    token = (site.daemon._config.site.state_dir / "api.token").read_text().strip()
    return virtual_session(
        base_url=f"http://127.0.0.1:{site.daemon.port}", headers={"Authorization": f"Bearer {token}"}
    )
