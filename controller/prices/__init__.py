"""Price sources, one file each; a source turns what a supplier publishes into a PriceSeries.

    [price] --> PriceConfig --open_source--> PriceSource --fetch(now)--> PriceSeries --merge--> policy

Prices are money per kWh in the site's currency, whatever the supplier's unit is.
"""

from datetime import datetime
from typing import Annotated, Protocol

from pydantic import Field

from controller.prices.csv_file import CsvPrice, CsvSource
from controller.prices.fixed import FixedPrice, FixedSource
from controller.prices.schedule import SchedulePrice, ScheduleSource
from controller.prices.series import PriceSeries, PriceSlot

__all__ = [
    "CsvPrice",
    "FixedPrice",
    "PriceConfig",
    "PriceSeries",
    "PriceSlot",
    "PriceSource",
    "SchedulePrice",
    "open_source",
]

PriceConfig = Annotated[FixedPrice | SchedulePrice | CsvPrice, Field(discriminator="source")]
"""The [price] section of a configuration; `source` says which."""


class PriceSource(Protocol):
    """Where prices come from."""

    async def fetch(self, now: datetime) -> PriceSeries:
        """All that the source knows around and after `now` (aware). Raises ConfigError where a file is wrong."""
        ...


def open_source(config: FixedPrice | SchedulePrice | CsvPrice, currency: str, timezone: str) -> PriceSource:
    """Make the source; `currency` and `timezone` are the site's. Raises ConfigError for a price that cannot be."""
    if isinstance(config, FixedPrice):
        return FixedSource(config, currency)
    if isinstance(config, SchedulePrice):
        return ScheduleSource(config, currency, timezone)
    return CsvSource(config, currency)
