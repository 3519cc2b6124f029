"""Joins what is known with what was just fetched: a newer fetch replaces only the instants that it covers.

stored series + fetched series --merge--> one series, swapped in as a whole
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from controller.prices.series import PriceSeries, PriceSlot

RANKS = {"schedule": 1, "forecast": 2, "indicative": 3, "day_ahead": 4, "real_time": 5, "settled": 6}
"""Which kind wins where two cover the same instant: the higher number."""


def merge(known: PriceSeries, fetched: PriceSeries, *, forget_before: datetime | None = None) -> PriceSeries:
    """Per instant the higher kind, and of equal kinds the fetched one; slots that ended by `forget_before` go.

    Instants that only one of the two covers stay as they are, so a fetch that returns less loses nothing.
    """
    if forget_before is None and (known is fetched or not len(known)):
        return fetched
    pieces = _join(_pieces(known, fetched))
    if forget_before is None:
        return PriceSeries(pieces)
    return PriceSeries(piece for piece in pieces if piece.end > forget_before)


def gaps(series: PriceSeries) -> tuple[tuple[datetime, datetime], ...]:
    """The spans inside a series that have no price, in order."""
    slots = tuple(series)
    return tuple((earlier.end, later.start) for earlier, later in pairwise(slots) if earlier.end < later.start)


def _pieces(known: PriceSeries, fetched: PriceSeries) -> Iterator[tuple[PriceSlot, datetime, datetime]]:
    """The winning slot of every span between two borders of either series."""
    borders = sorted({border for series in (known, fetched) for slot in series for border in (slot.start, slot.end)})
    for start, end in pairwise(borders):
        winner = _winner(known.at(start), fetched.at(start))
        if winner is not None:
            yield winner, start, end


def _winner(known: PriceSlot | None, fetched: PriceSlot | None) -> PriceSlot | None:
    if known is None or fetched is None:
        return fetched or known
    return known if RANKS.get(known.kind, 0) > RANKS.get(fetched.kind, 0) else fetched


def _join(pieces: Iterator[tuple[PriceSlot, datetime, datetime]]) -> list[PriceSlot]:
    """Neighbouring pieces of one slot become one again."""
    joined: list[tuple[PriceSlot, datetime, datetime]] = []
    for slot, start, end in pieces:
        if joined and joined[-1][0] is slot and joined[-1][2] == start:
            joined[-1] = (slot, joined[-1][1], end)
        else:
            joined.append((slot, start, end))
    return [
        slot if (slot.start, slot.end) == (start, end) else replace(slot, start=start, end=end)
        for slot, start, end in joined
    ]
