"""The allocator: scarce power goes where it hashes most; raises wait for what is really free; every cut has numbers."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.allocate import AllocationMemory, AllocationSettings, allocate, remember, site_target
from controller.economics import Economics
from controller.limits import Limits
from controller.plan import Decision, Order, Reason, RigState, RigView
from shedload.device import Mode, RigName
from shedload.units import Watts
from tests.support.energy import NOON, S19, S21, S21_PLAIN, VECTORS, Cycles, all_in, curve, decision, slot, view

FREE = AllocationSettings(wakes_per_cycle=10_000, minimum_off=0.0)
EMPTY = AllocationMemory()


def limits(site: float | None = None, **keys: object) -> Limits:
    return Limits(None if site is None else Watts(site), **keys)


def shared(
    rigs: Sequence[RigView],
    limit: Limits,
    *,
    memory: AllocationMemory = EMPTY,
    wishes: Mapping[RigName, Decision] | None = None,
    plant: float = 100_000.0,
    settings: AllocationSettings = FREE,
) -> dict[RigName, Decision]:
    return allocate(wishes or all_in(rigs), rigs, limit, memory, plant_now=plant, settings=settings)[0]


def modes(decisions: Mapping[RigName, Decision]) -> dict[str, str]:
    return {name: each.mode for name, each in decisions.items()}


def order(limit: float, number: int = 7) -> Order:
    return Order(number, Watts(limit), "operator", "grid", NOON)


def fleet_of(vector: dict[str, object]) -> list[RigView]:
    rigs = []
    for kind in vector["classes"]:  # type: ignore[attr-defined]
        sleep, *running = kind["modes"]
        shape = curve(*((mode["id"], mode["w"], mode["th"]) for mode in running), sleep=sleep["w"])
        rigs += [view(f"{kind['id']}{n:03}", shape, feeder=kind["feeder"]) for n in range(kind["count"])]
    return rigs


def test_reference_of_nested_caps() -> None:
    vector = json.loads((VECTORS / "energy" / "01_single_interval_laminar_caps.json").read_text())
    rigs = fleet_of(vector)
    market, price = Economics(vector["hashprice_usd_per_th_day"]), vector["price_usd_per_kwh"]
    feeders = {each["id"]: Watts(each["cap_w"]) for each in vector["feeders"]}
    decisions = shared(rigs, limits(vector["site_cap_w"], feeders=feeders))
    chosen = {rig.name: next(m for m in rig.modes if m.name == decisions[rig.name].mode) for rig in rigs}
    worth = sum(market.value(mode, price) for mode in chosen.values())
    assert worth == pytest.approx(vector["solution"]["greedy_hull_integer_usd"], abs=1e-4)
    counts = {key: Counter(dict.fromkeys(kinds, 0)) for key, kinds in vector["solution"]["greedy_counts"].items()}
    for name, mode in chosen.items():
        counts[name[0]][mode.name] += 1
    assert counts == vector["solution"]["greedy_counts"]
    assert sum(mode.power for mode in chosen.values()) <= vector["site_cap_w"]


def test_without_limits_every_wish_stands_untouched() -> None:
    rigs = [view(f"r{n}", mode="sleep") for n in range(20)]
    wishes = all_in(rigs)
    assert shared(rigs, limits(), wishes=wishes) == wishes


def test_tight_cap_runs_everybody_efficiently_before_anybody_sleeps() -> None:
    rigs = [view(f"r{n}", mode="normal") for n in range(10)]
    assert Counter(modes(shared(rigs, limits(23_000))).values()) == {"eco": 10}
    assert Counter(modes(shared(rigs, limits(11_400))).values()) == {"eco": 5, "sleep": 5}


def test_efficient_rigs_first_then_those_that_run_then_by_name() -> None:
    rigs = [
        view("old", S19, "normal"),
        view("b", S21_PLAIN, "sleep"),
        view("a", S21_PLAIN, "sleep"),
        view("z", S21_PLAIN, "normal"),
    ]
    assert modes(shared(rigs, limits(3_600))) == {"old": "sleep", "b": "sleep", "a": "sleep", "z": "normal"}
    asleep = [replace(rig, mode="sleep", state=RigState.ASLEEP, power=rig.modes[0].power) for rig in rigs]
    assert modes(shared(asleep, limits(3_600))) == {"old": "sleep", "b": "sleep", "a": "normal", "z": "sleep"}


def test_small_changes_of_efficiency_swap_nothing() -> None:
    rigs = [view("a", S21_PLAIN, "sleep", rate=1.015), view("b", S21_PLAIN, "normal")]
    assert modes(shared(rigs, limits(3_600))) == {"a": "sleep", "b": "normal"}
    rigs[0] = view("a", S21_PLAIN, "sleep", rate=1.03)
    assert modes(shared(rigs, limits(3_600)))["b"] == "sleep"


def test_reasons_name_the_limit_that_cut() -> None:
    rigs = [view("a", S21_PLAIN, "normal", feeder="F1"), view("b", S21_PLAIN, "normal", feeder="F2")]
    cut = shared(rigs, limits(4_000))["b"]
    assert cut.reason is Reason.SITE_CAP
    assert cut.steps[-1].numbers == {"limit_w": 4000.0, "left_w": 475.0, "needed_w": 3475.0}
    ordered = shared(rigs, limits(9_000, orders=(order(8_000, 3), order(4_000, 7))))["b"]
    assert ordered.reason is Reason.ORDER
    assert ordered.steps[-1].numbers["order"] == 7.0
    feeder = shared(rigs, limits(9_000, feeders={"F2": Watts(3_000)}))["b"]
    assert feeder.reason is Reason.FEEDER_CAP
    assert feeder.steps[-1].numbers == {"limit_w": 3000.0, "left_w": 2975.0, "needed_w": 3475.0}
    assert feeder.steps[-1].stage == "allocate"


def test_zero_order_puts_everybody_to_sleep() -> None:
    rigs = [view(f"r{n}", mode="normal") for n in range(5)]
    assert set(modes(shared(rigs, limits(20_000, orders=(order(0),)))).values()) == {"sleep"}


@pytest.mark.parametrize(
    ("obstacle", "state"),
    [
        (Reason.UNREACHABLE, RigState.OFFLINE),
        (Reason.CONTESTED, RigState.HASHING),
        (Reason.REFUSING, RigState.HASHING),
        (Reason.OBSERVE_ONLY, RigState.HASHING),
        (Reason.CANARY, RigState.HASHING),
    ],
)
def test_what_cannot_be_commanded_counts_as_believed(obstacle: Reason, state: RigState) -> None:
    stuck = view("stuck", S21_PLAIN, "normal", state=state, power=3_700, obstacle=obstacle)
    rigs = [stuck, view("a", S21_PLAIN, "normal"), view("b", S21_PLAIN, "normal")]
    decisions = shared(rigs, limits(8_000), wishes=all_in(rigs))
    assert {decisions[RigName("a")].mode, decisions[RigName("b")].mode} == {"normal", "sleep"}


def test_base_load_is_inside_the_limit() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S21_PLAIN, "normal")]
    assert Counter(modes(shared(rigs, limits(7_100, base_load=Watts(100)))).values()) == {"normal": 2}
    assert Counter(modes(shared(rigs, limits(7_099, base_load=Watts(100)))).values()) == {"normal": 1, "sleep": 1}


def test_observed_site_shows_what_it_would_do_under_its_cap() -> None:
    rigs = [view(f"r{n}", S21_PLAIN, "normal", obstacle=Reason.OBSERVE_ONLY) for n in range(4)]
    assert Counter(modes(shared(rigs, limits(7_100))).values()) == {"normal": 2, "sleep": 2}


def test_raise_waits_for_the_lowering_that_funds_it() -> None:
    """The worse rig is lowered at once; the better one rises when the power is really free."""
    loop = Cycles(allocation=FREE)
    limit, price = limits(3_600), slot(10)
    good, poor = view("good", S21_PLAIN, "sleep"), view("poor", S19, "normal")
    first = loop.run([good, poor], price, 1_000.0, limit)
    assert modes(first) == {"good": "sleep", "poor": "sleep"}
    assert first[RigName("good")].reason is Reason.SITE_CAP
    still = loop.run([good, poor], price, 1_005.0, limit)  # sent, not yet obeyed
    assert modes(still) == {"good": "sleep", "poor": "sleep"}
    obeyed = loop.run([good, view("poor", S19, "sleep")], price, 1_010.0, limit)
    assert modes(obeyed) == {"good": "normal", "poor": "sleep"}


def test_raise_on_its_way_is_not_given_away_twice() -> None:
    loop = Cycles(allocation=FREE)
    rigs = [view("a", S21_PLAIN), view("b", S21_PLAIN)]
    limit = limits(5_000)
    assert modes(loop.run(rigs, slot(10), 0.0, limit)) == {"a": "normal", "b": "sleep"}
    slow = [rigs[0], view("b", S21_PLAIN, rate=1.2)]  # b looks better now, a is still booting at 25 W
    after = loop.run(slow, slot(10), 5.0, limit)
    assert after[RigName("b")].mode == "sleep"


def test_meter_says_less_is_free_than_the_rigs_say() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S21_PLAIN, "sleep")]
    assert modes(shared(rigs, limits(8_000, meter=Watts(3_600))))["b"] == "normal"
    held = shared(rigs, limits(8_000, meter=Watts(4_800)))[RigName("b")]
    assert (held.mode, held.reason) == ("sleep", Reason.SITE_CAP)


def test_part_of_a_raise_where_there_is_no_room_for_all() -> None:
    rigs = [view("a", S21, "sleep")]
    decided = shared(rigs, limits(8_000, meter=Watts(5_000)))[RigName("a")]
    assert (decided.mode, decided.reason) == ("eco", Reason.SITE_CAP)


def ramped(per_minute: float | None, down: float | None = None, **keys: object) -> AllocationSettings:
    watts = None if per_minute is None else Watts(per_minute)
    return replace(FREE, ramp_up_per_minute=watts, ramp_down_per_minute=None if down is None else Watts(down), **keys)


def test_ramp_up_spends_a_bucket_that_plant_time_fills() -> None:
    loop = Cycles(allocation=ramped(7_000))
    rigs = {f"r{n}": view(f"r{n}", S21_PLAIN) for n in range(10)}
    awake = []
    for plant in (0.0, 5.0, 30.0, 60.0, 120.0):
        decided = loop.run(list(rigs.values()), slot(10), plant, limits(100_000))
        awake.append(sum(each.mode == "normal" for each in decided.values()))
        for name, each in decided.items():
            if each.mode == "normal":
                rigs[name] = view(name, S21_PLAIN, "normal")
            else:
                assert each.reason is Reason.RAMP_LIMIT
                assert each.steps[-1].numbers["ramp_w_per_min"] == 7_000.0
    assert awake == [2, 2, 3, 4, 6]


def test_full_bucket_lets_one_rig_pass_that_is_larger_than_it() -> None:
    loop = Cycles(allocation=ramped(100))
    assert modes(loop.run([view("a", S21_PLAIN), view("b", S21_PLAIN)], slot(10), 0.0)) == {"a": "normal", "b": "sleep"}
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S21_PLAIN)]
    assert modes(loop.run(rigs, slot(10), 60.0))["b"] == "sleep"
    assert modes(loop.run(rigs, slot(10), 3_600.0))["b"] == "normal"


def test_stagger() -> None:
    rigs = [view(f"r{n}", S21_PLAIN) for n in range(5)]
    decided = shared(rigs, limits(), settings=replace(FREE, wakes_per_cycle=2))
    assert Counter(each.mode for each in decided.values()) == {"normal": 2, "sleep": 3}
    assert Counter(each.reason for each in decided.values())[Reason.STAGGER] == 3


def test_price_lowers_gradually_and_a_limit_at_once() -> None:
    rigs = [view(f"r{n}", S21_PLAIN, "normal", rate=1 - n / 100) for n in range(10)]
    slow = ramped(None, 7_000)
    wishes = all_in(rigs, "sleep")
    decided = shared(rigs, limits(100_000), wishes=wishes, settings=slow)
    assert [name for name, each in decided.items() if each.mode == "sleep"] == ["r8", "r9"]  # the worst first
    assert decided[RigName("r0")].reason is Reason.RAMP_LIMIT
    capped = shared(rigs, limits(7_300), wishes=wishes, settings=slow)
    assert sum(each.mode == "normal" for each in capped.values()) <= 2
    cut = shared(rigs, limits(7_300), wishes=all_in(rigs), settings=slow)
    assert sum(each.mode == "normal" for each in cut.values()) == 2


def test_lowering_for_money_that_was_held_back_goes_on() -> None:
    loop = Cycles(allocation=ramped(None, 7_000))
    rigs = [view(f"r{n}", S21_PLAIN, "normal") for n in range(6)]
    asleep = []
    for plant in (0.0, 60.0, 120.0):
        decided = loop.run(rigs, slot(500), plant, limits(100_000))
        asleep.append(sum(each.mode == "sleep" for each in decided.values()))
        rigs = [view(rig.name, S21_PLAIN, decided[rig.name].mode) for rig in rigs]
    assert asleep == [2, 4, 6]


def test_rig_that_a_cap_put_to_sleep_stays_so_for_a_while_and_its_share_goes_to_others() -> None:
    rigs = [view("a", S21_PLAIN, "sleep", since=99_500.0), view("b", S19, "sleep", since=0.0)]
    decided = shared(rigs, limits(3_600), settings=replace(FREE, minimum_off=900.0))
    assert modes(decided) == {"a": "sleep", "b": "normal"}
    assert decided[RigName("a")].reason is Reason.MINIMUM_OFF_TIME


def test_what_safety_lowered_comes_back_only_through_head_room_and_ramp() -> None:
    loop = Cycles(allocation=ramped(3_500))
    rigs = [view(f"r{n}", S21_PLAIN, "normal", power=3_800) for n in range(10)]
    limit = limits(36_000, meter=Watts(38_000))
    shed = loop.run(rigs, slot(10), 0.0, limit)
    assert sum(each.mode == "sleep" for each in shed.values()) == 1
    rigs = [
        view(r.name, S21_PLAIN, shed[r.name].mode, power=3_800 if shed[r.name].mode == "normal" else 25) for r in rigs
    ]
    for plant in range(5, 3_600, 5):  # 34.2 kW: no room for another 3.5 kW
        again = loop.run(rigs, slot(10), float(plant), limits(36_000, meter=Watts(34_225)))
        assert modes(again) == modes(shed)


def test_restart_touches_nothing() -> None:
    rigs = [view(f"r{n}", S21_PLAIN, "normal" if n % 3 else "sleep") for n in range(60)]
    decided = Cycles().run(rigs, slot(86.0), 0.0, limits(500_000))
    assert modes(decided) == {rig.name: rig.mode for rig in rigs}


def test_memory_forgets_rigs_that_are_not_commanded() -> None:
    rigs = [
        view("a", S21_PLAIN, "normal"),
        view("off", S21_PLAIN, None, state=RigState.OFFLINE, power=3_500, obstacle=Reason.UNREACHABLE),
        view("seen", S21_PLAIN, "normal", obstacle=Reason.OBSERVE_ONLY),
    ]
    memory = replace(EMPTY, modes={RigName("gone"): "normal"})
    assert remember(memory, all_in(rigs), rigs).modes == {"a": "normal"}


def test_rig_of_unknown_mode_is_neither_raised_nor_lowered_by_guess() -> None:
    rig = replace(view("a", S21, "eco"), mode=None)
    assert shared([rig], limits(8_000))[RigName("a")].mode == "normal"  # 2240 W: taken for eco, may rise
    dark = replace(rig, power=None, telemetry=None)
    assert shared([dark], limits(8_000))[RigName("a")].mode == "normal"


def test_mode_off_the_hull_can_be_kept_and_cut() -> None:
    shape = curve(("low", 1905, 74.5), ("factory", 2850, 96), ("oc", 3100, 105), sleep=15)
    rigs = [view(f"r{n}", shape, "factory") for n in range(2)]
    wishes = all_in(rigs, "factory")
    assert shared(rigs, limits(9_000), wishes=wishes) == wishes
    assert sorted(modes(shared(rigs, limits(4_800), wishes=wishes)).values()) == ["factory", "low"]


def test_site_target_counts_what_cannot_be_commanded_as_believed() -> None:
    rigs = [
        view("a", S21_PLAIN, "normal"),
        view("off", S21_PLAIN, None, state=RigState.OFFLINE, power=3_600, obstacle=Reason.UNREACHABLE),
        view("seen", S21_PLAIN, "normal", power=3_400, obstacle=Reason.OBSERVE_ONLY),
    ]
    assert site_target(all_in(rigs, "sleep"), rigs, Watts(1_000)) == 25 + 3_600 + 3_400 + 1_000


KINDS: tuple[tuple[Mode, ...], ...] = (S21, S21_PLAIN, S19, curve(("low", 1905, 74.5), ("oc", 3100, 105), sleep=15))
OBSTACLES = [None, None, None, None, Reason.REFUSING, Reason.CONTESTED, Reason.OBSERVE_ONLY, Reason.CANARY]


@st.composite
def sites(draw: st.DrawFn) -> list[RigView]:
    rigs = []
    for number in range(draw(st.integers(1, 12))):
        shape = draw(st.sampled_from(KINDS))
        mode = draw(st.sampled_from(shape)).name
        rigs.append(
            view(
                f"r{number}",
                shape,
                mode,
                feeder=draw(st.sampled_from(["", "F1", "F2"])),
                obstacle=draw(st.sampled_from(OBSTACLES)),
                rate=draw(st.floats(0.6, 1.3)),
                power=draw(st.one_of(st.none(), st.floats(0, 4_000))),
                since=draw(st.one_of(st.none(), st.floats(0, 100_000))),
            )
        )
    return rigs


caps = st.one_of(st.none(), st.floats(0, 50_000))


@given(sites(), caps, caps, st.data())
def test_limits_hold_wherever_they_can(
    rigs: list[RigView], cap: float | None, feeder: float | None, data: st.DataObject
) -> None:
    wishes = {rig.name: decision(rig, data.draw(st.sampled_from(rig.modes)).name) for rig in rigs}
    limit = limits(cap, feeders={} if feeder is None else {"F1": Watts(feeder)}, base_load=Watts(500.0))
    decided = shared(rigs, limit, wishes=wishes)
    for rig in rigs:
        assert decided[rig.name].power <= wishes[rig.name].power
        if decided[rig.name] is not wishes[rig.name]:
            assert decided[rig.name].steps[-1].stage == "allocate"
    movable = [rig for rig in rigs if rig.commandable]
    stuck = [rig for rig in rigs if not rig.commandable]

    def least(part: Sequence[RigView]) -> float:
        return sum(rig.modes[0].power for rig in part if rig.commandable)

    for power, inside, base in ((cap, rigs, 500.0), (feeder, [rig for rig in rigs if rig.feeder == "F1"], 0.0)):
        if power is None:
            continue
        fixed = base + sum(rig.power or 0.0 for rig in stuck if rig in inside)
        total = fixed + sum(decided[rig.name].power for rig in movable if rig in inside)
        assert total <= max(power, fixed + least(inside)) + 1e-3


@given(sites(), st.floats(0, 40_000), st.randoms(use_true_random=False))
def test_order_of_the_rigs_does_not_matter(rigs: list[RigView], cap: float, random: st.DataObject) -> None:
    shuffled = list(rigs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert modes(shared(rigs, limits(cap))) == modes(shared(shuffled, limits(cap)))


@given(st.integers(1, 12), st.floats(0, 45_000), st.floats(0, 45_000))
def test_higher_cap_never_hashes_less_with_rigs_of_one_kind(count: int, first: float, second: float) -> None:
    rigs = [view(f"r{n:02}", S21) for n in range(count)]

    def hashrate(cap: float) -> float:
        decided = shared(rigs, limits(cap))
        return sum(next(m.hashrate for m in S21 if m.name == each.mode) for each in decided.values())

    low, high = sorted((first, second))
    assert hashrate(low) <= hashrate(high)


@given(sites(), st.floats(0, 40_000))
def test_second_look_at_an_obedient_site_changes_nothing(rigs: list[RigView], cap: float) -> None:
    """No churn: once the rigs are as decided, the same limits decide the same."""
    limit = limits(cap)
    memory = EMPTY
    for _ in range(6):
        decided, memory = allocate(all_in(rigs), rigs, limit, memory, plant_now=0.0, settings=FREE)
        memory = remember(memory, decided, rigs)
        before = modes(decided)
        rigs = [obey(rig, decided[rig.name].mode) for rig in rigs]
    decided, _ = allocate(all_in(rigs), rigs, limit, memory, plant_now=0.0, settings=FREE)
    assert modes(decided) == before


def obey(rig: RigView, mode: str) -> RigView:
    if not rig.commandable:
        return rig
    power = next(each.power for each in rig.modes if each.name == mode)
    state = RigState.ASLEEP if mode == "sleep" else RigState.HASHING
    return replace(rig, mode=mode, power=power, state=state)
