"""A newer fetch replaces only what it covers, and a better kind of price wins."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from controller.prices.merge import RANKS, gaps, merge
from controller.prices.series import PriceSeries, PriceSlot
from shedload.units import PricePerKilowattHour

START = datetime(2026, 10, 24, 22, tzinfo=UTC)


def slot(begin: int, end: int, price: float, kind: str = "day_ahead") -> PriceSlot:
    borders = (START + timedelta(minutes=begin), START + timedelta(minutes=end))
    return PriceSlot(*borders, PricePerKilowattHour(price), "EUR", kind)


def shown(series: PriceSeries) -> list[tuple[int, int, float]]:
    minutes = timedelta(minutes=1)
    return [((each.start - START) // minutes, (each.end - START) // minutes, each.price) for each in series]


def test_fetch_that_returns_only_tomorrow_loses_nothing() -> None:
    known = PriceSeries([slot(0, 60, 1), slot(60, 120, 2)])
    merged = merge(known, PriceSeries([slot(120, 180, 3)]))
    assert shown(merged) == [(0, 60, 1), (60, 120, 2), (120, 180, 3)]


def test_empty_fetch_changes_nothing() -> None:
    known = PriceSeries([slot(0, 60, 1)])
    assert shown(merge(known, PriceSeries())) == shown(known)


def test_newer_quarters_replace_a_part_of_an_hour() -> None:
    merged = merge(PriceSeries([slot(0, 60, 1), slot(60, 120, 2)]), PriceSeries([slot(15, 30, 9)]))
    assert shown(merged) == [(0, 15, 1), (15, 30, 9), (30, 60, 1), (60, 120, 2)]


def test_better_kind_wins_over_a_newer_one() -> None:
    known = PriceSeries([slot(0, 15, 5, "real_time")])
    merged = merge(known, PriceSeries([slot(0, 60, 1, "forecast")]))
    assert shown(merged) == [(0, 15, 5), (15, 60, 1)]
    assert [each.kind for each in merged] == ["real_time", "forecast"]


def test_forgets_what_is_over() -> None:
    known = PriceSeries([slot(0, 60, 1), slot(60, 120, 2)])
    assert shown(merge(known, PriceSeries(), forget_before=START + timedelta(minutes=60))) == [(60, 120, 2)]


def test_names_gaps() -> None:
    series = PriceSeries([slot(0, 60, 1), slot(120, 180, 2)])
    assert gaps(series) == ((START + timedelta(minutes=60), START + timedelta(minutes=120)),)


@st.composite
def series(draw: st.DrawFn) -> PriceSeries:
    borders = sorted(draw(st.sets(st.integers(0, 40), min_size=0, max_size=10)))
    slots = []
    for begin, end in pairwise(borders):
        if draw(st.booleans()):
            slots.append(slot(begin * 5, end * 5, draw(st.floats(-1, 1)), draw(st.sampled_from(sorted(RANKS)))))
    return PriceSeries(slots)


@given(series(), series(), st.integers(0, 205))
def test_every_instant_has_the_winner_of_the_two(known: PriceSeries, fetched: PriceSeries, minute: int) -> None:
    now = START + timedelta(minutes=minute)
    old, new = known.at(now), fetched.at(now)
    got = merge(known, fetched).at(now)
    kept = old is not None and (new is None or RANKS[old.kind] > RANKS[new.kind])
    expected = old if kept else new
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        assert (got.price, got.kind) == (expected.price, expected.kind)


@given(series(), series())
def test_merging_again_changes_nothing(known: PriceSeries, fetched: PriceSeries) -> None:
    once = merge(known, fetched)
    twice = merge(once, fetched)
    for each in (*once, *twice):
        left, right = once.at(each.start), twice.at(each.start)
        assert left is not None
        assert right is not None
        assert (left.price, left.kind) == (right.price, right.kind)
