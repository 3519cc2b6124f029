"""Fixed and time-of-use prices: every minute has one price, on days of 23 and 25 hours too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controller.prices import FixedPrice, PriceConfig, PriceSeries, SchedulePrice, open_source
from controller.prices.day_rules import days_of, months_of, spans_of
from controller.prices.schedule import unroll
from shedload.errors import ConfigError

KARAGANDA = {"source": "schedule", "rules": [{"price_per_kwh": 46.0}, {"price_per_kwh": 26.0, "hours": "00:00-10:00"}]}


def configured(keys: dict[str, object]) -> SchedulePrice:
    return SchedulePrice.model_validate(keys, strict=False)


def parsed(keys: dict[str, object]) -> FixedPrice | SchedulePrice:
    adapter: TypeAdapter[FixedPrice | SchedulePrice] = TypeAdapter(PriceConfig)
    return adapter.validate_python(keys, strict=False)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def test_fixed_price_holds_now_and_tomorrow() -> None:
    source = open_source(parsed({"source": "fixed", "price_per_kwh": -0.01}), "EUR", "Europe/Berlin")
    now = utc("2026-03-29T13:45")
    series = await source.fetch(now)
    for hours in (0, 24, 47):
        slot = series.at(now + timedelta(hours=hours))
        assert slot is not None
        assert (slot.price, slot.currency) == (-0.01, "EUR")


@pytest.mark.parametrize("price", [45.0, -3.0])
def test_price_per_mwh_written_as_per_kwh_is_refused(price: float) -> None:
    with pytest.raises(ConfigError, match="a thousand times"):
        open_source(parsed({"source": "fixed", "price_per_kwh": price}), "EUR", "UTC")
    rules = [{"price_per_kwh": 0.1}, {"price_per_kwh": price, "hours": "10:00-11:00"}]
    with pytest.raises(ConfigError, match="rules, number 2"):
        open_source(parsed({"source": "schedule", "rules": rules}), "EUR", "UTC")


def test_tenge_per_kwh_are_no_wrong_unit() -> None:
    open_source(parsed({"source": "fixed", "price_per_kwh": 46.0}), "KZT", "Asia/Almaty")


@pytest.mark.parametrize("keys", [{"source": "fixed", "price_per_kwh": 0.1}, KARAGANDA])
def test_wrong_currency_is_refused(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="currency"):
        open_source(parsed({**keys, "currency": "EUR"}), "KZT", "UTC")


async def test_night_and_day_in_almaty() -> None:
    source = open_source(configured(KARAGANDA), "KZT", "Asia/Almaty")
    series = await source.fetch(utc("2026-06-01T12:00"))  # 17:00 there
    assert [(slot.start, slot.end, slot.price) for slot in list(series)[:3]] == [
        (utc("2026-05-31T19:00"), utc("2026-06-01T05:00"), 26.0),
        (utc("2026-06-01T05:00"), utc("2026-06-01T19:00"), 46.0),
        (utc("2026-06-01T19:00"), utc("2026-06-02T05:00"), 26.0),
    ]
    assert {slot.kind for slot in series} == {"schedule"}


async def test_local_day_of_one_zone_change() -> None:
    """1 March 2024: Almaty went from UTC+6 to UTC+5."""
    source = open_source(configured(KARAGANDA), "KZT", "Asia/Almaty")
    series = await source.fetch(utc("2024-02-29T03:00"))
    days = [slot for slot in series if slot.start < utc("2024-02-29T19:00")]
    assert days[0].start == utc("2024-02-28T18:00")
    assert days[-1].end == utc("2024-02-29T19:00")


HOURLY = [{"price_per_kwh": float(hour), "hours": f"{hour:02}:00-{hour + 1:02}:00"} for hour in range(24)]


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Europe/Berlin", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Europe/Stockholm", "2027-03-27T23:00", "2027-03-28T22:00"),
        ("Europe/Stockholm", "2027-10-30T22:00", "2027-10-31T23:00"),
        ("America/Chicago", "2026-03-08T06:00", "2026-03-09T05:00"),
        ("America/Chicago", "2026-11-01T05:00", "2026-11-02T06:00"),
        ("Australia/Sydney", "2026-04-04T13:00", "2026-04-05T14:00"),
        ("Asia/Almaty", "2024-02-28T18:00", "2024-02-29T19:00"),
    ],
)
def test_days_of_23_and_25_hours(zone: str, start: str, end: str) -> None:
    first, last = utc(start), utc(end)
    config = configured({"source": "schedule", "rules": HOURLY})
    series = PriceSeries(unroll(config, ZoneInfo(zone), first, last, "XXX"))
    instant = first
    while instant < last:
        slot = series.at(instant)
        assert slot is not None
        assert slot.price == instant.astimezone(ZoneInfo(zone)).hour
        instant += timedelta(minutes=15)
    assert series.valid_until == last
    assert len(series) == {23: 23, 25: 24}[int((last - first) / timedelta(hours=1))]


@given(
    st.sampled_from(["Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"]),
    st.integers(0, 3 * 366 * 1440),
    st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 1439)), min_size=1, max_size=4),
    st.integers(0, 72 * 60),
)
def test_every_instant_has_the_price_of_its_wall_time(
    zone: str, start: int, spans: list[tuple[int, int]], minutes: int
) -> None:
    rules: list[dict[str, object]] = [{"price_per_kwh": 0.0}]
    for place, (begin, end) in enumerate(spans, 1):
        if begin != end:
            hours = f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"
            rules.append({"price_per_kwh": float(place), "hours": hours, "days": "Sat-Mon"})
    config = configured({"source": "schedule", "rules": rules})
    first = utc("2024-01-01") + timedelta(minutes=start)
    series = PriceSeries(unroll(config, ZoneInfo(zone), first, first + timedelta(days=3, minutes=1), "XXX"))
    instant = first + timedelta(minutes=minutes)
    local = instant.astimezone(ZoneInfo(zone))
    slot = series.at(instant)
    assert slot is not None
    assert slot.price == config.price_at(local.month - 1, local.weekday(), local.hour * 60 + local.minute)


def test_last_match_wins() -> None:
    rules = [
        {"price_per_kwh": 1.0},
        {"price_per_kwh": 2.0, "days": "Mon-Fri", "hours": "07:00-22:00"},
        {"price_per_kwh": 3.0, "months": "Nov-Feb", "days": "Mon-Fri", "hours": "17:00-19:00"},
        {"price_per_kwh": 4.0, "months": "6-9", "hours": "14:00-20:00"},
    ]
    config = configured({"source": "schedule", "rules": rules})
    assert config.price_at(0, 0, 18 * 60) == 3.0
    assert config.price_at(2, 0, 18 * 60) == 2.0
    assert config.price_at(6, 6, 18 * 60) == 4.0
    assert config.price_at(6, 6, 20 * 60) == 1.0


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"price_per_kwh": 1.0, "hours": "06:00-24:00"}], "no price for Mon 00:00 in Jan"),
        ([{"price_per_kwh": 1.0, "days": "Mon-Sat"}], "no price for Sun 00:00 in Jan"),
        ([{"price_per_kwh": 1.0, "months": "Jan-Nov"}], "no price for Mon 00:00 in Dec"),
        ([{"price_per_kwh": 1.0, "hours": "00:00-12:00, 12:01-24:00"}], "no price for Mon 12:00 in Jan"),
        ([], "at least 1"),
        ([{"price_per_kwh": 1.0, "hours": "7-22"}], "not a span of hours"),
        ([{"price_per_kwh": 1.0, "hours": "07:60-08:00"}], "not a time of day"),
        ([{"price_per_kwh": 1.0, "hours": "24:01-08:00"}], "not a time of day"),
        ([{"price_per_kwh": 1.0, "hours": "08:00-08:00"}], "no time at all"),
        ([{"price_per_kwh": 1.0, "days": "Mo-Fr"}], "none of Mon"),
        ([{"price_per_kwh": 1.0, "months": "0-13"}], "none of Jan"),
        ([{"price_per_kwh": 1.0, "hour": "07:00-08:00"}], "Extra inputs"),
        ([{"price_per_kwh": float("nan")}], "finite"),
    ],
)
def test_refuses_rules_that_leave_a_minute_out_or_cannot_be_read(rules: list[object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        configured({"source": "schedule", "rules": rules})


def test_words_of_the_calendar() -> None:
    assert spans_of("22:00-06:00, 12:00-13:30") == ((1320, 1440), (0, 360), (720, 810))
    assert spans_of("22:00-24:00") == ((1320, 1440),)
    assert spans_of("22:00-00:00") == ((1320, 1440),)
    assert days_of("fri-Mon") == {4, 5, 6, 0}
    assert days_of("Mon, Wed") == {0, 2}
    assert months_of("11-2") == {10, 11, 0, 1}
    assert months_of(None) == set(range(12))
