"""What a block pays, by height, and what hashing is worth: plain arithmetic, money in the caller's currency."""

from shedload.bitcoin.target import NOMINAL_HASHES_PER_DIFFICULTY, Difficulty
from shedload.units import SECONDS_PER_DAY, TERA

SATOSHI = 100_000_000
"""Satoshi in a bitcoin."""

HALVING_INTERVAL = 210_000
"""Blocks of one subsidy."""

FIRST_SUBSIDY = 50 * SATOSHI

RETARGET_INTERVAL = 2016
"""Blocks of one difficulty."""


def subsidy(height: int) -> int:
    """New satoshi in the block of this height; ValueError below zero."""
    if height < 0:
        raise ValueError(f"height {height} is below zero")
    era = height // HALVING_INTERVAL
    # Shifting by 64 and more is undefined in the C++ this comes from, so consensus names zero outright.
    return FIRST_SUBSIDY >> era if era < 64 else 0


def next_halving(height: int) -> int:
    """Height of the first block after this one with half the subsidy."""
    return (height // HALVING_INTERVAL + 1) * HALVING_INTERVAL


def next_retarget(height: int) -> int:
    """Height of the first block after this one with a new difficulty."""
    return (height // RETARGET_INTERVAL + 1) * RETARGET_INTERVAL


def hashprice(difficulty: Difficulty, subsidy_satoshi: float, fees_satoshi: float, price_per_bitcoin: float) -> float:
    """Money that 1 TH/s earns a day before pool fees (energy.md 4.1); `fees_satoshi` is the mean per block.

    Counts 2^32 hashes per difficulty like the published indices. ValueError for a difficulty that is not above zero.
    """
    if not difficulty > 0:
        raise ValueError(f"difficulty {difficulty} is not above zero")
    blocks = SECONDS_PER_DAY * TERA / (difficulty * NOMINAL_HASHES_PER_DIFFICULTY)
    return blocks * (subsidy_satoshi + fees_satoshi) / SATOSHI * price_per_bitcoin
