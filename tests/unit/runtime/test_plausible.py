"""Stories that hold together and stories that do not."""

import math
import random
from dataclasses import replace

import pytest

from controller.plausible import (
    ENOUGH_STILLNESS,
    HASHES_PER_DIFFICULTY,
    PROBATION,
    ShareMark,
    Suspicion,
    claims,
    finite,
    implausible,
    share_mark,
    shares_missing,
    still_hashing,
)
from shedload.device import Activity, PoolReading, PowerSource, Telemetry
from shedload.units import HashesPerSecond, Watts

RATE = HashesPerSecond(104e12)
DIFFICULTY = 262_144.0
PER_SECOND = RATE / (DIFFICULTY * HASHES_PER_DIFFICULTY)


def mark(at=0.0, shares=0, difficulty=DIFFICULTY, claimed=0.0):
    return ShareMark(at, shares * difficulty * HASHES_PER_DIFFICULTY, shares, claimed)


def poisson(chance, mean):
    limit, product, count = math.exp(-mean), 1.0, 0
    while (product := product * chance.random()) > limit:
        count += 1
    return count


def trial(chance, true_share, step=10.0, longest=20_000.0):
    """Verdict and plant seconds of one sequential test against a rig that finds so much of what it claims."""
    start = mark(shares=1000)
    shares, at = 1000, 0.0
    while at < longest:
        at += step
        shares += poisson(chance, PER_SECOND * true_share * step)
        start = claims(start, Telemetry(hashrate=RATE), step)
        verdict = shares_missing(start, mark(at, shares))
        if verdict is not None:
            return verdict, at
    return None, at


def test_a_liar_at_a_third_is_always_caught_within_a_quarter_of_an_hour():
    found = [trial(random.Random(seed), 0.35) for seed in range(300)]
    assert all(verdict for verdict, _ in found)
    assert sorted(at for _, at in found)[150] < 900


def test_an_honest_rig_is_never_accused():
    found = [trial(random.Random(seed), 1.0) for seed in range(1000)]
    assert not any(verdict for verdict, _ in found)
    assert all(verdict is False for verdict, _ in found)


def test_a_rig_at_nine_tenths_is_no_liar():
    assert not any(trial(random.Random(seed), 0.9)[0] for seed in range(300))


def test_vardiff_changes_nothing():
    # The pool doubles the difficulty: half the shares, each worth twice as much.
    before = claims(mark(shares=1000), Telemetry(hashrate=RATE), 1000.0)
    found = 1000 * PER_SECOND / 2
    after = ShareMark(1000.0, before.hashes + found * 2 * DIFFICULTY * HASHES_PER_DIFFICULTY, 1000 + round(found))
    assert shares_missing(before, after) is not True


def test_nothing_is_said_without_shares_or_after_a_reset():
    assert shares_missing(mark(claimed=1e20), mark(shares=0)) is None
    assert shares_missing(mark(shares=100, claimed=1e20), mark(shares=5)) is None
    assert shares_missing(mark(shares=10, claimed=1e20), ShareMark(0.0, 0.0, 12)) is None


def test_a_sleeper_that_finds_shares_is_caught_with_the_second():
    asleep = mark(shares=500)
    assert still_hashing(asleep, mark(30.0, 501), RATE) is None  # one was on its way
    assert still_hashing(asleep, mark(40.0, 502), RATE) is True


def test_a_sleeper_is_believed_when_the_shares_would_have_come():
    asleep = mark(shares=500)
    enough = ENOUGH_STILLNESS / PER_SECOND
    assert still_hashing(asleep, mark(PROBATION - 1, 500), RATE) is None
    assert still_hashing(asleep, mark(enough, 501), RATE) is False
    assert still_hashing(asleep, mark(PROBATION, 500), None) is False  # whatever its shares weigh


def test_only_pools_that_tell_difficulty_make_a_mark():
    pools = (PoolReading(0, "a", "b", difficulty_accepted=10.0), PoolReading(1, "c", "d"))
    assert share_mark(Telemetry(accepted=3, pools=pools), 5.0) == ShareMark(5.0, 10 * HASHES_PER_DIFFICULTY, 3)
    assert share_mark(Telemetry(accepted=3, pools=pools[1:]), 5.0) is None
    assert share_mark(Telemetry(accepted=3), 5.0) is None
    assert share_mark(Telemetry(pools=pools), 5.0) is None
    broken = (PoolReading(0, "a", "b", difficulty_accepted=float("nan")),)
    assert share_mark(Telemetry(accepted=3, pools=broken), 5.0) is None


@pytest.mark.parametrize(
    ("rate", "power", "found"),
    [
        (104e12, 3068.0, set()),
        (140e12, 4500.0, set()),
        (104e15, 3068.0, {Suspicion.RATE_IMPLAUSIBLE}),
        (-1.0, 3068.0, {Suspicion.RATE_IMPLAUSIBLE}),
        (104e12, 30_680.0, {Suspicion.POWER_IMPLAUSIBLE}),
        (104e12, 0.0, {Suspicion.POWER_IMPLAUSIBLE}),
        (104e12, -5.0, {Suspicion.POWER_IMPLAUSIBLE}),
        (None, None, set()),
        (0.0, 3000.0, set()),
    ],
)
def test_one_reading_against_the_nameplate(rate, power, found):
    told = Telemetry(activity=Activity.HASHING, hashrate=rate, power=power)
    assert implausible(told, RATE, Watts(3068.0)) == found


def test_few_watts_are_odd_only_where_an_instrument_tells_them_of_a_rig_at_work():
    little = Telemetry(activity=Activity.HASHING, hashrate=RATE, power=Watts(20.0))
    assert implausible(little, RATE, Watts(3068.0)) == {Suspicion.POWER_IMPLAUSIBLE}
    for changes in (
        {"activity": Activity.ASLEEP},  # a firmware that shows its last rate in its sleep
        {"power_source": PowerSource.ESTIMATED},
        {"hashrate": HashesPerSecond(RATE / 20)},  # one chip left
    ):
        assert implausible(replace(little, **changes), RATE, Watts(3068.0)) == set(), changes


def test_an_idle_or_sleeping_rig_may_draw_little():
    for activity in (Activity.ASLEEP, Activity.IDLE, Activity.RAMPING):
        assert implausible(Telemetry(activity=activity, power=Watts(20.0)), RATE, Watts(3068.0)) == set()


def test_numbers_that_are_none_become_unknown():
    told = Telemetry(hashrate=HashesPerSecond(float("nan")), power=Watts(float("inf")), accepted=5)
    clean = finite(told)
    assert clean == Telemetry(accepted=5)
    good = Telemetry(hashrate=RATE, power=Watts(0.0))
    assert finite(good) is good
