"""Throws damaged replies at the reader of the CGMiner API: a value, Garbled or NoAnswer, and the same for every cut.

Run on its own for longer: `python -m tests.fuzz.cgminer_reply ROUNDS SEED`.
"""

import random
import sys
from collections.abc import Iterator

from shedload.cgminer.codec import ReplyReader
from shedload.cgminer.parse import Reply
from shedload.errors import Garbled, NoAnswer, Refused
from tests.fuzz.cgminer_corpus import SEEDS, mutate

Outcome = tuple[bytes, str, tuple[str, ...]]


def one_input(data: bytes, rng: random.Random) -> None:
    """Fails with an AssertionError, or with whatever the reader should not have raised."""
    whole = _outcome(iter([data]))
    assert _outcome(_cut(data, rng)) == whole, data


def run(rounds: int, seed: int) -> None:
    """The same rounds for the same seed."""
    rng = random.Random(seed)
    for _ in range(rounds):
        one_input(mutate(rng.choice(SEEDS), rng), rng)


def _outcome(chunks: Iterator[bytes]) -> Outcome:
    reader = ReplyReader(limit=1 << 16)
    for chunk in chunks:
        reader.receive_data(chunk)
        if reader.complete:
            break
    reader.receive_eof()
    try:
        decoded = reader.decode()
        reply = Reply.of(decoded)
        for section in reply.value:
            reply.rows(section)
        reply.raise_for_status()
    except (Garbled, NoAnswer, Refused) as error:
        return reader.raw, type(error).__name__, ()
    return reader.raw, repr(decoded.value), decoded.repairs


def _cut(data: bytes, rng: random.Random) -> Iterator[bytes]:
    size = rng.choice((1, 2, 7, 100, 1448))
    return (data[start : start + size] for start in range(0, len(data), size))


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
