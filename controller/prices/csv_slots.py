"""Gives the rows of a price file their length: from the data, never from a constant; a gap stays a gap.

    Row, Row, ... --> PriceSlot, PriceSlot, ...

A slot lasts until the next one starts. Where the next starts later than the rows before it were apart, the rest is a
gap, unless the new distance goes on for several rows: then the market has changed its resolution.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from controller.prices.bounds import Bounds, check_price
from controller.prices.csv_rows import Row
from controller.prices.series import PriceSlot
from shedload.errors import ConfigError

SUSTAINED = 4
"""So many equal distances in a row make a longer resolution believable; fewer are gaps."""

MINUTES_PER_DAY = 1440


def slots_of(
    rows: Sequence[Row],
    name: str,
    *,
    resolution_minutes: int | None,
    divide_by: float,
    bounds: Bounds,
    currency: str,
    kind: str,
) -> Iterator[PriceSlot]:
    """One slot for each row. Raises ConfigError with file and line."""
    if not rows:
        raise ConfigError(name, "has no prices", "name a file with at least one row")
    lengths = _stated(rows, name, resolution_minutes) if resolution_minutes else _found(rows, name)
    for row, length in zip(rows, lengths, strict=True):
        price = check_price(row.price / divide_by, bounds, currency, f"{name}:{row.line}")
        yield PriceSlot(row.start, row.start + timedelta(minutes=length), price, currency, kind)


def _steps(rows: Sequence[Row]) -> list[int]:
    """Minutes from each row to the next."""
    return [int((later.start - earlier.start).total_seconds()) // 60 for earlier, later in pairwise(rows)]


def _stated(rows: Sequence[Row], name: str, minutes: int) -> Iterator[int]:
    for row, step in zip(rows[1:], _steps(rows), strict=True):
        if step < minutes:
            raise ConfigError(
                f"{name}:{row.line}",
                f"starts {step} minutes after the row before, which lasts {minutes}",
                "slots must not overlap: correct the row or resolution_minutes",
            )
    return iter([minutes] * len(rows))


def _found(rows: Sequence[Row], name: str) -> Iterator[int]:
    steps = _steps(rows)
    if not steps:
        raise ConfigError(
            f"{name}:{rows[0].line}", "is the only row", "set resolution_minutes: one row has no distance"
        )
    length = min(steps[:SUSTAINED])
    for place, step in enumerate(steps):
        if step < length or (step > length and _goes_on(steps, place)):
            length = step
        if MINUTES_PER_DAY % length:
            raise ConfigError(
                f"{name}:{rows[place + 1].line}",
                f"starts {length} minutes after the row before, which is no market's resolution",
                "correct the time, or set resolution_minutes",
            )
        yield length
    yield length


def _goes_on(steps: Sequence[int], place: int) -> bool:
    """The distance at `place` is that of the following rows too."""
    following = steps[place : place + SUSTAINED]
    return len(following) == SUSTAINED and len(set(following)) == 1
