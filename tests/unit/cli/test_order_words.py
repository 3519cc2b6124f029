"""Limits as people write them, and what an order would mean before it is given."""

import pytest

from controller.cli.order import limit_of, preview, sleepers
from controller.cli.reasons import PLAIN, SENTENCES, sentence
from controller.cli.trouble import Trouble
from controller.plan import Reason


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("40kW", {"limit_kw": 40.0}),
        ("40 kw", {"limit_kw": 40.0}),
        ("1.2MW", {"limit_kw": 1200.0}),
        ("900 W", {"limit_kw": 0.9}),
        ("0kW", {"limit_kw": 0.0}),
        ("60%", {"limit_percent": 60.0}),
        ("12,5 kW", {"limit_kw": 12.5}),
    ],
)
def test_limits(text: str, body: dict[str, float]) -> None:
    assert limit_of(text) == pytest.approx(body)


@pytest.mark.parametrize("text", ["", "40", "kW", "-4kW", "40kWh", "forty", "1e3kW", "nan%", "40kW 50kW"])
def test_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Trouble, match="no limit\nWrite one such as 40kW") as caught:
        limit_of(text)
    assert caught.value.code == 2


def rig(power: float, efficiency: float, state: str = "hashing", obstacle: str | None = None) -> dict[str, object]:
    return {"state": state, "obstacle": obstacle, "power_w": power, "efficiency_j_per_th": efficiency}


def test_the_least_efficient_sleep_first_and_what_cannot_be_had_is_told() -> None:
    rigs = [rig(3000, 20), rig(3500, 30), rig(3200, 25, obstacle="observe_only"), rig(50, 35, state="asleep")]
    assert sleepers(rigs, 3000) == (1, 0.0)
    assert sleepers(rigs, 3600) == (2, 0.0)
    assert sleepers(rigs, 7000) == (2, 500.0)


def test_a_preview_says_what_it_takes() -> None:
    status = {"power": {"meter_w": 10_000.0, "estimated_w": 9000.0, "cap_w": 20_000.0}}
    told = preview(status, 7000.0, [rig(3000, 20), rig(3500, 30)])
    assert (
        told == "The site draws 10.0 kW of 20.0 kW allowed. To come under 7.0 kW about 1 of 2 rigs would have to sleep."
    )
    assert "would remain" in preview(status, 100.0, [rig(3000, 20)])
    assert "only later" in preview(status, 15_000.0, [])


def test_every_reason_has_words() -> None:
    assert {*SENTENCES, *PLAIN} == set(Reason)


def test_the_numbers_that_decided_stand_in_the_sentence() -> None:
    numbers = {
        "price_per_kwh": 0.0995,
        "price_at_rig_per_kwh": 0.1046,
        "hashprice_per_ph_day": 45.0,
        "break_even_per_kwh": 0.0641,
        "threshold_per_kwh": 0.0609,
        "efficiency_j_per_th": 29.25,
    }
    told = sentence("price_above_break_even", "sleep", numbers, "EUR")
    for part in ("0.0995 EUR/kWh", "0.1046", "0.0641", "0.0609", "29.2 J/TH", "45 EUR/PH/day"):
        assert part in told
    assert "Order 3 allows 40.0 kW" in sentence("order", "sleep", {"limit_w": 4e4, "left_w": 0, "order": 3.0}, "EUR")


@pytest.mark.parametrize("reason", list(Reason))
def test_no_sentence_needs_its_numbers(reason: Reason) -> None:
    assert sentence(reason, "sleep", {}, "EUR")
