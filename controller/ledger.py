"""Energy and money since the ledger began: what was drawn, what it cost, what it earned, against always being on.

An interval counts only with what was known in it: energy where there is a power figure, money where price, hashprice
and hashrate are known too; else its seconds are counted as a gap, and nothing is invented. Earnings are the hashrate
that the rigs report times the configured hashprice: an estimate, not a payout.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from shedload.units import JOULES_PER_KILOWATT_HOUR, HashesPerSecond, Watts

MAX_INTERVAL = 3600.0
"""Plant seconds; a longer silence between two cycles is a gap, not an interval of constant power."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What was known of one control interval; money per kWh at the meter, and per hash after fees."""

    seconds: float
    power: Watts | None
    hashrate: HashesPerSecond | None
    price: float | None
    earned_per_hash: float | None
    always_on_power: Watts | None  # what the site would draw with every reachable rig in its normal mode
    always_on_hashrate: HashesPerSecond | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals; money in the site's currency."""

    seconds: float = 0.0
    gap_seconds: float = 0.0  # in which energy or money was unknown
    energy_joules: float = 0.0
    cost: float = 0.0
    earned: float = 0.0
    always_on_cost: float = 0.0
    always_on_earned: float = 0.0

    @property
    def margin(self) -> float:
        """Earned beyond the cost of power."""
        return self.earned - self.cost

    @property
    def always_on_margin(self) -> float:
        """The same had every rig run all the time."""
        return self.always_on_earned - self.always_on_cost

    @property
    def gained(self) -> float:
        """What following the price brought over always being on."""
        return self.margin - self.always_on_margin

    def with_interval(self, interval: Interval) -> "Ledger":
        """The ledger after one more interval."""
        seconds = interval.seconds
        if seconds <= 0:
            return self
        known = (
            interval.power,
            interval.hashrate,
            interval.price,
            interval.earned_per_hash,
            interval.always_on_power,
            interval.always_on_hashrate,
        )
        numbers = [float(value) for value in known if value is not None and math.isfinite(value)]
        counts = seconds <= MAX_INTERVAL and len(numbers) == len(known)
        energy = interval.power * seconds if interval.power is not None and seconds <= MAX_INTERVAL else 0.0
        after = replace(
            self,
            seconds=self.seconds + seconds,
            energy_joules=self.energy_joules + (energy if math.isfinite(energy) else 0.0),
        )
        if not counts:
            return replace(after, gap_seconds=self.gap_seconds + seconds)
        _, hashrate, price, per_hash, full_power, full_rate = numbers
        return replace(
            after,
            cost=self.cost + energy / JOULES_PER_KILOWATT_HOUR * price,
            earned=self.earned + hashrate * seconds * per_hash,
            always_on_cost=self.always_on_cost + full_power * seconds / JOULES_PER_KILOWATT_HOUR * price,
            always_on_earned=self.always_on_earned + full_rate * seconds * per_hash,
        )

    def fact(self) -> dict[str, float]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def of_fact(cls, fact: Mapping[str, object]) -> "Ledger":
        """From the store; what is missing or no number begins anew at zero."""
        values = {
            item.name: float(value)
            for item in fields(cls)
            if isinstance(value := fact.get(item.name), int | float) and math.isfinite(value)
        }
        return cls(**values)
