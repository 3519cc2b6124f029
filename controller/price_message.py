"""Prices that somebody publishes to us: JSON text in, a series of slots out, or the one reason why not.

    MQTT message --read_prices()--> PriceSeries --> PriceFeed.take

    [{"start": "2025-01-05T10:00:00Z", "end": "2025-01-05T10:15:00Z", "price": 0.081, "currency": "EUR"}, ...]
    {"currency": "EUR", "unit": "EUR/kWh", "kind": "day_ahead", "slots": [{"start": ..., ...}, ...]}

A message is taken as a whole or not at all: half a day of prices with the other half wrong is a wrong day.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from controller.prices.bounds import bounds_of, check_price
from controller.prices.merge import RANKS
from controller.prices.series import PriceSeries, PriceSlot
from shedload.errors import ConfigError, ShedloadError
from shedload.units import PricePerKilowattHour

RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""The offset is part of it: a local time means two instants on one night of the year."""
MAX_SLOTS = 4096
"""Two weeks of five-minute prices; markets publish two days."""
SHORTEST = timedelta(minutes=1)
"""No market settles in less than five minutes."""
PAST, FUTURE = timedelta(days=2), timedelta(days=15)
"""How far from now slots may lie: yesterday's for displays, two weeks of forecast. Bounds what a sender can fill."""
DEFAULT_KIND = "real_time"
"""A price that is sent to us goes before the one that a file or schedule names, unless the sender ranks it lower."""


class PriceRefused(ShedloadError):
    """A price message means nothing; `cause` is one of PRICE_CAUSES, fit for a metric label."""

    def __init__(self, cause: str, detail: str) -> None:
        self.cause = cause
        super().__init__(detail[:200])


PRICE_CAUSES = ("not_json", "shape", "time", "price", "currency", "unit", "overlap", "horizon", "too_many")


def read_prices(raw: bytes, currency: str, now: datetime) -> PriceSeries:
    """The slots of a message in the site's currency per kWh; `now` is aware. Raises PriceRefused."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise PriceRefused("not_json", f"not JSON: {error.msg}") from None
    common = document if isinstance(document, Mapping) else {}
    rows = common.get("slots") if common else document
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise PriceRefused("shape", "neither a list of slots nor an object with a list under slots")
    if len(rows) > MAX_SLOTS:
        raise PriceRefused("too_many", f"{len(rows)} slots, at most {MAX_SLOTS} are taken")
    return _series([_slot(row, place, common, currency, now) for place, row in enumerate(rows)])


def _series(slots: Sequence[PriceSlot]) -> PriceSeries:
    try:
        return PriceSeries(slots)
    except ValueError as error:
        raise PriceRefused("overlap", str(error)) from None


def _slot(row: Any, place: int, common: Mapping[str, Any], currency: str, now: datetime) -> PriceSlot:
    where = f"slot {place}"
    if not isinstance(row, Mapping):
        raise PriceRefused("shape", f"{where} is not an object")
    _check_money({**common, **row}, currency, where)
    start, end = _instant(row, "start", where), _instant(row, "end", where)
    if end - start < SHORTEST:
        raise PriceRefused("time", f"{where} lasts less than a minute")
    if end < now - PAST or start > now + FUTURE:
        raise PriceRefused("horizon", f"{where} starts {start.isoformat()}, too far from now")
    return PriceSlot(start, end, _price(row.get("price"), currency, where), currency, _kind({**common, **row}, where))


def _check_money(told: Mapping[str, Any], currency: str, where: str) -> None:
    if told.get("currency") != currency:
        raise PriceRefused("currency", f"{where} is in {_shown(told.get('currency'))}, the site counts in {currency}")
    unit = told.get("unit")
    if unit is not None and unit not in ("kWh", f"{currency}/kWh"):
        raise PriceRefused("unit", f"{where} is per {_shown(unit)}, prices are per kWh")


def _instant(row: Mapping[str, Any], key: str, where: str) -> datetime:
    told = row.get(key)
    if not isinstance(told, str) or RFC3339.fullmatch(told) is None:
        raise PriceRefused("time", f"{where}: {key} is {_shown(told)}, not an RFC 3339 time with its offset")
    try:
        return datetime.fromisoformat(told.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PriceRefused("time", f"{where}: {key} is {_shown(told)}, which is no time") from None


def _price(told: Any, currency: str, where: str) -> PricePerKilowattHour:
    if isinstance(told, bool) or not isinstance(told, int | float) or not math.isfinite(told):
        raise PriceRefused("price", f"{where}: the price is {_shown(told)}, not a number")
    try:
        return check_price(float(told), bounds_of(currency), currency, where)
    except ConfigError as error:
        raise PriceRefused("unit", str(error)) from None


def _kind(told: Mapping[str, Any], where: str) -> str:
    kind = told.get("kind", DEFAULT_KIND)
    if not isinstance(kind, str) or kind not in RANKS:
        raise PriceRefused("shape", f"{where}: kind is {_shown(kind)}, not one of {', '.join(RANKS)}")
    return kind


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:40]
