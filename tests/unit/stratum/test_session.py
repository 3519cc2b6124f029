"""What pools answer to subscribe and configure, and where they may send us."""

import pytest

from shedload.stratum.session import RedirectBudget, granted_mask, judge_reconnect, parse_extranonce, parse_subscription

HOSTS = frozenset({"backup.example"})


@pytest.mark.parametrize(
    ("subscriptions", "session"),
    [
        ([["mining.notify", "ae68"]], "ae68"),
        ([["mining.set_difficulty", "b4b6"], ["mining.notify", "ae68"]], "ae68"),
        (["mining.notify", "ae68"], "ae68"),
        ([], None),
        (None, None),
        ("mining.notify", None),
        ([["mining.notify"]], None),
        ([["mining.notify", 7]], None),
        ([["mining.notify", "x" * 1000]], None),
        ([{}, 5, [[]]], None),
    ],
)
def test_the_session_id_is_searched_and_may_be_absent(subscriptions, session):
    found = parse_subscription([subscriptions, "f1ad9a67", 8])
    assert (found.session_id, found.extranonce.first.hex(), found.extranonce.second_size) == (session, "f1ad9a67", 8)


@pytest.mark.parametrize(("first", "size"), [("", 4), ("AB" * 5, 3), ("ab" * 9, 3), ("ab" * 32, 1), ("00", 32)])
def test_extranonces_of_the_field(first, size):
    assert parse_extranonce(first, size).second_size == size


@pytest.mark.parametrize(
    ("first", "size"),
    [
        ("ab" * 33, 4),
        ("ab" * 64, 4),
        ("abc", 4),
        (None, 4),
        (7, 4),
        ("ab", 0),
        ("ab", 33),
        ("ab", 64),
        ("ab", "4"),
        ("ab", True),
    ],
)
def test_extranonces_nobody_can_mine_with(first, size):
    with pytest.raises(ValueError, match="extranonce"):
        parse_extranonce(first, size)


@pytest.mark.parametrize(
    ("result", "mask"),
    [
        ({"version-rolling": True, "version-rolling.mask": "1fffe000"}, 0x1FFFE000),
        ({"version-rolling": True, "version-rolling.mask": "e000"}, 0xE000),
        ({"version-rolling": False}, None),
        ({"version-rolling": "true", "version-rolling.mask": "1fffe000"}, None),
        ({"version-rolling": "not here"}, None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_masks_granted(result, mask):
    assert granted_mask(result) == mask


@pytest.mark.parametrize("mask", [None, 536862720, "0x1fffe000", "1fffe0000"])
def test_a_grant_without_a_readable_mask_is_an_error(mask):
    with pytest.raises(ValueError, match="hex digits"):
        granted_mask({"version-rolling": True, "version-rolling.mask": mask})


@pytest.mark.parametrize(
    ("params", "allowed", "host", "port", "wait"),
    [
        ((), True, "pool.com", None, 0),
        (None, True, "pool.com", None, 0),
        (("", 3334), True, "pool.com", 3334, 0),
        (("pool.com", "3334", "5"), True, "pool.com", 3334, 5),
        (("POOL.com.", 3334, 1e300), True, "pool.com", 3334, 600),
        (("backup.example", 3333), True, "backup.example", 3333, 0),
        (("evil.com", 3333), False, "evil.com", 3333, 0),
        (("us.pool.com", 3333), False, "us.pool.com", 3333, 0),
        (("pool.com.evil.com", 3333), False, "pool.com.evil.com", 3333, 0),
        (("xpool.com", 3333), False, "xpool.com", 3333, 0),
        (("pool.com", 0), False, "pool.com", None, 0),
        (("pool.com", 65536), False, "pool.com", None, 0),
        (("pool.com", []), False, "pool.com", None, 0),
        (("pool.com", True), False, "pool.com", None, 0),
        ((7, 3333), False, "", None, 0),
        (({}, {}, {}), False, "", None, 0),
        (("pool.com", 3333, -5), True, "pool.com", 3333, 0),
        (("pool.com", 3333, "soon"), True, "pool.com", 3333, 0),
    ],
)
def test_reconnect_goes_to_the_same_host_or_a_listed_one(params, allowed, host, port, wait):
    asked = judge_reconnect(params, "Pool.com", HOSTS)
    assert (asked.allowed, asked.host, asked.port, asked.wait) == (allowed, host, port, wait)
    assert asked.why


def test_three_redirects_in_ten_minutes_and_no_fourth():
    budget = RedirectBudget()
    assert [budget.spend(now) for now in (0.0, 1.0, 2.0, 3.0, 599.9, 600.0, 600.5, 601.0)] == [
        True,
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]
