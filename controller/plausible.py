"""Does a rig's story hold together? Plain checks of one reading against an earlier one and against its nameplate.

A rig may be wrong without being offline: firmware that reports a hashrate nobody hashes, a sleep that is none, a sensor
that invents watts. What is found here is named and counted, and the reading is not believed where it matters.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shedload.device import Activity, PowerSource, Telemetry
from shedload.units import HashesPerSecond, Watts

HASHES_PER_DIFFICULTY = 2.0**32
"""Expected hashes per unit of share difficulty, to 0.002 %."""
MAX_RATE_FACTOR = 1.5
"""Above this multiple of the nominal rate a reading is a unit slip or an invention, not an overclock."""
MAX_POWER_FACTOR = 1.8
"""The same for watts: the highest known mode of any listed model draws 1.5 times its normal power."""
MIN_POWER_FACTOR = 0.1
"""Below this share of its normal power no machine hashes at half its rate or more."""
HALF = 0.5
"""A rig that finds half the shares of the hashrate it tells is the liar that the honest one is told apart from."""
CONVINCED = math.log(1e8)
"""Odds for the lie that are needed: at 50,000 rigs and 200 trials a day a false alarm in ten days."""
ACQUITTED = math.log(1e3)
"""Odds against it that end a trial."""
ENOUGH_STILLNESS = 8.0
"""Shares that would have come: that at most one did of 8 is chance once in 300 times."""
PROBATION = 60.0
"""Plant seconds after which a rig without a share is believed to sleep, whatever the difficulty of its shares."""
IN_FLIGHT = 1
"""Shares that were under way when the boards went off and are counted a moment later."""

_NUMBERS = (
    "hashrate",
    "hashrate_average",
    "hashrate_nominal",
    "power",
    "power_limit",
    "chip_temperature",
    "board_temperature",
    "inlet_temperature",
    "uptime",
)


class Suspicion(StrEnum):
    """What does not hold together. Closed set: a metric label."""

    RATE_IMPLAUSIBLE = "rate_implausible"  # more hashrate than the machine can have
    POWER_IMPLAUSIBLE = "power_implausible"  # more watts than the machine can draw, or too few for what it does
    SHARES_MISSING = "shares_missing"  # the rig's own share counters do not support the hashrate it reports
    SLEEPING_HASHER = "sleeping_hasher"  # says asleep and goes on finding shares


@dataclass(frozen=True, slots=True)
class ShareMark:
    """The share counters at one instant of plant time, to compare a later reading with."""

    at: float
    hashes: float  # that all accepted shares so far stand for
    shares: int
    claimed: float = 0.0  # hashes that the reported rate claims since this mark


def finite(telemetry: Telemetry) -> Telemetry:
    """The reading without numbers that are none: infinities and NaN would live on in every sum."""
    wrong: dict[str, Any] = {
        name: None
        for name in _NUMBERS
        if (value := getattr(telemetry, name)) is not None and not math.isfinite(value)
    }  # fmt: skip
    return replace(telemetry, **wrong) if wrong else telemetry


def share_mark(telemetry: Telemetry, at: float) -> ShareMark | None:
    """The counters of a reading; None where the rig does not tell the difficulty of its shares."""
    difficulties = [pool.difficulty_accepted for pool in telemetry.pools or ()]
    if telemetry.accepted is None or not difficulties or all(value is None for value in difficulties):
        return None
    hashes = sum(value or 0.0 for value in difficulties) * HASHES_PER_DIFFICULTY
    return ShareMark(at, hashes, telemetry.accepted) if math.isfinite(hashes) and hashes >= 0 else None


def claims(mark: ShareMark, telemetry: Telemetry, seconds: float) -> ShareMark:
    """The mark with what the rig claims to have hashed in the last `seconds` added."""
    rate = telemetry.hashrate or 0.0
    return replace(mark, claimed=mark.claimed + rate * seconds)


def shares_missing(mark: ShareMark, now: ShareMark) -> bool | None:
    """Whether the shares since a mark are too few for the hashrate claimed; None while nothing can be said yet.

    Wald's sequential test of full against half the rate, shares being Poisson. A share's difficulty is the mean of
    those found since the mark, or of all where none was.
    """
    if now.shares < mark.shares or now.shares == 0 or now.hashes < mark.hashes:
        return None  # counters were reset, or no share ever: nothing to compare with
    found = now.shares - mark.shares
    per_share = (now.hashes - mark.hashes) / found if found else now.hashes / now.shares
    if per_share <= 0:
        return None
    expected = mark.claimed / per_share
    odds = expected * (1 - HALF) + found * math.log(HALF)
    if odds > CONVINCED:
        return True
    return False if odds < -ACQUITTED else None


def implausible(
    telemetry: Telemetry,
    nominal_rate: HashesPerSecond | None,
    nominal_power: Watts | None,
) -> frozenset[Suspicion]:
    """Check one reading against the machine's nominal figures."""
    found = set()
    rate, power = telemetry.hashrate, telemetry.power
    if rate is not None and (rate < 0 or (nominal_rate and rate > MAX_RATE_FACTOR * nominal_rate)):
        found.add(Suspicion.RATE_IMPLAUSIBLE)
    if power is not None and (power < 0 or (nominal_power and power > MAX_POWER_FACTOR * nominal_power)):
        found.add(Suspicion.POWER_IMPLAUSIBLE)
    told = power is not None and telemetry.power_source is not PowerSource.ESTIMATED
    hashes = telemetry.activity is Activity.HASHING and (not nominal_rate or (rate or 0.0) > HALF * nominal_rate)
    if told and hashes and nominal_power and (power or 0.0) < MIN_POWER_FACTOR * nominal_power:
        found.add(Suspicion.POWER_IMPLAUSIBLE)
    return frozenset(found)


def still_hashing(mark: ShareMark, now: ShareMark, nominal_rate: HashesPerSecond | None) -> bool | None:
    """Whether a rig that says it sleeps went on finding shares since a mark taken in its sleep.

    False when they would have come and did not; None while nothing can be said yet.
    """
    found = now.shares - mark.shares
    if found > IN_FLIGHT:
        return True
    elapsed = now.at - mark.at
    per_share = now.hashes / now.shares if now.shares else 0.0
    expected = nominal_rate * elapsed / per_share if nominal_rate and per_share > 0 else 0.0
    if expected >= ENOUGH_STILLNESS or (elapsed >= PROBATION and found == 0):
        return False
    return None
