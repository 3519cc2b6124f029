"""Does a rig's story hold together? Plain checks of one reading against an earlier one and against its nameplate.

A rig may be wrong without being offline: firmware that reports a hashrate nobody hashes, a sleep that is none, a sensor
that invents watts. What is found here is named and counted, and the reading is not believed where it matters.
"""

from dataclasses import dataclass
from enum import StrEnum

from shedload.device import Activity, Telemetry
from shedload.units import HashesPerSecond, Watts

HASHES_PER_DIFFICULTY = 2.0**32
"""Expected hashes per unit of share difficulty, to 0.002 %."""
MAX_RATE_FACTOR = 1.5
"""Above this multiple of the nominal rate a reading is a unit slip or an invention, not an overclock."""
MAX_POWER_FACTOR = 1.8
"""The same for watts: the highest known mode of any listed model draws 1.5 times its normal power."""
ENOUGH_SHARES = 25.0
"""Expected shares before their absence means something: of 25, fewer than 10 come by chance once in 5,000 times."""
TOO_FEW = 0.4


class Suspicion(StrEnum):
    """What does not hold together. Closed set: a metric label."""

    RATE_IMPLAUSIBLE = "rate_implausible"  # more hashrate than the machine can have
    POWER_IMPLAUSIBLE = "power_implausible"  # more watts than the machine can draw
    SHARES_MISSING = "shares_missing"  # the rig's own share counters do not support the hashrate it reports
    SLEEPING_HASHER = "sleeping_hasher"  # says asleep and goes on finding shares


@dataclass(frozen=True, slots=True)
class ShareMark:
    """The share counters at one instant of plant time, to compare a later reading with."""

    at: float
    hashes: float  # that all accepted shares so far stand for
    shares: int
    claimed: float = 0.0  # hashes that the reported rate claims since this mark


def share_mark(telemetry: Telemetry, at: float) -> ShareMark | None:
    """The counters of a reading; None where the rig does not tell the difficulty of its shares."""
    difficulties = [pool.difficulty_accepted for pool in telemetry.pools or ()]
    if telemetry.accepted is None or not difficulties or all(value is None for value in difficulties):
        return None
    return ShareMark(at, sum(value or 0.0 for value in difficulties) * HASHES_PER_DIFFICULTY, telemetry.accepted)


def claims(mark: ShareMark, telemetry: Telemetry, seconds: float) -> ShareMark:
    """The mark with what the rig claims to have hashed in the last `seconds` added."""
    rate = telemetry.hashrate or 0.0
    return ShareMark(mark.at, mark.hashes, mark.shares, mark.claimed + rate * seconds)


def shares_missing(mark: ShareMark, now: ShareMark) -> bool | None:
    """Whether the shares since a mark are too few for the hashrate claimed; None while nothing can be said yet.

    A share's difficulty is taken as the mean of those accepted so far.
    """
    if now.shares < mark.shares or now.shares == 0:
        return None  # counters were reset, or no share ever: nothing to compare with
    per_share = now.hashes / now.shares
    expected = mark.claimed / per_share if per_share > 0 else 0.0
    if expected < ENOUGH_SHARES:
        return None
    return (now.shares - mark.shares) < TOO_FEW * expected


def implausible(
    telemetry: Telemetry,
    nominal_rate: HashesPerSecond | None,
    nominal_power: Watts | None,
) -> frozenset[Suspicion]:
    """Check one reading against the machine's nominal figures."""
    found = set()
    if nominal_rate and telemetry.hashrate is not None and telemetry.hashrate > MAX_RATE_FACTOR * nominal_rate:
        found.add(Suspicion.RATE_IMPLAUSIBLE)
    if nominal_power and telemetry.power is not None and telemetry.power > MAX_POWER_FACTOR * nominal_power:
        found.add(Suspicion.POWER_IMPLAUSIBLE)
    return frozenset(found)


def sleeping_hasher(telemetry: Telemetry, mark: ShareMark, now: ShareMark) -> bool:
    """Whether a rig that says it sleeps has found more shares since the mark than were on their way."""
    late = 3  # shares that were in flight when the boards went off
    return telemetry.activity is Activity.ASLEEP and now.shares > mark.shares + late
