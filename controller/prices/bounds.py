"""What a price can be at all: catches the wrong unit and the wrong currency before they run a farm."""

import math

from shedload.errors import ConfigError
from shedload.units import PricePerKilowattHour

BOUNDS_PER_KILOWATT_HOUR = {
    "EUR": (-0.5, 4.0),  # day-ahead prices of all EU zones 2014-2026
    "USD": (-0.25, 5.0),  # ERCOT: the system-wide offer cap of 5,000 per MWh
    "AUD": (-1.0, 25.0),  # NEM: market floor, and a cap rounded up
}
"""Lowest and highest price per kWh that a market of this currency can print; no entry, no check."""

Bounds = tuple[float, float]


def bounds_of(currency: str, lowest: float | None = None, highest: float | None = None) -> Bounds:
    """Lowest and highest believable price per kWh; what the operator set goes before the table."""
    low, high = BOUNDS_PER_KILOWATT_HOUR.get(currency, (-math.inf, math.inf))
    return (low if lowest is None else lowest, high if highest is None else highest)


def check_price(price: float, bounds: Bounds, currency: str, where: str) -> PricePerKilowattHour:
    """The price per kWh, if a market could print it. Raises ConfigError."""
    low, high = bounds
    if not (math.isfinite(price) and low <= price <= high):
        raise ConfigError(
            where,
            f"{price:g} {currency} per kWh is outside {low:g} to {high:g}",
            "look at the unit: a price per MWh is a thousand times the price per kWh",
        )
    return PricePerKilowattHour(price)


def check_currency(stated: str | None, site: str, where: str = "[price] currency") -> None:
    """A source's currency must be the site's. Raises ConfigError."""
    if stated is not None and stated != site:
        raise ConfigError(
            where,
            f"the prices are in {stated} and the site counts in {site}",
            "give both in one currency; nothing here converts money",
        )
