"""Targets, difficulties and nbits. Shares and blocks are decided with whole numbers; floats are for showing.

A hash meets a target when, read as a little-endian number, it is not above it. Difficulty is D1 / target with
"bdiff": the D1 that Stratum pools, cgminer and Bitcoin Core share. Facts: stratum.md 7, vectors in tests/vectors.
"""

import math
import re
from decimal import Decimal
from fractions import Fraction

from shedload.units import HashesPerSecond, Seconds

Difficulty = int | float
"""Share or network difficulty; an int stays exact."""

D1 = 0xFFFF << 208
"""Target of difficulty 1."""

MAX_TARGET = (1 << 256) - 1

MIN_DIFFICULTY = 1e-9
"""Easier than any share in use; its target still fits 256 bits (2.3e-10 is where they end)."""

MAX_DIFFICULTY = 1 << 63
"""Miners keep difficulties in 64-bit integers."""

HASHES_PER_DIFFICULTY = float(Fraction(1 << 256, D1 + 1))
"""Exact expectation: 4295032833.000015."""

NOMINAL_HASHES_PER_DIFFICULTY = 1 << 32
"""What pools, explorers and price indices reckon with: 0.0015 % less than the expectation."""

BLOCK_INTERVAL = Seconds(600.0)
"""What the network's difficulty is steered to."""

_EXACT_DOUBLES = 1 << 53
_SIGN = 0x0080_0000
_MAX_NUMBER_TEXT = 64
"""Characters of a difficulty sent as text; more says nothing that a double could hold."""
_NUMBER_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)


def target_of_nbits(nbits: int) -> int:
    """Target of a compact number; ValueError for negative, zero and overflowing ones (rules of consensus)."""
    if not 0 <= nbits <= 0xFFFF_FFFF:
        raise ValueError("nbits is no unsigned 32-bit number")
    size, mantissa = nbits >> 24, nbits & (_SIGN - 1)
    if mantissa and nbits & _SIGN:
        raise ValueError(f"nbits {nbits:08x} is negative: its sign bit is set")
    target = mantissa << 8 * (size - 3) if size >= 3 else mantissa >> 8 * (3 - size)
    if target == 0:
        raise ValueError(f"nbits {nbits:08x} is a target of zero, which no hash can meet")
    if target > MAX_TARGET:
        raise ValueError(f"nbits {nbits:08x} overflows 256 bits")
    return target


def nbits_of_target(target: int) -> int:
    """Compact form of a target, rounded down to three significant bytes as consensus does; ValueError out of range."""
    if not 0 < target <= MAX_TARGET:
        raise ValueError("target must be 1 .. 2**256 - 1")
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & _SIGN:
        mantissa, size = mantissa >> 8, size + 1
    return size << 24 | mantissa


def target_of_difficulty(difficulty: Difficulty | Fraction | Decimal) -> int:
    """Largest hash that is a share, floor(D1 / difficulty), exactly; ValueError unless it is 1 .. 2**256 - 1.

    A float counts as the decimal number it is written as: 0.1 is one tenth, not the double beside it.
    """
    if isinstance(difficulty, float):
        difficulty = _exact(difficulty)
    if isinstance(difficulty, Decimal) and not difficulty.is_finite():
        raise ValueError(f"difficulty {difficulty} is no number")
    if difficulty <= 0:
        raise ValueError("difficulty is not above zero")
    target = D1 // difficulty if isinstance(difficulty, int) else math.floor(D1 / Fraction(difficulty))
    if not 0 < target <= MAX_TARGET:
        raise ValueError("difficulty leaves no target between 1 and 2**256 - 1")
    return target


def difficulty_of_target(target: int) -> float:
    """Difficulty of a target, rounded to a double; ValueError for a target below 1."""
    if target < 1:
        raise ValueError("a target below 1 has no difficulty")
    return D1 / target


def difficulty_of_nbits(nbits: int) -> float:
    """Network difficulty of a compact number; ValueError as target_of_nbits."""
    return difficulty_of_target(target_of_nbits(nbits))


def difficulty_of_hash(digest: bytes) -> float:
    """Difficulty that a digest (header order) would have met; for showing, never to decide by."""
    return D1 / max(1, int.from_bytes(digest, "little"))


def parse_difficulty(value: object) -> Difficulty:
    """Read a difficulty from a peer, clamped to 1e-9 .. 2**63; ValueError says what is wrong. Text is accepted."""
    number = _number_of_text(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise ValueError("difficulty is no number")  # noqa: TRY004 - a peer's mistake, not a caller's
    if isinstance(number, float) and not math.isfinite(number):
        raise ValueError("difficulty is not finite")
    if number <= 0:
        raise ValueError("difficulty is not above zero")
    return min(max(number, MIN_DIFFICULTY), MAX_DIFFICULTY)


def floor_power_of_two(difficulty: Difficulty) -> Difficulty:
    """Largest power of two not above: targets of powers of two are the same in every miner's arithmetic (7)."""
    if not 0 < difficulty < math.inf:
        raise ValueError(f"difficulty {difficulty} has no power of two below it")
    if isinstance(difficulty, int):
        return 1 << (difficulty.bit_length() - 1)
    return math.ldexp(1.0, math.frexp(difficulty)[1] - 1)


def expected_hashes(difficulty: Difficulty) -> float:
    """Hashes that one share of this difficulty takes on average."""
    return difficulty * HASHES_PER_DIFFICULTY


def hashrate_of_shares(total_difficulty: Difficulty, seconds: Seconds) -> HashesPerSecond | None:
    """Rate that shares of this summed difficulty tell of, as pools reckon it; None over no time at all."""
    if seconds <= 0:
        return None
    return HashesPerSecond(total_difficulty * NOMINAL_HASHES_PER_DIFFICULTY / seconds)


def network_hashrate(difficulty: Difficulty) -> HashesPerSecond:
    """Rate of the whole network at a difficulty, as explorers reckon it."""
    return HashesPerSecond(difficulty * NOMINAL_HASHES_PER_DIFFICULTY / BLOCK_INTERVAL)


def _exact(value: float) -> int | Fraction:
    if not math.isfinite(value):
        raise ValueError(f"difficulty {value} is not finite")
    # Below 2^53 a whole double is written as itself; above, its shortest text names another whole number.
    return int(value) if value.is_integer() and value < _EXACT_DOUBLES else Fraction(str(value))


def _number_of_text(text: str) -> Difficulty:
    text = text.strip()
    if len(text) > _MAX_NUMBER_TEXT or not _NUMBER_TEXT.fullmatch(text):
        raise ValueError("difficulty is no number")
    return int(text) if text.isdecimal() else float(text)
