"""Price source `schedule`: time of use. Rules by local hours, weekdays and months; the last match wins.

    [price]
    source = "schedule"
    rules = [
        { price_per_kwh = 46.0 },
        { price_per_kwh = 26.0, hours = "00:00-10:00" },
    ]

The rules must price every minute of the week in every month, so they usually start with one that has no conditions.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from controller.fields import Section, Zone, fault
from controller.prices.bounds import bounds_of, check_currency, check_price
from controller.prices.day_rules import DAYS, MINUTES_PER_DAY, MONTHS, Span, days_of, months_of, spans_of
from controller.prices.fixed import HORIZON, Currency
from controller.prices.series import PriceSeries, PriceSlot
from shedload.units import PricePerKilowattHour


class ScheduleRule(Section):
    """One line of a time-of-use tariff; a condition that is left out is always true."""

    price_per_kwh: float
    hours: str | None = None  # "07:00-22:00, 23:00-24:00"
    days: str | None = None  # "Mon-Fri"
    months: str | None = None  # "6-9" or "Nov-Feb"

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """Minutes of the local day."""
        return spans_of(self.hours)

    @cached_property
    def weekdays(self) -> frozenset[int]:
        """Monday is 0."""
        return days_of(self.days)

    @cached_property
    def month_places(self) -> frozenset[int]:
        """January is 0."""
        return months_of(self.months)

    def applies(self, month: int, weekday: int, minute: int) -> bool:
        """Whether the rule holds at a local month (0-11), weekday (0-6) and minute of the day."""
        return (
            weekday in self.weekdays
            and month in self.month_places
            and any(start <= minute < end for start, end in self.spans)
        )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        for key, parse in (("hours", spans_of), ("days", days_of), ("months", months_of)):
            try:
                parse(getattr(self, key))
            except ValueError as error:
                raise fault(str(error), f"see the examples for {key}", key=key) from None
        return self


class SchedulePrice(Section):
    """[price] source = "schedule"."""

    source: Literal["schedule"]
    rules: Annotated[tuple[ScheduleRule, ...], Field(min_length=1, max_length=100)]
    timezone: Zone | None = None  # the site's where it is left out
    currency: Currency | None = None  # the site's where it is left out

    @cached_property
    def borders(self) -> tuple[int, ...]:
        """Minutes of the local day at which the price may change."""
        return tuple(sorted({0, *(border for rule in self.rules for span in rule.spans for border in span)}))

    def price_at(self, month: int, weekday: int, minute: int) -> float | None:
        """The price per kWh at a local time, by the last rule that applies; None where none does."""
        for rule in reversed(self.rules):
            if rule.applies(month, weekday, minute):
                return rule.price_per_kwh
        return None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for month in range(12):
            for weekday in range(7):
                for minute in self.borders:
                    if minute < MINUTES_PER_DAY and self.price_at(month, weekday, minute) is None:
                        raise fault(
                            f"no price for {DAYS[weekday]} {minute // 60:02}:{minute % 60:02} in {MONTHS[month]}",
                            "start the rules with one that has only a price; later rules override it",
                            key="rules",
                        )
        return self


class ScheduleSource:
    """Unrolls the rules over the days around now."""

    def __init__(self, config: SchedulePrice, currency: str, timezone: str) -> None:
        check_currency(config.currency, currency)
        for place, rule in enumerate(config.rules, 1):
            check_price(rule.price_per_kwh, bounds_of(currency), currency, f"[price] rules, number {place}")
        self._config = config
        self._currency = currency
        self._zone = ZoneInfo(config.timezone or timezone)

    async def fetch(self, now: datetime) -> PriceSeries:
        """Slots from the start of the local day of `now`; never fails."""
        midnight = datetime.combine(now.astimezone(self._zone).date(), time.min, self._zone).astimezone(UTC)
        return PriceSeries(unroll(self._config, self._zone, midnight, midnight + HORIZON, self._currency))


def unroll(config: SchedulePrice, zone: ZoneInfo, start: datetime, end: datetime, currency: str) -> Iterator[PriceSlot]:
    """One slot for each span of constant price between two UTC instants; right on days of 23 and 25 hours."""
    since, price = start, _price(config, zone, start)
    for border in _borders(config, zone, start, end):
        following = _price(config, zone, border)
        if following != price:
            yield PriceSlot(since, border, price, currency)
            since, price = border, following
    yield PriceSlot(since, end, price, currency)


def _price(config: SchedulePrice, zone: ZoneInfo, instant: datetime) -> PricePerKilowattHour:
    local = instant.astimezone(zone)
    price = config.price_at(local.month - 1, local.weekday(), local.hour * 60 + local.minute)
    assert price is not None  # the model refuses rules that leave a minute out
    return PricePerKilowattHour(price)


def _borders(config: SchedulePrice, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """UTC instants at which the price may change: the rules' own borders and the zone's clock changes."""
    first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
    days = [first + timedelta(days=day) for day in range((last - first).days + 1)]
    found = {instant for day in days for minute in config.borders for instant in _instants(zone, day, minute)}
    found |= set(_clock_changes(zone, start, end))
    return sorted(instant for instant in found if start < instant < end)


def _instants(zone: ZoneInfo, day: date, minute: int) -> Iterator[datetime]:
    """The one or two instants that a local time of day stands for."""
    wall = datetime.combine(day, time.min) + timedelta(minutes=minute)
    for fold in (0, 1):
        yield wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _clock_changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """Instants, to the minute, at which the zone's offset changes."""
    hours = int((end - start) / timedelta(hours=1)) + 1
    for before in (start + timedelta(hours=hour) for hour in range(hours)):
        if _offset(zone, before) != _offset(zone, before + timedelta(hours=1)):
            low, high = 0, 60
            while high - low > 1:
                middle = (low + high) // 2
                changed = _offset(zone, before + timedelta(minutes=middle)) != _offset(zone, before)
                low, high = (low, middle) if changed else (middle, high)
            yield before + timedelta(minutes=high)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()
