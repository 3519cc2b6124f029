"""Allotment: never the same value to two rigs whose jobs may overlap."""

from hypothesis import given
from hypothesis import strategies as st

from shedload.stratum.extranonce import ExtranonceSpace


def test_fresh_values_first_and_never_twice():
    space = ExtranonceSpace(2, prefix=b"\xaa", capacity=3)
    assert [space.take(0.0) for _ in range(4)] == [b"\xaa\0\0", b"\xaa\0\1", b"\xaa\0\2", None]
    assert (space.free, space.held) == (0, 3)


def test_a_freed_value_rests_ten_minutes():
    space = ExtranonceSpace(1, capacity=1)
    value = space.take(0.0)
    space.give_back(value, 100.0)
    assert space.take(699.9) is None
    assert space.take(700.0) == value


def test_a_session_gets_its_own_value_back_while_it_rests():
    space = ExtranonceSpace(1)
    value = space.take(0.0)
    assert not space.retake(value, 0.0), "held by someone"
    space.give_back(value, 1.0)
    assert space.retake(value, 2.0)
    assert space.held == 1
    assert not space.retake(b"\xff", 2.0), "never given"
    assert not space.retake(b"", 2.0)


def test_giving_back_what_is_not_held_changes_nothing():
    space = ExtranonceSpace(1, capacity=1)
    space.give_back(b"\0", 0.0)
    space.give_back(b"strange", 0.0)
    value = space.take(0.0)
    space.give_back(value, 0.0)
    space.give_back(value, 0.0)
    assert space.take(600.0) == value
    assert space.take(600.0) is None


def test_a_small_space_is_bounded_by_its_bytes():
    space = ExtranonceSpace(1)
    assert len({space.take(0.0) for _ in range(256)} - {None}) == 256
    assert space.take(0.0) is None


@given(st.lists(st.tuples(st.sampled_from(["take", "give"]), st.integers(0, 5), st.floats(0, 400)), max_size=60))
def test_no_value_is_given_while_held_or_within_the_quarantine(steps):
    space, now = ExtranonceSpace(1, capacity=4), 0.0
    held, freed = set(), {}
    for what, index, seconds in steps:
        now += seconds
        if what == "take":
            value = space.take(now)
            if value is not None:
                assert value not in held
                assert now - freed.get(value, -1e9) >= 600 - 1e-6
                held.add(value)
        elif held:
            value = sorted(held)[index % len(held)]
            held.remove(value)
            freed[value] = now
            space.give_back(value, now)
