"""Vardiff against ckpool's check values, and what we added: powers of two, a way down for silent rigs."""

import pytest

from shedload.stratum.vardiff import Bounds, Vardiff, bias, decay

EXACT = Bounds(powers_of_two=False)


def test_decay_check_values():
    once = decay(0, 42, 10, 300)
    assert once == pytest.approx(0.13332157679824114, rel=1e-14)
    assert decay(once, 42, 5, 300) == pytest.approx(0.26773607659109844, rel=1e-14)
    assert decay(5.0, 1, 0, 300) == 5.0
    assert decay(1e-18, 0, 1, 300) == 0.0


def feed(vardiff, count, every=1.0, start=0.0):
    changes = []
    for n in range(1, count + 1):
        if (change := vardiff.share(vardiff.difficulty, start + n * every)) is not None:
            changes.append((n, change))
    return changes


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (EXACT, 141),
        (Bounds(powers_of_two=False, floor=10), 102),
        (Bounds(), 128),
        (Bounds(maximum=100, powers_of_two=False), 100),
        (Bounds(network=90, powers_of_two=False), 90),
        (Bounds(floor=200, powers_of_two=False), 200),
    ],
)
def test_seventy_two_shares_at_one_a_second(bounds, expected):
    vardiff = Vardiff(42, 0.0, bounds)
    assert feed(vardiff, 72) == [(72, expected)]
    assert vardiff.rate == pytest.approx(8.935276419506101, rel=1e-12)
    assert bias(71, 300) == pytest.approx(0.21074567104866437, rel=1e-14)


def test_nothing_changes_near_the_aim():
    assert feed(Vardiff(100, 0.0, EXACT), 300, every=3.33) == []


def test_a_slow_rig_comes_down_after_four_minutes():
    changes = feed(Vardiff(1024, 0.0), 12, every=30.0)
    assert changes
    assert all(change < 1024 for _, change in changes)


def test_a_share_of_an_older_difficulty_restarts_the_count():
    vardiff = Vardiff(42, 0.0)
    feed(vardiff, 71)
    assert vardiff.share(21, 72.0) is None
    assert vardiff.share(42, 73.0) is None


def test_first_share_after_an_absence_does_not_cut():
    vardiff = Vardiff(42, 0.0, EXACT)
    feed(vardiff, 72)
    assert vardiff.share(141, 5000.0) is None
    assert vardiff.share(141, 5001.0) is None, "and the four minutes begin anew"
    assert vardiff.difficulty == 141


def test_a_silent_rig_gets_half_and_half_again_down_to_the_minimum():
    vardiff = Vardiff(8, 0.0, Bounds(minimum=4))
    assert vardiff.tick(239.0) is None
    assert vardiff.tick(240.0) == 4
    assert vardiff.tick(480.0) is None


def test_difficulties_below_one_are_possible():
    vardiff = Vardiff(0.001, 0.0, Bounds(minimum=1e-6))
    assert feed(vardiff, 72) == [(72, 2**-9)]


def test_the_rate_settles_at_a_share_in_about_three_seconds():
    vardiff, hashrate, now = Vardiff(1, 0.0), 1000.0, 0.0  # hashrate in difficulty per second
    shares = 0
    while now < 3600:
        now += vardiff.difficulty / hashrate
        vardiff.share(vardiff.difficulty, now)
        shares += 1
    assert vardiff.difficulty in (2048, 4096)
    assert 1.5 < vardiff.difficulty / hashrate < 6
