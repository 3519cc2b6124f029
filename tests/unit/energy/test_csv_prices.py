"""Price files: real ones load as they are; what cannot be right is refused with file and line."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.prices import open_source
from controller.prices.csv_file import CsvPrice, CsvSource, load, parse
from controller.prices.merge import gaps
from controller.prices.series import PriceSeries
from shedload.errors import ConfigError
from tests.support.energy import VECTORS


def config(**keys: object) -> CsvPrice:
    given_keys = {
        "source": "csv",
        "file": "prices.csv",
        "start_column": "start",
        "price_columns": ["price"],
        "unit": "MWh",
        "currency": "EUR",
        **keys,
    }
    return CsvPrice.model_validate(given_keys, strict=False)


def read(text: str, **keys: object) -> PriceSeries:
    return parse(text, "prices.csv", config(**keys))


def refused(text: str, **keys: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, **keys)
    assert caught.value.remedy
    return str(caught.value)


def blamed(text: str, **keys: object) -> str | None:
    """Where a file is wrong, None where it can be read."""
    try:
        read(text, **keys)
    except ConfigError as error:
        return error.where if error.remedy else "no remedy"
    return None


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rows(*starts: str, price: str = "40") -> str:
    return "start,price\n" + "".join(f"{start},{price}\n" for start in starts)


def test_two_years_of_swedish_prices() -> None:
    name = VECTORS / "prices" / "se3_se4_dayahead_hourly_2023_2024.csv"
    series = load(name, config(start_column="hour_start_utc", price_columns=["se3_eur_per_mwh"]))
    prices = [slot.price * 1000 for slot in series]
    assert len(prices) == 17_544
    assert gaps(series) == ()
    assert {slot.end - slot.start for slot in series} == {timedelta(hours=1)}
    assert sum(prices) / len(prices) == pytest.approx(43.73, abs=0.005)
    assert (min(prices), max(prices)) == pytest.approx((-60.04, 707.52))
    assert sum(price < 0 for price in prices) / len(prices) == pytest.approx(0.062, abs=0.0005)
    assert next(iter(series)).start == utc("2022-12-31T23:00")
    assert series.valid_until == utc("2024-12-31T23:00")


TEXAS = {
    "start_column": "local_time_central",
    "price_columns": ["rtm_usd_per_mwh"],
    "currency": "USD",
    "kind": "real_time",
    "timezone": "America/Chicago",
}


def test_texas_without_its_invented_rows() -> None:
    name = VECTORS / "prices" / "ercot_hb_south_15min_20240601_20250327.csv"
    series = load(name, config(**TEXAS, skip_where={"interpolated": "1"}))
    assert len(series) == 28_700
    assert {slot.end - slot.start for slot in series} == {timedelta(minutes=15)}
    # the whole day of 25 hours is a gap; the hour that the clock leaps over never was
    assert gaps(series) == ((utc("2024-11-03T05:00"), utc("2024-11-04T06:00")),)
    assert max(slot.price for slot in series) == pytest.approx(4.85782)


def test_texas_with_its_invented_rows_is_refused_at_the_clock_change() -> None:
    name = VECTORS / "prices" / "ercot_hb_south_15min_20240601_20250327.csv"
    with pytest.raises(ConfigError, match=r":14886: 2024-11-03 01:00 happens twice in America/Chicago"):
        load(name, config(**TEXAS))
    with pytest.raises(ConfigError, match=r":26986: 2025-03-09 02:00 does not exist in America/Chicago"):
        load(name, config(**TEXAS, repeated_hour="in_order"))


def test_file_without_header_in_price_per_kwh() -> None:
    name = VECTORS / "prices" / "emhass_load_cost_30min_20250224_mit.csv"
    series = load(name, config(start_column=1, price_columns=[2], header=False, unit="kWh"))
    assert len(series) == 144
    assert next(iter(series)).price == 0.1419
    assert {slot.end - slot.start for slot in series} == {timedelta(minutes=30)}


def test_sum_of_columns_semicolons_and_decimal_commas() -> None:
    text = "von;energie;netz\n25.10.2026 12:00;61,12;10\n25.10.2026 12:15;-1,5;10\n"
    series = read(
        text,
        start_column="von",
        price_columns=["energie", "netz"],
        delimiter=";",
        decimal=",",
        timezone="Europe/Berlin",
        time_format="%d.%m.%Y %H:%M",
    )
    assert [slot.price for slot in series] == pytest.approx([0.07112, 0.0085])
    assert [slot.start for slot in series] == [utc("2026-10-25T11:00"), utc("2026-10-25T11:15")]


def test_gap_stays_a_gap() -> None:
    series = read(rows("2026-01-01T00:00Z", "2026-01-01T01:00Z", "2026-01-01T04:00Z", "2026-01-01T05:00Z"))
    assert gaps(series) == ((utc("2026-01-01T02:00"), utc("2026-01-01T04:00")),)
    assert series.at(utc("2026-01-01T02:30")) is None
    assert series.valid_until == utc("2026-01-01T06:00")


@pytest.mark.parametrize(("first", "second"), [(60, 15), (15, 60), (30, 5)])
def test_market_that_changes_its_resolution(first: int, second: int) -> None:
    start = utc("2025-09-30T20:00")
    change = start + timedelta(hours=6)
    instants = [start + timedelta(minutes=first * place) for place in range(6 * 60 // first)]
    instants += [change + timedelta(minutes=second * place) for place in range(6 * 60 // second)]
    series = read(rows(*(instant.isoformat() for instant in instants)))
    assert gaps(series) == ()
    for slot in series:
        assert slot.end - slot.start == timedelta(minutes=first if slot.start < change else second)


def test_repeated_hour_in_order() -> None:
    text = rows("2026-10-25 01:00", "2026-10-25 02:00", "2026-10-25 02:00", "2026-10-25 03:00")
    series = read(text, timezone="Europe/Berlin", repeated_hour="in_order")
    assert [slot.start.hour for slot in series] == [23, 0, 1, 2]
    assert gaps(series) == ()


def test_spring_day_has_no_gap() -> None:
    series = read(rows("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 03:00"), timezone="Europe/Berlin")
    assert gaps(series) == ()


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        (rows("2026-01-01T01:00Z", "2026-01-01T00:00Z"), {}, "prices.csv:3: 2026-01-01T00:00Z is earlier than line 2"),
        (rows("2026-01-01T01:00Z", "2026-01-01T02:00+01:00"), {}, "prices.csv:3: .*has a price already in line 2"),
        (rows("2026-01-01T00:00Z", "2026-01-01T00:07Z"), {}, "prices.csv:3: starts 7 minutes after"),
        (rows("2026-01-01T00:00Z", "2026-01-01T00:30Z"), {"resolution_minutes": 60}, "prices.csv:3: .*overlap"),
        (rows("2026-01-01T00:00Z"), {}, "prices.csv:2: is the only row"),
        (rows("2026-01-01 00:00"), {}, "prices.csv:2: 2026-01-01 00:00 has no offset"),
        (rows("2026-13-01T00:00Z"), {}, 'prices.csv:2: "2026-13-01T00:00Z" is not a time'),
        (rows("2026-01-01T00:00:30Z"), {}, "prices.csv:2: .*full minute"),
        (rows("2026-03-29 02:30"), {"timezone": "Europe/Berlin"}, "prices.csv:2: .*does not exist in Europe/Berlin"),
        (rows("2026-10-25 02:30"), {"timezone": "Europe/Berlin"}, "prices.csv:2: .*happens twice in Europe/Berlin"),
        ("start,price\n", {}, "prices.csv: has no prices"),
        ("", {}, "prices.csv: is empty"),
        ("time,price\n", {}, 'prices.csv:1: has no column "start"'),
        ("start,cost\n2026-01-01T00:00Z,1\n", {}, 'prices.csv:1: has no column "price"; the columns are: start, cost'),
        ("start,price,price\n", {}, "prices.csv:1: has more than one"),
        ("start,price\n2026-01-01T00:00Z\n", {}, "prices.csv:2: has only 1 columns"),
        ('start,price\n2026-01-01T00:00Z,"1\n', {}, "is not CSV"),
        (
            rows("2026-01-01T00:00Z", price="4001"),
            {"resolution_minutes": 60},
            "prices.csv:2: 4.001 EUR per kWh",
        ),
        (rows("2026-01-01T00:00Z", price="40"), {"resolution_minutes": 60, "unit": "kWh"}, "look at the unit"),
        (rows("2026-01-01T00:00Z", price="9"), {"resolution_minutes": 60, "highest_per_kwh": 0.001}, "outside"),
    ],
)
def test_refuses_with_file_and_line(text: str, keys: dict[str, object], says: str) -> None:
    message = refused(text, **keys)
    assert re.search(says, message), message


@pytest.mark.parametrize("price", ["nan", "inf", "-inf", "", "n/a", "1_000", "1,5", "0x10", "1e999", "٣"])
def test_refuses_what_is_no_number(price: str) -> None:
    text = f'start;price\n2026-01-01T00:00Z;"{price}"\n'
    assert refused(text, delimiter=";", resolution_minutes=60).startswith("prices.csv:2: ")


def test_wrong_currency() -> None:
    with pytest.raises(ConfigError, match="in EUR and the site counts in USD"):
        open_source(config(), "USD", "UTC")


async def test_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(rows("2026-01-01T00:00Z", "2026-01-01T01:00Z"))
    source = CsvSource(config(file=file), "EUR")
    now = utc("2026-01-01T00:30")
    first = await source.fetch(now)
    assert await source.fetch(now) is first
    file.write_text(rows("2026-01-01T00:00Z", "2026-01-01T01:00Z", price="-7.5"))
    os.utime(file, ns=(1, 1))
    slot = (await source.fetch(now)).at(now)
    assert slot is not None
    assert slot.price == -0.0075


async def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    now = utc("2026-01-01T00:30")
    with pytest.raises(ConfigError, match="there is no such file"):
        await CsvSource(config(file=tmp_path / "none.csv"), "EUR").fetch(now)
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(tmp_path, config())
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"start,price\n2026-01-01T00:00Z,1\n\xe4")
    with pytest.raises(ConfigError, match=r"latin\.csv:3: is not UTF-8"):
        load(latin, config())


def test_mark_at_the_start_of_a_file_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("\ufeff" + rows("2026-01-01T00:00Z", "2026-01-01T01:00Z"), "utf-8")
    assert len(load(file, config())) == 2


@given(st.text(max_size=200))
@example("start,price\n\x00,1\n")
@example("start,price\n9999-12-31T23:59-12:00,1\n")
@example("start,price\n0001-01-01T00:00+12:00,1\n")
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    for keys in ({}, {"header": False, "start_column": 1, "price_columns": [2], "timezone": "Europe/Berlin"}):
        assert (blamed(text, **keys) or "prices.csv").startswith("prices.csv")


@given(st.text(alphabet="0123456789-:TZ+., ", max_size=40), st.text(alphabet="0123456789-+.eE", max_size=12))
def test_any_cell_is_read_or_refused_by_name(start: str, price: str) -> None:
    text = f'start,price\n"{start}","{price}"\n'
    assert blamed(text, timezone="Europe/Berlin", resolution_minutes=60) in {None, "prices.csv", "prices.csv:2"}
