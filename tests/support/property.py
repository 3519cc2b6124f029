"""Splitting byte strings, for the tests of every parser of foreign bytes.

A parser is fed the same bytes in every way they can arrive, and has to say the same thing each time.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


def every_split(data: bytes) -> Iterator[list[bytes]]:
    """`data` whole, byte by byte, and cut in two at each place: all the ways that are worth trying one by one."""
    yield [data]
    yield one_at_a_time(data)
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


def one_at_a_time(data: bytes) -> list[bytes]:
    """Each byte as a chunk of its own."""
    return [data[i : i + 1] for i in range(len(data))]


def assert_split_invariant(feed: Callable[[Iterable[bytes]], T], data: bytes) -> T:
    """Check that `feed(chunks)`, called with each split, gives what it gives for the whole, and return that.

    `feed` makes a fresh parser, puts the chunks in one after the other and returns everything observable.
    """
    whole = feed([data])
    for chunks in every_split(data):
        got = feed(chunks)
        assert got == whole, f"split {_shown(chunks)} gives {got!r}, the whole gives {whole!r}"
    return whole


def splits(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Chunks that join to `data`, cut anywhere; none is empty."""
    if len(data) < 2:
        return st.just([data] if data else [])
    return st.sets(st.integers(1, len(data) - 1), max_size=min(len(data) - 1, 40)).map(lambda at: _cut(data, at))


def split_of(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[bytes, list[bytes]]]:
    """A byte string drawn from `whole`, with one of its splits."""
    return whole.flatmap(lambda data: st.tuples(st.just(data), splits(data)))


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` after up to four small injuries: a byte changed, a stretch lost, bytes put in, the end cut off."""
    place = st.integers(0, max(0, len(data)))
    injury = st.one_of(
        st.tuples(st.just("change"), place, st.binary(min_size=1, max_size=1)),
        st.tuples(st.just("lose"), place, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16)),
        st.tuples(st.just("truncate"), place, st.just(b"")),
    )
    return st.lists(injury, min_size=1, max_size=4).map(lambda injuries: _injure(data, injuries))


def _cut(data: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def _injure(data: bytes, injuries: list[tuple[str, int, bytes]]) -> bytes:
    for kind, at, extra in injuries:
        match kind:
            case "change":
                data = data[:at] + extra + data[at + 1 :]
            case "lose":
                data = data[:at] + data[at + len(extra) :]
            case "insert":
                data = data[:at] + extra + data[at:]
            case _:
                data = data[:at]
    return data


def _shown(chunks: list[bytes]) -> str:
    return "byte by byte" if len(chunks) > 2 else repr(chunks)
