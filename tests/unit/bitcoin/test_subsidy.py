"""Subsidy by height and hashprice against published numbers."""

import math

import pytest

from shedload.bitcoin.subsidy import (
    HALVING_INTERVAL,
    SATOSHI,
    hashprice,
    next_halving,
    next_retarget,
    subsidy,
)


@pytest.mark.parametrize(
    ("height", "bitcoins"),
    [
        (0, 50), (209_999, 50), (210_000, 25), (420_000, 12.5), (630_000, 6.25), (839_999, 6.25), (840_000, 3.125),
        (1_050_000, 1.5625), (1_260_000, 0.78125), (1_470_000, 0.390625), (1_680_000, 0.1953125),
    ],
)  # fmt: skip
def test_subsidy_by_height(height: int, bitcoins: float) -> None:
    assert subsidy(height) == bitcoins * SATOSHI


def test_the_end_of_it() -> None:
    assert subsidy(6_929_999) == 1
    assert subsidy(6_930_000) == 0
    assert subsidy(64 * HALVING_INTERVAL) == 0
    assert subsidy(10**30) == 0


def test_all_there_will_ever_be() -> None:
    assert sum(subsidy(era * HALVING_INTERVAL) * HALVING_INTERVAL for era in range(70)) == 2_099_999_997_690_000


def test_no_block_below_the_first() -> None:
    with pytest.raises(ValueError, match="below zero"):
        subsidy(-1)


def test_what_comes_next() -> None:
    assert next_halving(0) == 210_000
    assert next_halving(839_999) == 840_000
    assert next_halving(840_000) == 1_050_000
    assert next_retarget(2015) == 2016
    assert next_retarget(2016) == 4032


def test_hashprice_of_february_2026() -> None:
    price = hashprice(141.67e12, subsidy(900_000), 0, 78_600)
    assert price == pytest.approx(0.034878, abs=5e-7)


def test_hashprice_in_bitcoin_with_and_without_fees() -> None:
    difficulty = 108105433845147.16
    assert hashprice(difficulty, 3.125 * SATOSHI, 0, 1) == pytest.approx(5.815e-7, rel=1e-4)
    assert hashprice(difficulty, 3.125 * SATOSHI, 0, 1) * 1000 == pytest.approx(0.00058151, abs=5e-9)
    assert hashprice(difficulty, 3.125 * SATOSHI, 0.05 * SATOSHI, 1) * 1000 == pytest.approx(0.00059081, abs=5e-9)


@pytest.mark.parametrize("difficulty", [0, -1, math.nan])
def test_hashprice_needs_a_difficulty(difficulty: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        hashprice(difficulty, 1, 0, 1)
