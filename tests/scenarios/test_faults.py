"""Rigs that refuse, hang, lie or are somebody else's; hands beside ours; restarts; the first careful steps."""

from dataclasses import replace

import pytest

from controller.daemon import Options
from controller.plan import RigState
from simulator.faults import Fault
from simulator.models import NORMAL, SLEEP
from simulator.rig import RigState as Truth
from tests.scenarios.test_limits import CHEAP, api, turns_dear
from tests.support.virtual import run_virtual, virtual
from tests.support.whole import Wanted, daemon_of, farm_of, whole

DEAR = 'source = "fixed"\nprice_per_kwh = 0.5'


def fault(rig: str, name: str) -> str:
    return f'[[faults]]\nrig = "{rig}"\nfault = "{name}"\n'


UNREACHABLE = ("offline", "hang", "drip", "garbage", "endless_json", "truncated")


@virtual
async def test_rigs_that_cannot_be_read_are_named_and_delay_nobody(tmp_path):
    broken = {f"s19-{number:03d}": name for number, name in enumerate(UNREACHABLE, 1)}
    faults = "".join(fault(rig, name) for rig, name in broken.items())
    # A small gate: without care the broken would hold all its places.
    polling = "interval_s = 5\nstale_after_s = 20\nrig_deadline_s = 5\nbackoff_max_s = 5\nconcurrency = 4"
    async with whole(tmp_path, Wanted(price=CHEAP, scale=1, farm=faults, polling=polling)) as site:
        late = []
        for _ in range(120):
            await site.plant(1)
            for name, record in site.daemon.farm.records.items():
                if name not in broken and record.seen is not None:
                    late.append(site.daemon.farm.age(name))
        assert site.named("offline") == set(broken)
        assert max(late) < 5.0 * 1.05 + 1.0, max(late)
        kinds = {rig: site.rig(rig)["failure"]["kind"] for rig in broken}
        assert kinds["s19-001"] == "unreachable"
        assert set(kinds.values()) <= {"unreachable", "no_answer", "garbled", "over_budget"}


@virtual
async def test_a_rig_that_takes_writes_and_does_nothing_is_named_after_its_attempts(tmp_path):
    async with whole(tmp_path, Wanted(price=DEAR, scale=10, farm=fault("s21-002", "refuse"))) as site:
        await site.until(lambda: site.named("refusing") == {"s21-002"}, 900)
        await site.plant(3600)
        assert site.truly(Truth.HASHING) == {"s21-002"}
        assert len(site.logged("rig_refusing")) == 1
        assert site.writes()["s21-002"] <= 6  # each attempt may be written twice, as number and as text
        assert site.rig("s21-002")["obstacle"] == "refusing"
        # Repaired, and the operator says so.
        await site.farm.set_faults("s21-002", ())
        async with api(site) as session, session.post("/api/v1/rigs/s21-002/peace") as answer:
            assert answer.status == 200
        await site.until(lambda: not site.truly(Truth.HASHING), 300)


@virtual
async def test_a_hashrate_that_nobody_hashes_is_caught(tmp_path):
    async with whole(tmp_path, Wanted(price=CHEAP, scale=10, farm=fault("s19-003", "lie"))) as site:
        took = await site.until(lambda: site.named("suspicious") == {"s19-003"}, 3600)
        assert took < 1800
        await site.plant(3600)
        assert site.named("suspicious") == {"s19-003"}  # for good, and nobody else
        assert site.rig("s19-003")["suspicions"] == ["shares_missing"]
        await site.farm.set_faults("s19-003", ())
        await site.until(lambda: site.named("suspicious") == set(), 3600, "acquitted")


@virtual
async def test_a_sleep_that_is_none_is_caught_and_never_confirmed(tmp_path):
    wanted = Wanted(
        price=DEAR, scale=1, s19=2, s21=2, control="confirm_within_s = 120", farm=fault("s19-002", "lie_asleep")
    )
    wanted = replace(wanted, control="canary_percent = 100\nmin_on_s = 60")
    async with whole(tmp_path, wanted) as site:
        await site.until(lambda: "s19-002" in site.named("suspicious"), 300)
        assert site.rig("s19-002")["suspicions"] == ["sleeping_hasher"]
        await site.until(lambda: site.rig("s19-002")["state"] == "hashing", 10)
        assert site.rig("s19-002")["power_w"] > 2500  # counted as what it may draw
        await site.until(lambda: "s19-002" in site.named("refusing"), 900)
        confirmed = {entry["rig"] for entry in site.logged("command_confirmed")}
        assert confirmed == set(site.farm.rigs) - {"s19-002"}
        assert "sleeping_hasher" in site.rig("s19-002")["suspicions"]


