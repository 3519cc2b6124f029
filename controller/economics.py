"""What hashing earns, and from which price of power on it does not: hashprice, break-even, value of a mode.

    [economics] --> Economics --break_even, value--> policy

Money is in the site's currency. Hashprice is what a TH/s earns in a day; the market quotes it per PH/s.
"""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from controller.fields import Section, fault
from shedload.device import Mode
from shedload.units import SECONDS_PER_DAY, TERA, HashesPerSecond, JoulesPerTerahash, PricePerKilowattHour

HOURS_PER_DAY = 24.0
HASHES_PER_DIFFICULTY = 2.0**32
"""Expected hashes for a block of difficulty 1."""
SUBSIDY_BTC = 3.125
"""New coins in a block from height 840,000 (April 2024) to 1,049,999."""


class EconomicsConfig(Section):
    """[economics]: the hashprice, or what it follows from; and what does not reach the purse."""

    hashprice_per_ph_day: Annotated[float, Field(gt=0, le=1e9)] | None = None
    difficulty: Annotated[float, Field(ge=1, le=1e18)] | None = None
    btc_price: Annotated[float, Field(gt=0, le=1e12)] | None = None
    fees_btc_per_block: Annotated[float, Field(ge=0, le=1000)] = 0.0
    subsidy_btc: Annotated[float, Field(ge=0, le=50)] = SUBSIDY_BTC
    pool_fee_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    lost_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0  # of the hashes: stale and rejected shares, downtime

    @property
    def economics(self) -> "Economics":
        """The same as arithmetic."""
        if self.hashprice_per_ph_day is not None:
            gross = self.hashprice_per_ph_day / 1000
        else:
            assert self.difficulty is not None
            assert self.btc_price is not None
            gross = hashprice(self.difficulty, self.subsidy_btc, self.fees_btc_per_block, self.btc_price)
        return Economics(gross, (1 - self.pool_fee_percent / 100) * (1 - self.lost_percent / 100))

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        computed = (self.difficulty is not None) + (self.btc_price is not None)
        if self.hashprice_per_ph_day is None and computed < 2:
            raise fault("is missing", "or give difficulty and btc_price, from which it follows", "hashprice_per_ph_day")
        if self.hashprice_per_ph_day is not None and computed:
            raise fault("stands beside difficulty or btc_price", "keep one of the two", "hashprice_per_ph_day")
        return self


def hashprice(difficulty: float, subsidy: float, fees: float, price: float) -> float:
    """Money per TH/s and day: the expected share of a TH/s in the blocks of a day; coins per block, money per coin."""
    return SECONDS_PER_DAY * TERA / (difficulty * HASHES_PER_DIFFICULTY) * (subsidy + fees) * price


@dataclass(frozen=True, slots=True)
class Economics:
    """Hashprice in money per TH/s and day, and the share of it that reaches the purse."""

    hashprice_per_th_day: float
    kept: float = 1.0

    @property
    def net_per_th_day(self) -> float:
        """Hashprice after fees and losses."""
        return self.hashprice_per_th_day * self.kept

    @property
    def hashprice_per_ph_day(self) -> float:
        """Hashprice as the market quotes it."""
        return self.hashprice_per_th_day * 1000

    @property
    def per_hash(self) -> float:
        """Money per hour for each H/s."""
        return self.net_per_th_day / HOURS_PER_DAY / TERA

    def break_even(self, efficiency: JoulesPerTerahash) -> PricePerKilowattHour:
        """The price at the plug at which a rig of this efficiency earns as much as its power costs."""
        return PricePerKilowattHour(1000 * self.net_per_th_day / (HOURS_PER_DAY * efficiency))

    def revenue(self, hashrate: HashesPerSecond) -> float:
        """Money per hour."""
        return self.per_hash * hashrate

    def value(self, mode: Mode, price_at_rig: float) -> float:
        """Money per hour that a mode earns beyond what its power costs at the plug."""
        return self.revenue(mode.hashrate) - price_at_rig * mode.power / 1000

    def step_break_even(self, lower: Mode, higher: Mode) -> PricePerKilowattHour | None:
        """The price at the plug below which the higher mode is worth more; None where it draws no more power."""
        if higher.power <= lower.power:
            return None
        gained = self.revenue(HashesPerSecond(higher.hashrate - lower.hashrate))
        return PricePerKilowattHour(1000 * gained / (higher.power - lower.power))
