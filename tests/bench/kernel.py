"""`decode_stats` and `hash_scan_c`: pure computation, no peer; both sides run in the same process, in turn."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson

from drivers.antminer import decode_stats
from shedload import hashing
from shedload.hashing import Backend
from tests.bench.machine import ROOT, Child, cores
from tests.bench.table import Row, Runs, alternate, row_of, void_row

CAPTURE = "tests/captures/antminer/s19pro-rpc-2022-12-with-s21-sysinfo.json"
HEADER = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51"
    "323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
"""Block 0; the nonce is ignored by a scan."""
TARGET = 0xFFFF << 208
"""Difficulty 1: hardly ever met, as in real work."""
SHANI_LEAST, PLAIN_LEAST = 20.0, 8.0
"""What must be reached on a processor with SHA instructions, and without: hashlib uses them as well."""
Answer = Callable[..., Awaitable[dict[str, Any]]]


def measure_decode(rounds: int, seconds: float) -> Row:
    """A recorded S19 Pro reply off the wire to telemetry; microseconds of CPU time."""
    target, _ = cores()
    with Child("tests.bench.kernel:decoding", {}, core=target) as child:
        figures, _ = alternate(rounds, _both(child, seconds))
    return row_of(
        "decode_stats",
        "us",
        Runs(tuple(figures[0]), tuple(figures[1]), None),
        reference="orjson.loads of the same bytes",
        most=4.0,
        ran=f"core {target}, one process, in turn; the recorded reply of {CAPTURE}",
        scale=1e6,
    )


def measure_scan(rounds: int, seconds: float) -> Row:
    """Nonce scan from a header, the fastest C back end against hashlib."""
    target, _ = cores()
    name = hashing.backend
    least = SHANI_LEAST if any(found.name == "sha-ni" for found in hashing.backends()) else PLAIN_LEAST
    if name == "hashlib":
        return void_row("hash_scan_c", "hashes/s", f"ratio >= {least:g}", "the C extension was not built")
    with Child("tests.bench.kernel:scanning", {}, core=target) as child:
        figures, _ = alternate(rounds, _both(child, seconds))
    return row_of(
        "hash_scan_c",
        "hashes/s",
        Runs(tuple(figures[0]), tuple(figures[1]), None),
        reference="hashlib: a copy of the midstate's sha256 object for each nonce, then sha256 of its digest",
        least=least,
        ran=f"core {target}, one process, in turn; back end {name}, per second of one core",
    )


@contextlib.asynccontextmanager
async def decoding() -> AsyncIterator[Answer]:
    """Contestants 0 (ours) and 1 (orjson): seconds per reply."""
    replies = json.loads((ROOT / CAPTURE).read_text())["responses"]
    raw = orjson.dumps(replies["rpc:stats"]) + b"\0"
    plain = raw[:-1]
    assert decode_stats(raw).boards is not None
    turns: tuple[Callable[[], Any], ...] = (lambda: decode_stats(raw), lambda: orjson.loads(plain))

    async def answer(which: int, seconds: float) -> dict[str, Any]:
        return {"figure": _per_call(turns[which], seconds)}

    yield answer


@contextlib.asynccontextmanager
async def scanning() -> AsyncIterator[Answer]:
    """Contestants 0 (fastest C) and 1 (hashlib): hashes per second."""
    found = hashing.backends()

    async def answer(which: int, seconds: float) -> dict[str, Any]:
        return {"figure": _scan_rate(found[-1] if which else found[0], seconds)}

    yield answer


def _both(child: Child, seconds: float) -> tuple[Callable[[], float], Callable[[], float]]:
    return (
        lambda: float(child.ask(which=0, seconds=seconds)["figure"]),
        lambda: float(child.ask(which=1, seconds=seconds)["figure"]),
    )


def _per_call(call: Callable[[], Any], seconds: float) -> float:
    """CPU seconds of one call, measured in batches."""
    batch, calls, used = 500, 0, 0.0
    while used < seconds:
        began = time.process_time()
        for _ in range(batch):
            call()
        used += time.process_time() - began
        calls += batch
    return used / calls


def _scan_rate(backend: Backend, seconds: float) -> float:
    count = 1 << 14
    hashes, used, start = 0, 0.0, 0
    while used < seconds:
        began = time.process_time()
        backend.scan(HEADER, start, count, TARGET)
        used += time.process_time() - began
        hashes += count
        start = (start + count) % (hashing.NONCE_LIMIT - 2 * hashing.SCAN_LIMIT)
        if used < seconds / 8 and count < hashing.SCAN_LIMIT:
            count *= 2
    return hashes / used
