"""Safety may only lower: heat, a blind or over-limit meter, a store that does not write, a start that is not over."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.limits import SiteLimit
from controller.plan import Decision, Reason, RigState, RigView
from controller.safety import Conditions, SafetySettings, guard, overheated, secure
from shedload.device import Fault, FaultCode, RigName, Telemetry
from shedload.units import Celsius, Watts
from tests.support.energy import S19, S21, S21_PLAIN, all_in, decision, view

CALM = Conditions(plant_now=10_000.0)
SETTINGS = SafetySettings()
A, B = RigName("a"), RigName("b")


def one(rig: RigView, mode: str, conditions: Conditions = CALM) -> Decision:
    return secure({rig.name: decision(rig, mode)}, [rig], conditions, SETTINGS)[rig.name]


def over(meter: float, limit: float, **keys: object) -> Conditions:
    return Conditions(
        10_000.0, meter_expected=True, meter=Watts(meter), limit=SiteLimit(Watts(limit), Reason.SITE_CAP), **keys
    )


def heated(celsius: float | None, mode: str = "normal", **keys: object) -> RigView:
    chip = None if celsius is None else Celsius(celsius)
    return view("a", S21_PLAIN, mode, telemetry=Telemetry(chip_temperature=chip), **keys)


def test_calm_conditions_change_nothing() -> None:
    rigs = [view("a"), view("b", mode="normal")]
    wishes = all_in(rigs)
    assert secure(wishes, rigs, CALM, SETTINGS) == wishes


def test_hot_chip_puts_a_rig_to_sleep_with_its_numbers() -> None:
    hot = one(heated(95.1), "normal")
    assert (hot.mode, hot.reason) == ("sleep", Reason.OVERHEAT)
    assert hot.steps[-1].numbers == {"limit_celsius": 95.0, "release_celsius": 85.0, "chip_celsius": 95.1}
    assert one(heated(95.0), "normal").mode == "normal"
    assert overheated({A: hot}) == {A}


def test_heat_that_the_rig_itself_reports() -> None:
    rig = view("a", mode="normal", telemetry=Telemetry(faults=(Fault(FaultCode.OVERHEAT, "board 1"),)))
    assert one(rig, "normal").reason is Reason.OVERHEAT


def test_overheated_rig_runs_again_when_it_has_cooled() -> None:
    was = replace(CALM, overheated=frozenset({A}))
    assert one(heated(86.0, "sleep"), "normal", was).mode == "sleep"
    assert one(heated(84.0, "sleep"), "normal", was).mode == "normal"
    assert one(heated(86.0, "sleep"), "normal").mode == "normal"  # never was too hot


def test_sleeping_rig_that_tells_no_temperature_cools_by_time() -> None:
    was = replace(CALM, overheated=frozenset({A}))
    assert one(heated(None, "sleep", since=9_500.0), "normal", was).mode == "sleep"
    assert one(heated(None, "sleep", since=9_400.0), "normal", was).mode == "normal"
    assert one(heated(None, "normal", since=0.0), "normal", was).mode == "sleep"


def test_hot_rig_that_price_already_put_to_sleep_is_remembered_as_hot() -> None:
    left = one(heated(99.0), "sleep")
    assert left.mode == "sleep"
    assert overheated({A: left}) == {A}


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        (replace(CALM, ready=False), Reason.NOT_READY),
        (replace(CALM, store_failing=True), Reason.STORE_FAILING),
        (replace(CALM, meter_expected=True), Reason.METER_STALE),
    ],
)
def test_no_raise(conditions: Conditions, reason: Reason) -> None:
    held = one(view("a", S21, "eco"), "normal", conditions)
    assert (held.mode, held.reason, held.power) == ("eco", reason, 2240.0)
    assert held.steps[-1].numbers == {"wanted_w": 3500.0, "held_w": 2240.0}
    assert one(view("a", S21, "normal"), "eco", conditions).mode == "eco"  # lowering goes on
    assert one(view("a", S21, "eco"), "eco", conditions).steps == ()


def test_raise_that_was_decided_before_goes_on() -> None:
    """A meter that misses one beat must not send rigs to sleep that are just booting."""
    conditions = replace(CALM, meter_expected=True, standing={A: "normal"})
    assert one(view("a", S21, "sleep"), "normal", conditions).mode == "normal"


def test_site_without_a_meter_is_not_blind() -> None:
    assert one(view("a", S21, "sleep"), "normal").mode == "normal"


def test_contested_and_unreachable_rigs_are_left_alone() -> None:
    for obstacle, state in ((Reason.CONTESTED, RigState.HASHING), (Reason.UNREACHABLE, RigState.OFFLINE)):
        rig = replace(heated(120.0), obstacle=obstacle, state=state, commandable=False)
        assert one(rig, "normal", replace(over(9_000, 1_000), ready=False)).mode == "normal"


def test_excess_is_shed_at_once_the_least_efficient_first() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S19, "normal"), view("c", S21_PLAIN, "normal")]
    left = secure(all_in(rigs), rigs, over(11_000, 8_000), SETTINGS)
    assert {name: each.mode for name, each in left.items()} == {"a": "normal", "b": "sleep", "c": "normal"}
    cut = left[B]
    assert cut.reason is Reason.METER_OVER_CAP
    assert cut.steps[-1].numbers == {"meter_w": 11_000.0, "limit_w": 8_000.0, "explained_w": 0.0, "freed_w": 3_235.0}
    more = secure(all_in(rigs), rigs, over(12_000, 8_000), SETTINGS)
    assert sum(each.mode == "sleep" for each in more.values()) == 2


def test_lowerings_on_their_way_explain_an_excess() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S19, "normal")]
    wishes = {A: decision(rigs[0], "normal"), B: decision(rigs[1], "sleep")}
    for conditions in (
        over(11_000, 8_000, standing={A: "normal", B: "normal"}),  # decided just now
        over(11_000, 8_000, standing={A: "normal", B: "sleep"}, lowering=frozenset({B})),  # sent before
    ):
        assert secure(wishes, rigs, conditions, SETTINGS)[A].mode == "normal"
    ignored = over(11_000, 8_000, standing={A: "normal", B: "sleep"})  # asked before, and does not obey
    assert secure(wishes, rigs, ignored, SETTINGS)[A].mode == "sleep"


def test_no_raise_while_the_meter_is_over_the_cap() -> None:
    rigs = [view("a", S21_PLAIN, "sleep"), view("b", S19, "normal")]
    left = secure(all_in(rigs), rigs, over(8_100, 8_000), SETTINGS)
    assert (left[A].mode, left[A].reason) == ("sleep", Reason.METER_OVER_CAP)


def test_rigs_that_only_observe_are_not_counted_on() -> None:
    rigs = [view("a", S21_PLAIN, "normal", obstacle=Reason.OBSERVE_ONLY), view("b", S21_PLAIN, "normal")]
    left = secure(all_in(rigs), rigs, over(8_100, 8_000), SETTINGS)
    assert (left[A].mode, left[B].mode) == ("normal", "sleep")


def test_guard_names_enough_rigs_and_no_more() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S19, "normal"), view("c", S21_PLAIN, "sleep")]
    assert guard(Watts(8_020), Watts(8_000), rigs, {}) == ()  # noise
    assert guard(Watts(8_100), Watts(8_000), rigs, {}) == (B,)
    assert guard(Watts(12_000), Watts(8_000), rigs, {}) == (B, A)
    assert guard(Watts(99_000), Watts(8_000), rigs, {}) == (B, A)


def test_guard_gives_lowerings_their_time() -> None:
    rigs = [view("a", S21_PLAIN, "normal"), view("b", S19, "normal")]
    assert guard(Watts(11_000), Watts(8_000), rigs, {B: Watts(3_235)}) == ()
    assert guard(Watts(11_500), Watts(8_000), rigs, {B: Watts(3_235)}) == ()  # 92 % explained
    assert guard(Watts(12_000), Watts(8_000), rigs, {B: Watts(3_235)}) == (A,)


@st.composite
def fleets(draw: st.DrawFn) -> list[RigView]:
    rigs = []
    for number in range(draw(st.integers(0, 10))):
        shape = draw(st.sampled_from([S21, S21_PLAIN, S19, ()]))
        mode = draw(st.sampled_from([each.name for each in shape] or [None])) if shape else None
        telemetry = draw(
            st.one_of(st.none(), st.floats(0, 130).map(lambda celsius: Telemetry(chip_temperature=Celsius(celsius))))
        )
        rig = view(
            f"r{number}",
            shape,
            mode,
            state=draw(st.sampled_from(RigState)),
            power=draw(st.one_of(st.none(), st.floats(0, 5_000))),
            obstacle=draw(st.sampled_from([None, None, None, *Reason])),
            since=draw(st.one_of(st.none(), st.floats(0, 10_000))),
            telemetry=telemetry,
        )
        rigs.append(replace(rig, mode=draw(st.sampled_from([rig.mode, None]))))
    return rigs


@given(fleets(), st.data())
def test_never_raises_anything(rigs: list[RigView], data: st.DataObject) -> None:
    names = [rig.name for rig in rigs]
    some = st.frozensets(st.sampled_from(names)) if names else st.just(frozenset())
    watts = st.one_of(st.none(), st.floats(0, 60_000).map(Watts))
    limit = data.draw(watts)
    conditions = Conditions(
        plant_now=10_000.0,
        ready=data.draw(st.booleans()),
        store_failing=data.draw(st.booleans()),
        meter_expected=data.draw(st.booleans()),
        meter=data.draw(watts),
        limit=None if limit is None else SiteLimit(limit, Reason.ORDER, 1),
        lowering=data.draw(some),
        standing={name: data.draw(st.sampled_from(["sleep", "eco", "normal"])) for name in data.draw(some)},
        overheated=data.draw(some),
    )
    before: dict[RigName, Decision] = {}
    for rig in rigs:
        mode = data.draw(st.sampled_from([each.name for each in rig.modes] or ["unknown"]))
        before[rig.name] = decision(rig, mode)
        if data.draw(st.booleans()):
            before[rig.name] = replace(before[rig.name], power=Watts(data.draw(st.floats(0, 5_000))))
    after = secure(before, rigs, conditions, SETTINGS)
    assert after.keys() == before.keys()
    for rig in rigs:
        order = [each.name for each in rig.modes] or ["unknown"]
        assert order.index(after[rig.name].mode) <= order.index(before[rig.name].mode)
        assert after[rig.name].power <= before[rig.name].power
        if after[rig.name].mode != before[rig.name].mode:
            assert after[rig.name].steps[-1].stage == "safety"
    assert sum(each.power for each in after.values()) <= sum(each.power for each in before.values()) + 1e-6


@given(fleets(), st.floats(0, 60_000), st.floats(0, 60_000))
def test_guard_names_only_rigs_that_can_be_lowered(rigs: list[RigView], meter: float, limit: float) -> None:
    named = guard(Watts(meter), Watts(limit), rigs, {})
    by_name = {rig.name: rig for rig in rigs}
    assert len(set(named)) == len(named)
    assert all(by_name[name].commandable and by_name[name].state is not RigState.ASLEEP for name in named)
    if meter <= limit:
        assert named == ()
