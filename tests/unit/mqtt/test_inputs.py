"""What is heard: bounds, counts by cause, and who is told."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.meter import SiteMeter
from controller.mqtt_inputs import (
    MAX_METER_BYTES,
    MAX_PRICE_BYTES,
    Implausible,
    MeterInput,
    PriceInput,
    plausible_watts,
)
from controller.prices.series import PriceSeries
from controller.settings import HttpMeter, MqttMeter
from shedload.units import Watts


def meter_input(**changes: Any) -> tuple[MeterInput, SiteMeter]:
    meter = SiteMeter(lambda: 0.0, max_age=30.0)
    return MeterInput("site/meter", MqttMeter(source="mqtt", **changes), meter), meter


@pytest.mark.parametrize(
    ("changes", "payload", "watts"),
    [
        ({}, b"1500", 1500.0),
        ({"unit": "kW"}, b" 1.5 ", 1500.0),
        ({"unit": "MW", "scale": -1}, b"-0.5", 500_000.0),
        ({"field": "a.b", "scale": 40}, b'{"a":{"b":10}}', 400.0),
        ({}, b"-20", -20.0),
        ({}, b"0", 0.0),
    ],
)
def test_readings_become_watts(changes: dict[str, Any], payload: bytes, watts: float) -> None:
    source, meter = meter_input(**changes)
    source.heard(payload, retained=False)
    assert (meter.power, source.accepted, meter.failures) == (watts, 1, 0)


def test_a_bad_reading_leaves_the_last_good_one_to_age() -> None:
    source, meter = meter_input()
    source.heard(b"1500", retained=False)
    for payload in (b"NaN", b"unavailable", b"", b"{}", b"1e300"):
        source.heard(payload, retained=False)
    assert meter.power == 1500.0
    assert (source.rejected["garbled"], source.rejected["implausible"], meter.failures) == (4, 1, 5)


def test_a_kept_reading_is_none_and_no_failure_of_the_meter() -> None:
    source, meter = meter_input()
    source.heard(b"1500", retained=True)
    assert (meter.power, meter.failures, source.rejected["retained"]) == (None, 0, 1)


def test_a_long_message_is_not_even_read() -> None:
    source, meter = meter_input()
    source.heard(b" " * MAX_METER_BYTES + b"1", retained=False)
    assert (meter.power, meter.failures, source.rejected["too_long"]) == (None, 1, 1)


def test_the_log_hears_of_each_cause_once() -> None:
    source, _ = meter_input()
    with capture_logs() as logs:
        for _ in range(5):
            source.heard(b"x", retained=False)
            source.heard(b"1", retained=True)
    assert [entry["cause"] for entry in logs] == ["garbled", "retained"]
    assert source.rejected["garbled"] == 5


def test_every_cause_is_counted_from_the_start() -> None:
    source, _ = meter_input()
    assert set(source.rejected.values()) == {0}


def test_the_http_meter_shares_the_bounds() -> None:
    settings = HttpMeter(source="http", url="http://192.0.2.1/", unit="kW")
    assert plausible_watts(settings, 1.5) == Watts(1500.0)
    with pytest.raises(Implausible):
        plausible_watts(settings, 3e9)


def test_prices_too_long_to_be_read() -> None:
    taken: list[PriceSeries] = []
    source = PriceInput("p", "EUR", taken.append, lambda: datetime(2025, 1, 5, tzinfo=UTC))
    source.heard(b" " * (MAX_PRICE_BYTES + 1), retained=False)
    source.heard(b"[]", retained=False)
    assert (taken, source.rejected["too_long"], source.rejected["shape"]) == ([], 1, 1)


@given(st.binary(max_size=100), st.booleans(), st.sampled_from([None, "a", "a.b"]))
def test_any_message_is_taken_or_counted(payload: bytes, retained: bool, field: str | None) -> None:
    source, _ = meter_input(field=field)
    source.heard(payload, retained)
    assert source.accepted + sum(source.rejected.values()) == 1
