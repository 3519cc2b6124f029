"""From the price at the market to the marginal cost of a kWh at the rig's plug, and back.

    PriceSlot.price --+ adders, levy, VAT--> at the meter --losses, cooling--> at the rig --> policy

A kWh that a rig takes costs more than the meter's price: cables and transformers lose some, and fans and pumps run for
it. Charges that do not change with the next kWh (standing charges, demand charges) have no place here.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import Field

from controller.fields import Section
from shedload.units import PricePerKilowattHour

PerKilowattHour = Annotated[float, Field(ge=-1000, le=1000)]
"""Money per kWh; the range has room for currencies of which thousands go to a dollar."""


class TariffConfig(Section):
    """[tariff]: what is paid on top of the price, in the site's currency per kWh at the meter."""

    multiplier: Annotated[float, Field(gt=0, le=10)] = 1.0  # of the price, in contracts tied to an index
    supplier_per_kwh: PerKilowattHour = 0.0  # margin, balancing, capacity
    network_per_kwh: PerKilowattHour = 0.0  # the part of the network fee that is paid per kWh
    levy_per_kwh: PerKilowattHour = 0.0  # taxes and levies per kWh
    vat_percent: Annotated[float, Field(ge=0, le=100)] = 0.0  # 0 where it is recovered
    credit_per_kwh: PerKilowattHour = 0.0  # paid back per kWh, after VAT; heat that is of use, for example
    loss_percent: Annotated[float, Field(ge=0, lt=50)] = 0.0  # between billing meter and rig
    cooling_percent: Annotated[float, Field(ge=0, le=200)] = 0.0  # more power for fans and pumps per power of rigs

    @cached_property
    def tariff(self) -> "Tariff":
        """The same as arithmetic."""
        taxed = 1 + self.vat_percent / 100
        return Tariff(
            slope=self.multiplier * taxed,
            offset=(self.supplier_per_kwh + self.network_per_kwh + self.levy_per_kwh) * taxed - self.credit_per_kwh,
            drawn_per_used=(1 + self.cooling_percent / 100) / (1 - self.loss_percent / 100),
        )


@dataclass(frozen=True, slots=True)
class Tariff:
    """A straight line from the market's price to the meter's, and kWh drawn at the meter per kWh used by a rig."""

    slope: float = 1.0
    offset: float = 0.0
    drawn_per_used: float = 1.0

    def at_meter(self, price: float) -> PricePerKilowattHour:
        """What the next kWh at the meter costs when the market asks `price`."""
        return PricePerKilowattHour(price * self.slope + self.offset)

    def at_rig(self, price: float) -> PricePerKilowattHour:
        """What the next kWh at a rig's plug costs when the market asks `price`."""
        return PricePerKilowattHour(self.at_meter(price) * self.drawn_per_used)

    def market_price(self, at_rig: float) -> PricePerKilowattHour:
        """The market's price at which a kWh at the plug costs `at_rig`."""
        return PricePerKilowattHour((at_rig / self.drawn_per_used - self.offset) / self.slope)
