"""The tools that split byte strings."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.property import assert_split_invariant, damaged, every_split, one_at_a_time, split_of, splits


def test_every_split_is_the_whole_the_bytes_and_each_place() -> None:
    assert list(every_split(b"abc")) == [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]
    assert one_at_a_time(b"") == []


@given(split_of(st.binary(max_size=200)))
def test_drawn_splits_join_to_the_whole(drawn: tuple[bytes, list[bytes]]) -> None:
    data, chunks = drawn
    assert b"".join(chunks) == data
    assert all(chunks)


@given(splits(b"x"))
def test_one_byte_has_one_split(chunks: list[bytes]) -> None:
    assert chunks == [b"x"]


@given(st.data())
def test_damage_stays_small(data: st.DataObject) -> None:
    assert len(data.draw(damaged(b"0123456789" * 10))) <= 100 + 4 * 16


def test_a_parser_that_depends_on_chunks_is_caught() -> None:
    def honest(chunks: Iterable[bytes]) -> list[bytes]:
        return b"".join(chunks).split(b"\n")

    def sloppy(chunks: Iterable[bytes]) -> list[bytes]:
        return [line for chunk in chunks for line in chunk.split(b"\n")]

    assert assert_split_invariant(honest, b"ab\ncd") == [b"ab", b"cd"]
    with pytest.raises(AssertionError, match="the whole gives"):
        assert_split_invariant(sloppy, b"ab\ncd")
