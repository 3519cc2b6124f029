"""Quantities with the unit in their name: SI inside the program, other units only at the edges.

TH/s, kW and kWh exist in parsers, in money formulas and where text is made; the functions below are the only bridges.
"""

from typing import NewType

Watts = NewType("Watts", float)
"""Electrical power at the wall; positive is drawn from the grid."""
Joules = NewType("Joules", float)
HashesPerSecond = NewType("HashesPerSecond", float)
Celsius = NewType("Celsius", float)
Hertz = NewType("Hertz", float)
RevolutionsPerMinute = NewType("RevolutionsPerMinute", float)
Seconds = NewType("Seconds", float)
JoulesPerTerahash = NewType("JoulesPerTerahash", float)
PricePerKilowattHour = NewType("PricePerKilowattHour", float)
"""Money per kWh in the site's currency; zero and negative prices are ordinary."""

TERA = 1e12
GIGA = 1e9
MEGA = 1e6
KILO = 1e3
JOULES_PER_KILOWATT_HOUR = 3.6e6
SECONDS_PER_DAY = 86_400.0


def from_terahash(value: float) -> HashesPerSecond:
    """TH/s to H/s."""
    return HashesPerSecond(value * TERA)


def from_gigahash(value: float) -> HashesPerSecond:
    """GH/s to H/s."""
    return HashesPerSecond(value * GIGA)


def from_megahash(value: float) -> HashesPerSecond:
    """MH/s to H/s."""
    return HashesPerSecond(value * MEGA)


def terahash(rate: HashesPerSecond) -> float:
    """H/s to TH/s."""
    return rate / TERA


def from_kilowatts(value: float) -> Watts:
    """Kilowatts to watts."""
    return Watts(value * KILO)


def kilowatts(power: Watts) -> float:
    """Watts to kilowatts."""
    return power / KILO


def kilowatt_hours(energy: Joules) -> float:
    """Joules to kWh."""
    return energy / JOULES_PER_KILOWATT_HOUR


def energy(power: Watts, seconds: float) -> Joules:
    """Energy of a constant power over a time."""
    return Joules(power * seconds)


def efficiency(power: Watts, rate: HashesPerSecond) -> JoulesPerTerahash | None:
    """J/TH, or None where the rate is zero and the ratio means nothing."""
    return JoulesPerTerahash(power / (rate / TERA)) if rate > 0 else None
