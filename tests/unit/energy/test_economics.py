"""Hashprice, break-even, tariff and curve against the figures that the field computes them with."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.curve import curve_of
from controller.economics import Economics, EconomicsConfig, hashprice
from controller.tariff import Tariff, TariffConfig
from shedload.units import TERA, JoulesPerTerahash
from tests.support.energy import S19J_PRO, S21, VECTORS, curve, economics, view

EFFICIENCIES = (13.5, 15.0, 17.5, 19.0, 21.5, 26.0, 29.5, 31.0, 34.2)
BREAK_EVEN_USD_PER_MWH = {
    30: (92.6, 83.3, 71.4, 65.8, 58.1, 48.1, 42.4, 40.3, 36.5),
    36: (111.1, 100.0, 85.7, 78.9, 69.8, 57.7, 50.8, 48.4, 43.9),
    40: (123.5, 111.1, 95.2, 87.7, 77.5, 64.1, 56.5, 53.8, 48.7),
    50: (154.3, 138.9, 119.0, 109.6, 96.9, 80.1, 70.6, 67.2, 60.9),
    60: (185.2, 166.7, 142.9, 131.6, 116.3, 96.2, 84.7, 80.6, 73.1),
}


def configured(**keys: object) -> Economics:
    return EconomicsConfig.model_validate(keys).economics


def test_hashprice_from_first_principles() -> None:
    assert hashprice(141.67e12, 3.125, 0.0, 78_600.0) == pytest.approx(0.034878, abs=5e-7)
    assert configured(difficulty=141.67e12, btc_price=78_600.0).hashprice_per_ph_day == pytest.approx(34.878, abs=5e-4)


def test_fees_of_blocks_add_to_the_subsidy() -> None:
    without = configured(difficulty=1e14, btc_price=60_000.0)
    with_fees = configured(difficulty=1e14, btc_price=60_000.0, fees_btc_per_block=0.3125)
    assert with_fees.hashprice_per_th_day == pytest.approx(without.hashprice_per_th_day * 1.1)


@pytest.mark.parametrize("per_ph_day", BREAK_EVEN_USD_PER_MWH)
def test_break_even_table(per_ph_day: int) -> None:
    market = economics(per_ph_day)
    computed = [market.break_even(JoulesPerTerahash(each)) * 1000 for each in EFFICIENCIES]
    assert computed == pytest.approx(BREAK_EVEN_USD_PER_MWH[per_ph_day], abs=0.051)


@pytest.mark.parametrize(("joules", "at_meter"), [(17.5, 79.9), (21.5, 65.1), (29.5, 47.4)])
def test_break_even_at_the_meter_with_fees_losses_and_cooling(joules: float, at_meter: float) -> None:
    market = configured(hashprice_per_ph_day=36.0, pool_fee_percent=1.0, lost_percent=1.0)
    tariff = TariffConfig(loss_percent=2.0, cooling_percent=3.0).tariff
    price = tariff.market_price(market.break_even(JoulesPerTerahash(joules)))
    assert price * 1000 == pytest.approx(at_meter, abs=0.051)


def test_levy_decides_between_night_and_day_in_kazakhstan() -> None:
    market = Economics(0.036 * 500)  # KZT at 500 to the dollar
    tariff = TariffConfig(levy_per_kwh=1.0).tariff
    s21 = market.break_even(JoulesPerTerahash(17.5))
    assert s21 == pytest.approx(42.9, abs=0.05)
    assert tariff.at_rig(26.0) == 27.0 < s21 < 47.0 == tariff.at_rig(46.0)
    assert market.break_even(JoulesPerTerahash(29.5)) < tariff.at_rig(26.0)


def test_tariff_stack() -> None:
    config = TariffConfig(
        multiplier=1.02,
        supplier_per_kwh=0.004,
        network_per_kwh=0.02,
        levy_per_kwh=0.001,
        vat_percent=20.0,
        credit_per_kwh=0.01,
        loss_percent=2.0,
        cooling_percent=4.0,
    )
    meter = (0.05 * 1.02 + 0.004 + 0.02 + 0.001) * 1.2 - 0.01
    assert config.tariff.at_meter(0.05) == pytest.approx(meter)
    assert config.tariff.at_rig(0.05) == pytest.approx(meter * 1.04 / 0.98)


@given(
    st.floats(-1, 5),
    st.builds(Tariff, st.floats(0.1, 3), st.floats(-1, 1), st.floats(1, 2)),
)
def test_market_price_is_the_way_back(price: float, tariff: Tariff) -> None:
    assert tariff.market_price(tariff.at_rig(price)) == pytest.approx(price, abs=1e-9)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"difficulty": 1e14},
        {"btc_price": 60_000.0},
        {"hashprice_per_ph_day": 40.0, "difficulty": 1e14},
        {"hashprice_per_ph_day": 0.0},
        {"hashprice_per_ph_day": float("nan")},
        {"hashprice_per_ph_day": 40.0, "pool_fee_percent": 100.0},
        {"hashprice_per_ph_day": 40.0, "hashprice": 40.0},
    ],
)
def test_refuses_economics_that_say_nothing_or_too_much(keys: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        EconomicsConfig.model_validate(keys)


def test_marginal_steps_of_a_measured_rig() -> None:
    sleep, low, factory, overclock = S19J_PRO
    market = economics(38.0)
    shape = curve_of(S19J_PRO)
    assert [mode.name for mode in shape.modes] == ["sleep", "low", "oc"]  # factory lies below the line
    assert TERA / shape.gains[2] == pytest.approx(39.18, abs=0.01)
    assert market.step_break_even(low, overclock) == pytest.approx(0.0404, abs=5e-5)
    assert market.step_break_even(low, factory) == pytest.approx(0.0360, abs=5e-5)
    assert market.step_break_even(overclock, low) is None
    at_52 = [market.value(mode, 0.052) for mode in (overclock, factory, low)]
    assert at_52 == pytest.approx([0.00505, 0.0038, 0.0189], abs=5e-5)
    assert market.value(low, 0.055) == pytest.approx(0.0132, abs=5e-5)
    assert market.value(sleep, 0.052) < 0


def test_hull_order_of_the_reference_segments() -> None:
    vector = json.loads((VECTORS / "energy" / "01_single_interval_laminar_caps.json").read_text())
    market = Economics(vector["hashprice_usd_per_th_day"])
    for segment in vector["solution"]["segments_by_slope"]:
        kind = next(each for each in vector["classes"] if each["id"] == segment["class"])
        modes = {mode["id"]: curve((mode["id"], mode["w"], mode["th"]))[1] for mode in kind["modes"]}
        step = market.step_break_even(modes[segment["from"]], modes[segment["to"]])
        assert step is not None
        assert step - vector["price_usd_per_kwh"] == pytest.approx(segment["net_usd_per_kwh"], abs=1e-6)


points = st.lists(st.tuples(st.floats(30, 8000), st.floats(0.1, 400)), min_size=1, max_size=8)


@given(points)
def test_hull_rises_bends_down_and_covers(found: list[tuple[float, float]]) -> None:
    modes = curve(*((f"m{number}", watts, rate) for number, (watts, rate) in enumerate(found)))
    shape = curve_of(modes)
    powers = [mode.power for mode in shape.modes]
    assert powers == sorted(set(powers))
    assert list(shape.gains[1:]) == sorted(shape.gains[1:], reverse=True)
    for price in (-0.05, 0.0, 0.02, 0.08, 0.3):
        market = economics()
        best = max(market.value(mode, price) for mode in modes)
        assert max(market.value(mode, price) for mode in shape.modes) == pytest.approx(best, abs=1e-9)


def test_own_efficiency_corrects_the_curve_unless_it_is_absurd() -> None:
    shape = curve_of(S21)
    assert shape.correction(None) == 1.0
    assert shape.correction(view(modes=S21, rate=0.8).efficiency) == pytest.approx(0.8)
    assert shape.correction(view(modes=S21, rate=0.1).efficiency) == 1.0
