"""Targets, difficulties and nbits: exact numbers, every invalid case, and what peers send as difficulty."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedload.bitcoin import target as t
from shedload.units import Seconds
from tests.support.vectors import headers

EXACT = {
    0.001: "000003e7fc180000000000000000000000000000000000000000000000000000",
    0.5: "00000001fffe0000000000000000000000000000000000000000000000000000",
    1: "00000000ffff0000000000000000000000000000000000000000000000000000",
    2: "000000007fff8000000000000000000000000000000000000000000000000000",
    512: "00000000007fff80000000000000000000000000000000000000000000000000",
    1000: "00000000004188f5c28f5c28f5c28f5c28f5c28f5c28f5c28f5c28f5c28f5c28",
    1638: "0000000000280258258258258258258258258258258258258258258258258258",
    16384: "000000000003fffc000000000000000000000000000000000000000000000000",
    65536: "000000000000ffff000000000000000000000000000000000000000000000000",
    524288: "0000000000001fffe00000000000000000000000000000000000000000000000",
    1000000: "00000000000010c6e6d9be4cd74927913e81450efdc9c4da9003eea209aaa3ad",
}
NBITS = {
    0x1D00FFFF: ("00000000ffff" + "0" * 52, 1.0),
    0x1B0404CB: ("00000000000404cb" + "0" * 48, 16307.420938523983),
    0x192495F8: ("000000000000002495f8" + "0" * 44, 117392538.8721802),
    0x1705AE3A: ("00000000000000000005ae3a" + "0" * 40, 49549703178592.68),
    0x17029A8A: ("000000000000000000029a8a" + "0" * 40, 108105433845147.16),
    0x207FFFFF: ("7fffff" + "0" * 58, 4.6565423739069247e-10),
}


class TestTargetOfDifficulty:
    @pytest.mark.parametrize("difficulty", EXACT)
    def test_exact(self, difficulty: float) -> None:
        expected = int(EXACT[difficulty], 16)
        assert t.target_of_difficulty(difficulty) == expected
        assert t.target_of_difficulty(float(difficulty)) == expected
        assert t.target_of_difficulty(Decimal(str(difficulty))) == expected
        assert t.target_of_difficulty(Fraction(str(difficulty))) == expected

    def test_a_float_is_the_decimal_it_is_written_as(self) -> None:
        assert t.target_of_difficulty(0.1) == t.D1 * 10
        assert t.target_of_difficulty(1e-9) == t.D1 * 10**9

    @pytest.mark.parametrize(
        "difficulty", [0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity")]
    )
    def test_refuses_what_is_no_difficulty(self, difficulty) -> None:
        with pytest.raises(ValueError, match="difficulty"):
            t.target_of_difficulty(difficulty)

    @pytest.mark.parametrize("difficulty", [1e-10, 5e-324, t.D1 + 1, 1e300, 10**400])
    def test_refuses_targets_that_no_number_holds(self, difficulty) -> None:
        with pytest.raises(ValueError, match="no target"):
            t.target_of_difficulty(difficulty)

    @given(st.floats(t.MIN_DIFFICULTY, float(t.MAX_DIFFICULTY)))
    def test_is_the_largest_hash_of_that_difficulty(self, difficulty: float) -> None:
        target = t.target_of_difficulty(difficulty)
        exact = Fraction(str(difficulty))
        assert target * exact <= t.D1 < (target + 1) * exact
        assert t.difficulty_of_target(target) == pytest.approx(difficulty, rel=1e-12)


class TestNbits:
    @pytest.mark.parametrize("nbits", NBITS)
    def test_both_ways(self, nbits: int) -> None:
        text, difficulty = NBITS[nbits]
        assert f"{t.target_of_nbits(nbits):064x}" == text
        assert t.nbits_of_target(int(text, 16)) == nbits
        assert t.difficulty_of_nbits(nbits) == difficulty

    @pytest.mark.parametrize("nbits", [0, 0x01003456, 0x02000056, 0x1D000000, 0x00123456, 0x04800000])
    def test_zero_is_no_target(self, nbits: int) -> None:
        with pytest.raises(ValueError, match="zero"):
            t.target_of_nbits(nbits)

    @pytest.mark.parametrize("nbits", [0x04923456, 0x01FEDCBA, 0x1D80FFFF, 0xFF923456])
    def test_negative_is_no_target(self, nbits: int) -> None:
        with pytest.raises(ValueError, match="negative"):
            t.target_of_nbits(nbits)

    @pytest.mark.parametrize("nbits", [0x21010000, 0x22000100, 0x23000001, 0xFF123456, 0x217FFFFF])
    def test_more_than_256_bits_overflow(self, nbits: int) -> None:
        with pytest.raises(ValueError, match="overflows"):
            t.target_of_nbits(nbits)

    @pytest.mark.parametrize("nbits", [-1, 1 << 32])
    def test_other_widths(self, nbits: int) -> None:
        with pytest.raises(ValueError, match="32-bit"):
            t.target_of_nbits(nbits)

    def test_the_largest_that_fits(self) -> None:
        assert t.target_of_nbits(0x2100FFFF) == 0xFFFF << 240
        assert t.target_of_nbits(0x220000FF) == 0xFF << 248

    @pytest.mark.parametrize(
        ("nbits", "target"),
        [(0x01123456, 0x12), (0x02123456, 0x1234), (0x03123456, 0x123456), (0x04123456, 0x12345600)],
    )
    def test_small_sizes_shift_right(self, nbits: int, target: int) -> None:
        assert t.target_of_nbits(nbits) == target

    @pytest.mark.parametrize("target", [0, -1, 1 << 256])
    def test_no_nbits_without_a_target(self, target: int) -> None:
        with pytest.raises(ValueError, match="target"):
            t.nbits_of_target(target)

    @given(st.integers(1, t.MAX_TARGET))
    def test_rounds_down_and_is_stable(self, target: int) -> None:
        nbits = t.nbits_of_target(target)
        rounded = t.target_of_nbits(nbits)
        assert rounded <= target < rounded * (1 + 2**-14)
        assert t.nbits_of_target(rounded) == nbits

    @given(st.integers(0, (1 << 32) - 1))
    def test_any_number_gives_a_target_or_a_clear_error(self, nbits: int) -> None:
        try:
            target = t.target_of_nbits(nbits)
        except ValueError:
            return
        assert 0 < target <= t.MAX_TARGET


class TestDifficultyOfHash:
    @pytest.mark.parametrize(
        ("index", "difficulty"), [(0, 2536.4262984453103), (3, 125538251293054.08), (4, 116627841100297.31)]
    )
    def test_blocks(self, index: int, difficulty: float) -> None:
        digest = bytes.fromhex(headers()[index]["hash_display"])[::-1]
        assert t.difficulty_of_hash(digest) == pytest.approx(difficulty, rel=1e-15)

    def test_digits_beyond_what_python_prints(self) -> None:
        assert t.parse_difficulty(10**5000) == t.MAX_DIFFICULTY
        for difficulty in (10**5000, -(10**5000)):
            with pytest.raises(ValueError):
                t.target_of_difficulty(difficulty)

    def test_extremes(self) -> None:
        assert t.difficulty_of_hash(bytes(32)) == float(t.D1)
        assert t.difficulty_of_hash(b"\xff" * 32) == pytest.approx(2.328e-10, rel=1e-3)

    @pytest.mark.parametrize("target", [0, -5])
    def test_a_zero_target_is_not_divided_by(self, target: int) -> None:
        with pytest.raises(ValueError, match="no difficulty"):
            t.difficulty_of_target(target)


class TestParseDifficulty:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (1, 1),
            (0.5, 0.5),
            (65536, 65536),
            ("512", 512),
            (" 0.001 ", 0.001),
            ("1e3", 1000.0),
            ("+2", 2.0),
            (".5", 0.5),
        ],
    )
    def test_reads(self, value, expected) -> None:
        assert t.parse_difficulty(value) == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(1e-300, 1e-9), (5e-324, 1e-9), (1e300, 1 << 63), (10**400, 1 << 63), ("9" * 60, 1 << 63)],
    )
    def test_clamps(self, value, expected) -> None:
        assert t.parse_difficulty(value) == expected

    @pytest.mark.parametrize(
        "value",
        [
            math.nan, math.inf, -math.inf, 0, 0.0, -0.0, -1, -0.5, True, False, None, [], [1], {}, b"1", 1j, Decimal(1),
            "", "one", "nan", "inf", "Infinity", "-1", "0", "1_000", "0x10", "1,5", "1 2", "1e400", "1e99999",
            "٣", "9" * 65, "\x00",
        ],
    )  # fmt: skip
    def test_refuses(self, value) -> None:
        with pytest.raises(ValueError, match="difficulty"):
            t.parse_difficulty(value)

    @given(st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.binary()))
    def test_what_is_read_has_a_target(self, value) -> None:
        try:
            difficulty = t.parse_difficulty(value)
        except ValueError:
            return
        assert t.target_of_difficulty(difficulty) > 0


class TestFloorPowerOfTwo:
    @pytest.mark.parametrize(
        ("difficulty", "expected"),
        [
            (1, 1),
            (1.0, 1.0),
            (1.99, 1.0),
            (3, 2),
            (1000, 512),
            (1024, 1024),
            (0.7, 0.5),
            (0.001, 2**-10),
            (2**63, 2**63),
        ],
    )
    def test_rounds_down(self, difficulty, expected) -> None:
        assert t.floor_power_of_two(difficulty) == expected

    @pytest.mark.parametrize("difficulty", [0, -1, -0.5, math.inf, math.nan])
    def test_refuses(self, difficulty) -> None:
        with pytest.raises(ValueError, match="power of two"):
            t.floor_power_of_two(difficulty)

    @given(st.floats(t.MIN_DIFFICULTY, float(t.MAX_DIFFICULTY)))
    def test_never_more_never_less_than_half(self, difficulty: float) -> None:
        assert difficulty / 2 < t.floor_power_of_two(difficulty) <= difficulty


class TestRates:
    def test_expected_hashes(self) -> None:
        assert t.expected_hashes(1) == pytest.approx(4295032833.000015, rel=1e-15)
        assert t.expected_hashes(2) == 2 * t.expected_hashes(1)

    def test_hashrate_of_shares(self) -> None:
        assert t.hashrate_of_shares(1000, Seconds(2**32 / 1e6)) == pytest.approx(1e9)
        assert t.hashrate_of_shares(0, Seconds(60)) == 0
        assert t.hashrate_of_shares(5, Seconds(0)) is None

    def test_network_hashrate(self) -> None:
        assert t.network_hashrate(108105433845147.16) == pytest.approx(773.8e18, rel=1e-4)
