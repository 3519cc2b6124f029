"""Numbers and foreign text as people see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cli import words
from controller.cli.charts import Column, binned, chart, hours_axis


@pytest.mark.parametrize(
    ("watts", "text"),
    [(None, "–"), (0.0, "0 W"), (19.2, "19 W"), (3068.0, "3.1 kW"), (190_000.0, "190.0 kW"), (1.8e8, "180.00 MW")],
)
def test_power_has_the_unit_that_fits(watts: float | None, text: str) -> None:
    assert words.power(watts) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(None, "–"), (0.0, "0 H/s"), (2e6, "2.00 MH/s"), (1.04e14, "104 TH/s"), (5.47e15, "5.47 PH/s")]
)
def test_hashrate_has_the_prefix_that_fits(rate: float | None, text: str) -> None:
    assert words.rate(rate) == text


def test_unknown_is_a_dash_and_never_zero() -> None:
    shown = {words.power(None), words.rate(None), words.span(None), words.price(None), words.money(None, "EUR")}
    assert shown | {words.clock(None), words.moment(None)} == {"–"}


@given(st.text())
def test_text_from_outside_never_steers_a_terminal(text: str) -> None:
    shown = words.plain(text)
    assert shown.isprintable()
    assert len(shown) <= 200 * 10


def test_plain_keeps_what_is_harmless_and_shows_what_is_not() -> None:
    assert words.plain("S19j Pro é") == "S19j Pro é"
    assert words.plain("a\x1b[2Jb\nc\x9b") == r"a\x1b[2Jb\nc\x9b"


@given(st.floats(-2, 3, allow_nan=False), st.integers(1, 200))
def test_a_bar_always_has_its_width(share: float, width: int) -> None:
    assert len(words.bar(share, width)) == width


def test_a_gap_in_a_spark_line_stays_a_gap() -> None:
    assert words.spark([1.0, None, 2.0]) == "▁ █"
    assert words.spark([None]) == ""


@given(
    st.lists(st.tuples(st.none() | st.floats(0, 500), st.none() | st.floats(0, 500)), min_size=1, max_size=100),
    st.integers(1, 12),
)
def test_every_row_of_a_chart_is_as_long_as_its_columns(
    values: list[tuple[float | None, float | None]], rows: int
) -> None:
    columns = [Column(value, line) for value, line in values]
    lines = chart(columns, rows, 400.0, "yellow")
    assert [len(line.plain) for line in lines] == [len(columns)] * rows


def test_a_chart_shows_bar_line_and_gap() -> None:
    lines = chart([Column(100.0, 50.0), Column(None, 50.0), Column(25.0)], 2, 100.0, "yellow")
    assert [line.plain for line in lines] == ["━━ ", "█ ▄"]


def test_binning_averages_and_leaves_gaps() -> None:
    assert binned([(0.0, 1.0), (1.0, 3.0), (13.0, None), (23.9, 5.0), (24.5, 9.0)], 4, 24.0) == [2.0, None, None, 5.0]


def test_the_axis_fits() -> None:
    assert [len(hours_axis(columns).plain) for columns in (20, 72, 112)] == [20, 72, 112]
