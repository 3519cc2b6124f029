"""Throws damaged requests at the server side of the CGMiner API: a request or RequestError, and nothing else.

Run on its own for longer: `python -m tests.fuzz.cgminer_request ROUNDS SEED`.
"""

import random
import sys

from shedload.cgminer.codec import RequestError, encode_request, parse_request
from tests.fuzz.cgminer_corpus import mutate

SEEDS = (
    encode_request("summary+pools+stats"),
    encode_request("stats", new_api=True),
    encode_request("addpool", ("stratum+tcp://p:3333", "a,b", "p|w")),
    encode_request("ascset", (0, "reboot", 0), form="text"),
    b'{"cmd":"get_version"}\n',
)


def one_input(data: bytes) -> None:
    """Fails with whatever the parser should not have raised."""
    try:
        request = parse_request(data)
    except RequestError:
        return
    assert all(request.commands)


def run(rounds: int, seed: int) -> None:
    """The same rounds for the same seed."""
    rng = random.Random(seed)
    for _ in range(rounds):
        one_input(mutate(rng.choice(SEEDS), rng))


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