@virtual
async def test_no_write_of_the_power_costs_a_pool(tmp_path):
    wipes = "power_write_wipes_pools"
    async with whole(tmp_path, Wanted(price=DEAR, scale=10, farm=fault("s21-001", wipes))) as site:
        await site.until(lambda: site.named("refusing") == {"s21-001"}, 1200)
        # This firmware loses the pools with every write, the one that puts them back too: named, in words.
        assert "pool" in site.rig("s21-001")["command"]["detail"]
        others = {name: pools for name, pools in site.pools().items() if name != "s21-001"}
        assert others == {name: pools for name, pools in site.pools_before.items() if name != "s21-001"}
        assert site.writes()["s21-001"] <= 6


@virtual
async def test_another_machine_in_the_slot_is_not_written_to(tmp_path):
    wanted = Wanted(price=DEAR, scale=10, s19=2, s21=2)
    async with farm_of(wanted) as farm:
        rigs = {name: end.antminer for name, end in farm.rigs.items()}
        rigs["s21-001"].identity, rigs["s21-002"].identity = rigs["s21-002"].identity, rigs["s21-001"].identity
        rows = farm.inventory()
        farm.inventory = lambda: [  # type: ignore[method-assign]
            {**row, "serial": rows[place]["serial"], "mac": rows[place]["mac"]} for place, row in enumerate(rows)
        ]
        rigs["s21-001"].identity, rigs["s21-002"].identity = rigs["s21-002"].identity, rigs["s21-001"].identity
        async with daemon_of(tmp_path, wanted, farm) as site:
            await site.until(lambda: site.named("refusing") == {"s21-001", "s21-002"}, 900)
            assert site.writes() == {"s19-001": 1, "s19-002": 1, "s21-001": 0, "s21-002": 0}
            assert all(state == "refused" for state in await states_of(site, "s21-001"))


async def states_of(site, rig):
    return [record.state.value for record in await site.store.commands(rig)]


@virtual
async def test_a_hand_beside_ours_makes_the_rig_contested_and_an_order_asserts_us_again(tmp_path):
    wanted = Wanted(price=DEAR, scale=5, s19=0, s21=3, control="min_on_s = 0\nmin_off_s = 0\ncanary_percent = 100")
    async with whole(tmp_path, wanted) as site:

        def by_hand(mode):
            machine = site.farm.rigs["s21-002"].antminer
            machine.write(replace(machine.configuration, mode=mode), site.farm.clock.now())

        await site.until(lambda: site.all_in(RigState.ASLEEP), 400)
        for _ in range(2):
            by_hand(NORMAL)
            await site.until(lambda: site.daemon.farm.observed_mode("s21-002") == "normal", 400)
            await site.plant(20)
            await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 400)
        assert site.named("contested") == {"s21-002"}
        assert len(site.logged("rig_contested")) == 1
        writes = site.writes()["s21-002"]
        await site.plant(3600)
        assert site.writes()["s21-002"] == writes  # left alone
        assert site.truly(Truth.HASHING) == {"s21-002"}
        async with api(site) as session, session.post("/api/v1/orders", json={"limit_kw": 3}) as answer:
            assert answer.status == 201
        await site.until(lambda: not site.truly(Truth.HASHING), 300, "asserted under the order")
        await site.until(lambda: site.status()["commands"]["in_flight"] == 0, 400)
        by_hand(NORMAL)
        await site.until(lambda: bool(site.truly(Truth.BOOTING, Truth.RAMPING)), 60)
        await site.until(lambda: not site.truly(Truth.BOOTING, Truth.RAMPING, Truth.HASHING), 1200, "and again")
        assert site.named("contested") == {"s21-002"}


