"""The slot model of every price: half-open UTC intervals, sorted, never overlapping; a gap stays a gap."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from shedload.units import PricePerKilowattHour


@dataclass(frozen=True, slots=True)
class PriceSlot:
    """The price of a kWh from `start` until just before `end` (aware, UTC)."""

    start: datetime
    end: datetime
    price: PricePerKilowattHour
    currency: str
    kind: str = "schedule"  # settled, real_time, day_ahead, indicative, forecast, schedule

    def __post_init__(self) -> None:
        for instant in (self.start, self.end):
            if instant.tzinfo is None or instant.utcoffset() != UTC.utcoffset(None):
                raise ValueError(f"slot border {instant.isoformat()} is not in UTC")
        if not self.start < self.end:
            raise ValueError(f"slot from {self.start.isoformat()} ends at {self.end.isoformat()}, not after it starts")


class PriceSeries:
    """Slots in order of time. Immutable; a newer fetch makes a new series."""

    def __init__(self, slots: Iterable[PriceSlot] = ()) -> None:
        self._slots = tuple(sorted(slots, key=lambda slot: slot.start))
        self._starts = [slot.start for slot in self._slots]
        for earlier, later in pairwise(self._slots):
            if later.start < earlier.end:
                raise ValueError(
                    f"slots overlap: {earlier.start.isoformat()} ends after {later.start.isoformat()} starts"
                )

    def __iter__(self) -> Iterator[PriceSlot]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def at(self, now: datetime) -> PriceSlot | None:
        """The slot that holds `now`, or None in a gap and outside the series."""
        place = bisect_right(self._starts, now) - 1
        if place < 0:
            return None
        slot = self._slots[place]
        return slot if now < slot.end else None

    def after(self, now: datetime) -> tuple[PriceSlot, ...]:
        """Every slot that starts after `now`, in order."""
        return self._slots[bisect_right(self._starts, now) :]

    @property
    def valid_until(self) -> datetime | None:
        """The end of the last slot."""
        return self._slots[-1].end if self._slots else None


def start_of_utc_day(now: datetime) -> datetime:
    """Midnight UTC at or before an aware instant."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
