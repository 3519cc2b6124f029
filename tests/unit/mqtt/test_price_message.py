"""Prices out of messages: all of one, or the reason why not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.price_message import MAX_SLOTS, PRICE_CAUSES, PriceRefused, read_prices

NOW = datetime(2025, 1, 5, 10, 7, tzinfo=UTC)


def slot(hour: int = 10, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "start": f"2025-01-05T{hour:02}:00:00Z",
        "end": f"2025-01-05T{hour + 1:02}:00:00Z",
        "price": 0.08,
        "currency": "EUR",
    }
    row.update(changes)
    return {key: value for key, value in row.items() if value is not ...}


def cause_of(message: Any, currency: str = "EUR") -> str:
    raw = message if isinstance(message, bytes) else orjson.dumps(message)
    with pytest.raises(PriceRefused) as caught:
        read_prices(raw, currency, NOW)
    assert caught.value.cause in PRICE_CAUSES
    return caught.value.cause


def test_a_list_of_slots_in_any_order() -> None:
    series = read_prices(orjson.dumps([slot(12, price=-0.05), slot(10), slot(11, price=0)]), "EUR", NOW)
    assert [(s.start.hour, s.price) for s in series] == [(10, 0.08), (11, 0.0), (12, -0.05)]
    assert {s.kind for s in series} == {"real_time"}


def test_an_object_states_for_all_what_its_slots_leave_out() -> None:
    message = {
        "currency": "EUR",
        "unit": "EUR/kWh",
        "kind": "day_ahead",
        "slots": [slot(10, currency=...), slot(11, currency=..., kind="forecast", unit="kWh")],
    }
    series = read_prices(orjson.dumps(message), "EUR", NOW)
    assert [s.kind for s in series] == ["day_ahead", "forecast"]


def test_times_with_an_offset_are_taken_to_utc() -> None:
    row = slot(start="2025-01-05T15:00:00+05:00", end="2025-01-05t10:15:00.000z")
    (only,) = read_prices(orjson.dumps([row]), "EUR", NOW)
    assert (only.start, only.end) == (NOW.replace(minute=0), NOW.replace(minute=15))


def test_the_gap_between_slots_stays_a_gap() -> None:
    series = read_prices(orjson.dumps([slot(10), slot(12)]), "EUR", NOW)
    assert series.at(NOW + timedelta(hours=1)) is None


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        *((b"", "not_json"), (b"{", "not_json"), (b'[{"price":NaN}]', "not_json"), (b"0.08", "shape")),
        *(([], "shape"), ({}, "shape"), ({"slots": []}, "shape"), ({"slots": "abc"}, "shape"), (["x"], "shape")),
        *(([slot(kind="guess")], "shape"), ([slot(kind=5)], "shape"), (None, "shape")),
        *(([slot(currency="USD")], "currency"), ([slot(currency=...)], "currency"), ([slot(currency=1)], "currency")),
        *(([slot(unit="MWh")], "unit"), ([slot(unit="USD/kWh")], "unit"), ([slot(unit=["kWh"])], "unit")),
        ([slot(price=80.0)], "unit"),  # a price per MWh
        *(([slot(price="0.08")], "price"), ([slot(price=None)], "price"), ([slot(price=True)], "price")),
        *(([slot(price=...)], "price"), (b'[{"currency":"EUR","price":1e999}]', "not_json")),
        *(([slot(start="2025-01-05T10:00:00")], "time"), ([slot(start="2025-01-05")], "time")),
        *(([slot(start=1736071200)], "time"), ([slot(start="2025-02-30T10:00:00Z")], "time")),
        *(([slot(end="2025-01-05T10:00:00Z")], "time"), ([slot(end="2025-01-05T09:00:00Z")], "time")),
        *(([slot(end="2025-01-05T10:00:30Z")], "time"), ([slot(start="0001-01-01T00:00:00+23:00")], "time")),
        ([slot(start="\u0662025-01-05T10:00:00Z")], "time"),
        *(([slot(10), slot(10)], "overlap"), ([slot(10), slot(10, start="2025-01-05T10:30:00Z")], "overlap")),
        ([slot(start="2024-12-01T10:00:00Z", end="2024-12-01T11:00:00Z")], "horizon"),
        ([slot(start="2025-12-01T10:00:00Z", end="2025-12-01T11:00:00Z")], "horizon"),
        ([slot()] * (MAX_SLOTS + 1), "too_many"),
        ([slot(10), slot(11), slot(12, price=None)], "price"),  # the good ones do not save the message
    ],
)
def test_what_is_refused_and_why(message: Any, cause: str) -> None:
    assert cause_of(message) == cause


def test_a_currency_without_known_bounds_takes_its_own_numbers() -> None:
    (only,) = read_prices(orjson.dumps([slot(price=21.5, currency="KZT")]), "KZT", NOW)
    assert (only.price, only.currency) == (21.5, "KZT")


def test_the_reason_quotes_little_of_what_came() -> None:
    with pytest.raises(PriceRefused) as caught:
        read_prices(orjson.dumps([slot(start="x" * 10_000)]), "EUR", NOW)
    assert len(str(caught.value)) <= 200


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=30) | st.just("2025-01-05T10:00:00Z"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["start", "end", "price", "currency", "unit", "kind", "slots"]), inner, max_size=7
        )
    ),
    max_leaves=20,
)


@given(json_values | st.lists(st.fixed_dictionaries(dict.fromkeys(("start", "end", "price"), json_values))))
def test_any_json_is_prices_or_refused(message: Any) -> None:
    assert outcome(orjson.dumps(message)) in {"taken", *PRICE_CAUSES}


@given(st.binary(max_size=300))
def test_any_bytes_are_prices_or_refused(raw: bytes) -> None:
    assert outcome(raw) in {"taken", *PRICE_CAUSES}


def outcome(raw: bytes) -> str:
    try:
        read_prices(raw, "EUR", NOW)
    except PriceRefused as error:
        return error.cause
    return "taken"