@virtual
async def test_the_first_automatic_commands_go_to_a_few(tmp_path):
    wanted = Wanted(price=DEAR, scale=10, s19=0, s21=30, control="canary_rigs = 10\ncanary_percent = 7")
    async with whole(tmp_path, wanted) as site:
        touched = []
        while sum(site.writes().values()) < 30:
            proven = bool(site.logged("group_proven"))
            touched.append((proven, sum(1 for count in site.writes().values() if count)))
            await site.plant(2)
            assert site.clock.plant() < 1200
        assert max(count for proven, count in touched if not proven) == 2  # 7 % of 30
        assert site.store.proven == {"hall"}
        await site.until(lambda: site.all_in(RigState.ASLEEP), 300)


@virtual
async def test_what_silences_rigs_does_not_go_through_the_group(tmp_path):
    wanted = Wanted(price=DEAR, scale=10, s19=0, s21=30, control="canary_rigs = 10\ncanary_percent = 4")
    async with whole(tmp_path, wanted) as site:
        for _ in range(300):
            for name, count in site.writes().items():
                if count and Fault.OFFLINE not in site.farm.rigs[name].antminer.faults:
                    await site.farm.set_faults(name, (Fault.OFFLINE,))  # each command kills its rig
            await site.plant(10)
        dead = [name for name, count in site.writes().items() if count]
        assert len(dead) == 2
        assert len(site.logged("canary_stalled")) == 1
        assert site.store.proven == frozenset()


@virtual
async def test_observing_sends_nothing_whatever_is_asked(tmp_path):
    options = Options(observe=True, simulated=True)
    async with whole(tmp_path, Wanted(price=DEAR, scale=30, cap_kw=20), options=options) as site:
        await site.plant(1800)
        async with api(site) as session:
            async with session.put("/api/v1/groups/hall/control", json={"control": "auto"}) as answer:
                assert answer.status == 409
                assert "observe" in (await answer.json())["error"]
            async with session.post("/api/v1/orders", json={"limit_kw": 5}) as answer:
                assert answer.status == 201
        await site.plant(3600)
        assert set(site.writes().values()) == {0}
        assert site.store.records == {}
        assert {site.rig(name)["obstacle"] for name in site.farm.rigs} == {"observe_only"}
        assert {site.rig(name)["wanted"] for name in site.farm.rigs} == {"sleep"}  # shown all the same


@virtual
async def test_a_group_is_switched_while_running(tmp_path):
    async with whole(tmp_path, Wanted(price=DEAR, scale=10, groups="[groups.hall]", s19=0, s21=3)) as site:
        await site.plant(900)
        assert set(site.writes().values()) == {0}  # new groups only observe
        async with api(site) as session:
            for control in ("auto", "observe"):
                url = "/api/v1/groups/hall/control"
                async with session.put(url, json={"control": control, "author": "ann"}) as answer:
                    assert answer.status == 200
                await site.until(lambda: site.all_in(RigState.ASLEEP), 600)
        assert {name: control.value for name, control in site.store.controls.items()} == {"hall": "observe"}


@virtual
async def test_a_restart_in_the_middle_touches_nothing_that_is_as_wanted(tmp_path):
    # Half of the rigs fit under the cap; the others sleep. The new daemon finds it so and leaves it so.
    wanted = Wanted(price=CHEAP, scale=10, cap_kw=23)
    async with farm_of(wanted) as farm:
        async with daemon_of(tmp_path / "one", wanted, farm) as site:
            await site.until(lambda: site.status()["commands"]["in_flight"] == 0 and site.clock.plant() > 600, 1200)
            before, asleep, store, clock = site.writes(), site.truly(Truth.ASLEEP), site.store, site.clock
            assert 4 <= len(asleep) <= 7
        async with daemon_of(tmp_path / "two", wanted, farm, store=store.restarted(), clock=clock) as site:
            await site.plant(1800)
            assert site.writes() == before
            assert site.truly(Truth.ASLEEP) == asleep
            assert site.logged("commands_unsettled") == []


