"""Price source `fixed`: one price at all times, as in a supply contract.

[price]
source = "fixed"
price_per_kwh = 0.055
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from controller.fields import Section
from controller.prices.bounds import bounds_of, check_currency, check_price
from controller.prices.series import PriceSeries, PriceSlot, start_of_utc_day

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]

HORIZON = timedelta(days=3)
"""How far ahead the one price is told: past the end of tomorrow, as far as any day-ahead market reaches."""


class FixedPrice(Section):
    """[price] source = "fixed"."""

    source: Literal["fixed"]
    price_per_kwh: float
    currency: Currency | None = None  # the site's where it is left out


class FixedSource:
    """Tells the one price, for the days around now."""

    def __init__(self, config: FixedPrice, currency: str) -> None:
        check_currency(config.currency, currency)
        self._price = check_price(config.price_per_kwh, bounds_of(currency), currency, "[price] price_per_kwh")
        self._currency = currency

    async def fetch(self, now: datetime) -> PriceSeries:
        """One slot from the start of the UTC day of `now`; never fails."""
        start = start_of_utc_day(now)
        return PriceSeries([PriceSlot(start, start + HORIZON, self._price, self._currency)])
