"""The policy: best mode by price on the rig's own curve, hysteresis, dwell, and all that may be unknown."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.plan import Decision, Reason, RigState, RigView
from controller.policy import UNKNOWN_MODE, PolicyMemory, PolicySettings, Wanted, strike, wish
from controller.tariff import Tariff, TariffConfig
from shedload.device import Mode, RigName
from tests.support.energy import S19J_PRO, S21_PLAIN, curve, economics, slot, view

PLAIN = PolicySettings(off_above=1.0, on_below=1.0, minimum_on=0.0, minimum_off=0.0)
USUAL = PolicySettings(off_above=1.1, on_below=0.95, minimum_on=1800.0, minimum_off=900.0)
R1 = RigName("r1")


def one(
    rig: RigView,
    price: float | None,
    wanted: Wanted | None = None,
    *,
    plant: float = 10_000.0,
    settings: PolicySettings = PLAIN,
    hashprice: float | None = 36.0,
    tariff: Tariff | None = None,
) -> tuple[Decision, Wanted | None]:
    memory = PolicyMemory({rig.name: wanted} if wanted else {})
    decisions, memory = wish(
        [rig],
        None if price is None else slot(price),
        None if hashprice is None else economics(hashprice),
        tariff or Tariff(),
        memory,
        plant_now=plant,
        settings=settings,
    )
    return decisions[rig.name], memory.rigs.get(rig.name)


@pytest.mark.parametrize(
    ("price", "mode"),
    [(-500, "oc"), (0, "oc"), (40.3, "oc"), (40.5, "low"), (52, "low"), (55, "low"), (61.3, "low"), (62.5, "sleep")],
)
def test_marginal_rule_on_a_measured_rig(price: float, mode: str) -> None:
    """At 38 USD/PH/d: overclock below 40.4 USD/MWh, low up to 61.9 (62.4 with what sleep draws), sleep above."""
    decision, _ = one(view(modes=S19J_PRO), price, hashprice=38.0)
    assert decision.mode == mode


def test_every_step_carries_its_numbers() -> None:
    tariff = TariffConfig(levy_per_kwh=0.01, loss_percent=2.0, cooling_percent=3.0).tariff
    decision, _ = one(view(modes=S21_PLAIN), 50.0, settings=USUAL, tariff=tariff)
    (step,) = decision.steps
    assert (step.stage, step.mode, step.reason) == ("policy", "normal", Reason.PRICE_BELOW_BREAK_EVEN)
    assert step.numbers["price_per_kwh"] == 0.05
    assert step.numbers["price_at_rig_per_kwh"] == pytest.approx(0.06 * 1.03 / 0.98)
    assert step.numbers["hashprice_per_ph_day"] == 36.0
    joules = step.numbers["efficiency_j_per_th"]
    assert joules == pytest.approx((3500 - 25) / 200)
    assert step.numbers["break_even_per_kwh"] == pytest.approx(36.0 / (24 * joules))
    assert step.numbers["threshold_per_kwh"] == pytest.approx(1.1 * step.numbers["break_even_per_kwh"])


def test_tariff_turns_a_cheap_market_into_an_expensive_plug() -> None:
    assert one(view(modes=S21_PLAIN), 80.0)[0].mode == "normal"
    assert one(view(modes=S21_PLAIN), 80.0, tariff=TariffConfig(levy_per_kwh=0.01).tariff)[0].mode == "sleep"


def test_hysteresis_between_the_thresholds() -> None:
    break_even = 36.0 / 24 / ((3500 - 25) / 200) * 1000
    for factor, awake, asleep in [
        (0.94, "normal", "normal"),
        (0.96, "normal", "sleep"),
        (1.09, "normal", "sleep"),
        (1.11, "sleep", "sleep"),
    ]:
        running = one(view(modes=S21_PLAIN, mode="normal"), break_even * factor, settings=USUAL)[0]
        sleeping = one(view(modes=S21_PLAIN, mode="sleep"), break_even * factor, settings=USUAL)[0]
        assert (running.mode, sleeping.mode) == (awake, asleep)
    held = one(view(modes=S21_PLAIN, mode="normal"), break_even * 1.05, settings=USUAL)[0]
    assert held.reason is Reason.HYSTERESIS
    assert held.steps[-1].numbers["threshold_per_kwh"] == pytest.approx(break_even * 1.1 / 1000)
    waiting = one(view(modes=S21_PLAIN, mode="sleep"), break_even * 0.97, settings=USUAL)[0]
    assert waiting.reason is Reason.HYSTERESIS
    assert waiting.steps[-1].numbers["threshold_per_kwh"] == pytest.approx(break_even * 0.95 / 1000)


def test_wish_counts_more_than_what_a_cap_made_of_it() -> None:
    """A rig that a cap put to sleep is still wanted: between the thresholds it stays wanted."""
    rig = view(modes=S21_PLAIN, mode="sleep", since=0.0)
    decision, _ = one(rig, 88.0, Wanted("normal"), settings=USUAL)
    assert (decision.mode, decision.reason) == ("normal", Reason.HYSTERESIS)


def test_minimum_on_time_holds_the_most_efficient_mode() -> None:
    rig = view(mode="normal", since=9_000.0)
    decision, wanted = one(rig, 500.0, Wanted("normal", 8_000.0), settings=USUAL)
    assert (decision.mode, decision.reason) == ("eco", Reason.MINIMUM_ON_TIME)
    assert decision.steps[-1].numbers == {"elapsed_s": 1000.0, "minimum_s": 1800.0}
    assert decision.steps[0].reason is Reason.PRICE_ABOVE_BREAK_EVEN
    assert wanted == Wanted("eco", 8_000.0)
    assert one(rig, 500.0, wanted, plant=10_800.0, settings=USUAL)[0].mode == "sleep"


def test_minimum_off_time() -> None:
    rig = view(mode="sleep", since=9_500.0)
    decision, wanted = one(rig, 10.0, Wanted("sleep", 9_400.0), settings=USUAL)
    assert (decision.mode, decision.reason) == ("sleep", Reason.MINIMUM_OFF_TIME)
    assert one(rig, 10.0, wanted, plant=10_400.0, settings=USUAL)[0].mode == "normal"


def test_no_dwell_for_a_rig_that_already_is_as_wanted() -> None:
    asleep = view(mode="sleep", since=9_990.0)
    assert one(asleep, 500.0, Wanted("normal", 9_990.0), settings=USUAL)[0].mode == "sleep"
    awake = view(mode="normal", since=9_990.0)
    assert one(awake, 10.0, Wanted("sleep", 9_990.0), settings=USUAL)[0].mode == "normal"


def test_wish_that_changed_is_not_taken_back_before_the_rig_obeys() -> None:
    rig = view(mode="normal", since=0.0)
    decision, wanted = one(rig, 500.0, Wanted("normal"), plant=10_000.0, settings=USUAL)
    assert (decision.mode, wanted) == ("sleep", Wanted("sleep", 10_000.0))
    obeyed = view(mode="sleep", since=10_010.0)
    assert one(obeyed, 10.0, wanted, plant=10_020.0, settings=USUAL)[0].mode == "sleep"


@pytest.mark.parametrize(("without", "asleep", "awake"), [("hold", "sleep", "eco"), ("run", "normal", "eco")])
def test_price_unknown(without: str, asleep: str, awake: str) -> None:
    settings = replace(PLAIN, without_price=without)
    decision, _ = one(view(mode="sleep"), None, settings=settings)
    assert (decision.mode, decision.reason) == (asleep, Reason.PRICE_UNKNOWN)
    assert one(view(mode="eco"), None, settings=settings)[0].mode == awake


def test_price_unknown_and_sleep_wished_for_still_respects_the_minimum_on_time() -> None:
    settings = replace(USUAL, without_price="sleep")
    assert one(view(mode="normal", since=0.0), None, settings=settings)[0].mode == "sleep"
    held, _ = one(view(mode="normal", since=9_999.0), None, settings=settings)
    assert (held.mode, held.reason) == ("eco", Reason.MINIMUM_ON_TIME)


def test_economics_unknown_holds() -> None:
    decision, _ = one(view(mode="eco"), 500.0, hashprice=None)
    assert (decision.mode, decision.reason, decision.power) == ("eco", Reason.ECONOMICS_UNKNOWN, 2240.0)
    strange = view(modes=(), mode="turbo", power=1234.0, obstacle=Reason.ECONOMICS_UNKNOWN)
    decision, wanted = one(strange, 500.0)
    assert (decision.mode, decision.reason, decision.power) == (UNKNOWN_MODE, Reason.ECONOMICS_UNKNOWN, 1234.0)
    assert wanted is None


@pytest.mark.parametrize("state", [RigState.OFFLINE, RigState.UNKNOWN])
def test_unreachable_counts_as_believed_and_keeps_its_last_mode(state: RigState) -> None:
    rig = view(mode=None, state=state, power=3600.0, obstacle=Reason.UNREACHABLE)
    decision, wanted = one(rig, 500.0, Wanted("normal", 5.0))
    assert (decision.mode, decision.reason, decision.power) == ("normal", Reason.UNREACHABLE, 3600.0)
    assert wanted == Wanted("normal", 5.0)
    assert one(rig, 500.0)[0].mode == UNKNOWN_MODE


def test_contested_is_left_as_it_is_seen() -> None:
    rig = view(mode="eco", obstacle=Reason.CONTESTED)
    decision, wanted = one(rig, 500.0, Wanted("sleep", 5.0))
    assert (decision.mode, decision.reason) == ("eco", Reason.CONTESTED)
    assert wanted == Wanted("sleep", 5.0)


@pytest.mark.parametrize("obstacle", [Reason.OBSERVE_ONLY, Reason.CANARY, Reason.REFUSING])
def test_rigs_that_are_not_commanded_are_decided_for_all_the_same(obstacle: Reason) -> None:
    decision, _ = one(view(mode="normal", obstacle=obstacle), 500.0)
    assert (decision.mode, decision.reason) == ("sleep", Reason.PRICE_ABOVE_BREAK_EVEN)
    assert decision.steps[-1].reason is obstacle


def test_dwell_of_an_observed_rig_goes_by_the_wish() -> None:
    rig = view(mode="normal", since=0.0, obstacle=Reason.OBSERVE_ONLY)
    decision, _ = one(rig, 10.0, Wanted("sleep", 9_900.0), settings=USUAL)
    assert decision.mode == "sleep"


def test_own_efficiency_goes_before_the_nameplate() -> None:
    healthy, broken = view(modes=S21_PLAIN), view(modes=S21_PLAIN, rate=2 / 3)  # one board of three is dead
    assert one(healthy, 70.0)[0].mode == "normal"
    assert one(broken, 70.0)[0].mode == "sleep"
    assert one(broken, 70.0)[0].steps[0].numbers["efficiency_j_per_th"] == pytest.approx((3500 - 25) / 200 * 1.5)


def test_memory_holds_only_rigs_that_exist() -> None:
    memory = PolicyMemory({RigName("gone"): Wanted("normal"), R1: Wanted("normal")})
    _, left = wish([view()], slot(10), economics(), Tariff(), memory, plant_now=0.0, settings=PLAIN)
    assert set(left.rigs) == {R1}


def test_strike_is_the_market_price_at_which_the_median_awake_rig_breaks_even() -> None:
    tariff = TariffConfig(levy_per_kwh=0.01, cooling_percent=5.0).tariff
    rigs = [view("a", mode="normal"), view("b", mode="normal", rate=0.9), view("c", mode="normal", rate=0.5)]
    rigs.append(view("d", mode="sleep", rate=1.5))
    expected = 36.0 / 24 / (17.5 / 0.9) / 1.05 - 0.01
    assert strike(rigs, economics(), tariff) == pytest.approx(expected)
    asleep = 36.0 / 24 / (17.5 / 1.5) / 1.05 - 0.01
    assert strike([rigs[3]], economics(), tariff) == pytest.approx(asleep), "where none is awake, the median of all"
    assert strike([], economics(), tariff) is None
    assert strike(rigs, None, tariff) is None


curves = st.lists(
    st.tuples(st.floats(100, 7000), st.floats(1, 400)), min_size=1, max_size=5, unique_by=lambda point: point[0]
).map(lambda points: curve(*((f"m{place}", *point) for place, point in enumerate(sorted(points)))))


@st.composite
def standing(draw: st.DrawFn) -> tuple[tuple[Mode, ...], str]:
    modes = draw(curves)
    return modes, draw(st.sampled_from([mode.name for mode in modes]))


@given(standing(), st.lists(st.floats(-200, 500), min_size=2, max_size=8), st.floats(10, 100))
def test_power_never_rises_with_the_price(
    rig: tuple[tuple[Mode, ...], str], prices: list[float], hashprice: float
) -> None:
    modes, mode = rig
    powers = [
        one(
            view(modes=modes, mode=mode),
            price,
            settings=replace(USUAL, minimum_on=0, minimum_off=0),
            hashprice=hashprice,
        )[0].power
        for price in sorted(prices)
    ]
    assert powers == sorted(powers, reverse=True)


@given(curves, st.floats(1, 300), st.floats(10, 100), st.sampled_from([0.5, 2.0, 8.0]))
def test_scaling_hashprice_and_price_together_changes_nothing(
    modes: tuple[Mode, ...], price: float, hashprice: float, factor: float
) -> None:
    rig = view(modes=modes)
    assert (
        one(rig, price, hashprice=hashprice)[0].mode == one(rig, price * factor, hashprice=hashprice * factor)[0].mode
    )


@given(curves, st.floats(-200, 300), st.floats(10, 100))
def test_without_hysteresis_the_best_mode_is_chosen(modes: tuple[Mode, ...], price: float, hashprice: float) -> None:
    market = economics(hashprice)
    chosen = one(view(modes=modes), price, hashprice=hashprice)[0].mode
    value = next(market.value(mode, price / 1000) for mode in modes if mode.name == chosen)
    assert value == pytest.approx(max(market.value(mode, price / 1000) for mode in modes), abs=1e-6)


@given(curves, st.floats(-0.5, -0.001))
def test_negative_prices_ask_for_the_highest_power(modes: tuple[Mode, ...], price: float) -> None:
    rates = sorted(mode.hashrate for mode in modes)
    rising = tuple(replace(mode, hashrate=rate) for mode, rate in zip(modes, rates, strict=True))
    assert one(view(modes=rising), price * 1000)[0].power == rising[-1].power