@virtual
async def test_commands_cut_off_by_a_stop_are_settled_by_readings_after_the_restart(tmp_path):
    wanted = Wanted(price=DEAR, scale=1, s19=3, s21=3, farm=fault("s21-003", "refuse"))
    async with farm_of(wanted) as farm:
        async with daemon_of(tmp_path / "one", wanted, farm) as site:
            await site.until(lambda: sum(site.writes().values()) >= 2, 60)
            store, clock = site.store, site.clock
        left = {record.rig: record.state.value for record in store.records.values()}
        assert "unknown" in left.values(), left
        assert "planned" not in left.values(), left  # the stop says of each what it knows
        async with daemon_of(tmp_path / "two", wanted, farm, store=store.restarted(), clock=clock) as site:
            assert len(site.logged("commands_unsettled")) == 1
            await site.until(lambda: len(site.truly(Truth.ASLEEP)) == 5, 300)
            await site.until(lambda: site.named("refusing") == {"s21-003"}, 900)
            assert {record.state.value for record in site.store.records.values()} <= {
                "confirmed",
                "contradicted",
                "refused",
                "superseded",
                "expired",
            }
            assert max(count for name, count in site.writes().items() if name != "s21-003") == 1
            assert not site.daemon.actuator._verbs


@virtual
async def test_prices_and_orders_go_on_after_a_restart(tmp_path):
    wanted = Wanted(price=turns_dear(1800), scale=10, s19=0, s21=3)
    async with farm_of(wanted) as farm:
        async with daemon_of(tmp_path / "one", wanted, farm) as site:
            await site.plant(300)
            async with api(site) as session, session.post("/api/v1/orders", json={"limit_kw": 6}) as answer:
                assert answer.status == 201
            await site.until(lambda: site.farm.meter.true_power() <= 6e3, 300)
            await site.plant(120)
            store, clock = site.store, site.clock
        async with daemon_of(tmp_path / "two", wanted, farm, store=store.restarted(), clock=clock) as site:
            await site.plant(300)
            assert len(site.status()["orders"]) == 1
            assert site.farm.meter.true_power() <= 6e3
            assert len(site.logged("order_in_force")) == 1
            await site.until(lambda: site.all_in(RigState.ASLEEP), 2400, "the price")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_breaks_the_daemon_lives_and_the_invariants_hold(tmp_path, seed):
    run_virtual(_storm(tmp_path, seed), seed=seed)


async def _storm(tmp_path, seed):
    import random

    chance = random.Random(seed)
    wanted = Wanted(price=turns_dear(4000), scale=20, s19=5, s21=5, cap_kw=25, seed=seed)
    kinds = [kind for kind in Fault if kind is not Fault.POWER_WRITE_WIPES_POOLS]
    async with whole(tmp_path, wanted) as site:
        for _ in range(60):
            name = chance.choice(sorted(site.farm.rigs))
            faults = () if chance.random() < 0.4 else (chance.choice(kinds),)
            await site.farm.set_faults(name, faults)
            match chance.randrange(8):
                case 0:
                    site.store.fail("disk full")
                case 1:
                    site.store.heal()
                case 2:
                    await site.farm.meter_server.stop()
                case 3:
                    await site.farm.meter_server.start() if site.farm.meter_server._server is None else None
                case 4:
                    machine = site.farm.rigs[name].antminer
                    mode = chance.choice([NORMAL, SLEEP])
                    machine.write(replace(machine.configuration, mode=mode), site.farm.clock.now())
                case 5:
                    site.farm.rigs[name].antminer.reboot(site.farm.clock.now())
            await site.plant(chance.choice([20, 60, 200]))
            await asyncio_turn()
            assert not site.logged("job_failed")
            assert not site.logged("driver_bug")
        site.store.heal()
        for name in site.farm.rigs:
            await site.farm.set_faults(name, ())
        if site.farm.meter_server._server is None:
            await site.farm.meter_server.start()
        await site.until(
            lambda: site.farm.meter.true_power() < site.cap and not site.named("offline"), 3600, "calm again"
        )
        assert site.pools() == site.pools_before
        for track in site.daemon.actuator.tracks.values():
            track.make_peace()
        await site.plant(3600)
        assert site.farm.meter.true_power() < site.cap
        for entry in site.logged("command_confirmed"):
            assert entry["rig"] in site.farm.rigs
        numbers = [number for number in site.daemon.actuator._verbs if number > 0]
        assert len(numbers) <= sum(track.in_flight is not None for track in site.daemon.actuator.tracks.values())


async def asyncio_turn():
    import asyncio

    await asyncio.sleep(0)
