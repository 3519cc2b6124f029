"""The first automatic commands: how many, and what lets the rest follow."""

import pytest

from controller.canary import Canary, canary_limit
from shedload.device import RigName

A, B, C, D = (RigName(name) for name in "abcd")


@pytest.mark.parametrize(("size", "limit"), [(1, 1), (5, 1), (100, 1), (250, 2), (1000, 10), (5000, 10), (50_000, 10)])
def test_ten_rigs_or_one_per_cent_whatever_is_less_but_one(size, limit):
    assert canary_limit(size, rigs=10, percent=1.0) == limit


def test_no_more_than_the_limit_before_it_is_proven():
    canary = Canary(2)
    for rig in (A, B):
        assert canary.allows(rig)
        canary.touch(rig)
    assert not canary.allows(C)
    assert canary.allows(A)  # it may be asked again
    assert not canary.confirm(A)
    assert not canary.allows(C)  # one confirmed and one trying are two
    assert canary.confirm(B)
    assert canary.proven
    assert canary.allows(C)


def test_a_refuser_makes_room():
    canary = Canary(1)
    canary.touch(A)
    canary.name(A)
    assert canary.allows(B)
    canary.touch(B)
    assert canary.confirm(B)


def test_silence_makes_room_only_so_often():
    canary = Canary(1)
    canary.touch(A)
    assert not canary.lose(A)
    canary.touch(B)
    assert canary.lose(B)  # now it stalls
    assert not canary.allows(C)
    assert canary.allows(A)  # what came back may try again
    assert canary.confirm(A)
    assert canary.allows(D)


def test_a_rig_nobody_asked_proves_nothing():
    canary = Canary(1)
    assert not canary.confirm(A)
    assert not canary.lose(A)
    assert not canary.proven


def test_a_proven_group_keeps_no_account():
    canary = Canary(1, proven=True)
    canary.touch(A)
    assert not canary.trying
    assert not canary.confirm(A)
    assert not canary.lose(A)
    assert canary.allows(B)
