"""Seeds for the fuzzers of the CGMiner API, recorded and malformed, and the ways in which lines damage them."""

import json
import random
from pathlib import Path

_CAPTURES = Path(__file__).parents[1] / "captures"
_TOKENS = (
    b"}{",
    b",",
    b"nan",
    b'"',
    b"\\'",
    b"\\",
    b"\0",
    b"\xaa",
    b"\n",
    b"]",
    b"[",
    b"}",
    b"{",
    b":",
    b"|",
    b"-inf",
    b"<",
)


def _recorded() -> list[bytes]:
    seeds = []
    for path in sorted(_CAPTURES.glob("*/*.json")):
        capture = json.loads(path.read_text())
        replies = [value for key, value in capture["responses"].items() if key.startswith("rpc:")]
        seeds += [json.dumps(value, separators=(",", ":")).encode() + b"\0" for value in replies]
        seeds += [text.encode() for text in capture.get("malformed_raw", {}).values()]
    return [seed for seed in seeds if len(seed) < 4000]


SEEDS = (
    *_recorded(),
    b',"id":1}\0',
    b'{"error_code":["329":"text"]}\0',
    b'{"a":"1""temp0":67.5}\0',
    b'{"bitmain-fan-ctrl" : ,"x":1}\0',
    b'{"STATS":[{"MHS av":nan}],"id":1}"}\0',
    b"STATUS=S,When=1,Code=11,Msg=a\\|b|SUMMARY,Elapsed=5|\0",
    b"Socket connect failed: Connection refused\n",
    b"<html><body>404</body></html>",
)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to six injuries: a byte changed, a stretch lost or doubled, a token put in, the end cut off."""
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        stretch = rng.randint(1, 30)
        match rng.randrange(5):
            case 0:
                data = data[:at] + rng.randbytes(1) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + stretch :]
            case 2:
                data = data[: at + stretch] + data[at:]
            case 3:
                data = data[:at] + rng.choice(_TOKENS) + data[at:]
            case _:
                data = data[:at] if rng.random() < 0.2 else data
    return data
