"""Headers and byte orders against real blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedload.bitcoin.header import Header, display, dsha, from_display, next_version, swap_words
from tests.support.vectors import headers, load

COMPLETE = [vector for vector in headers() if "nonce_u32" in vector]


def header_of(vector: dict) -> Header:
    return Header(
        version=int(vector["version"], 16),
        prevhash=swap_words(bytes.fromhex(vector["prevhash_stratum"])),
        merkle_root=from_display(vector["merkle_display"]),
        ntime=int(vector["ntime"], 16),
        nbits=int(vector["nbits"], 16),
        nonce=int(vector["nonce_u32"], 16),
    )


@pytest.mark.parametrize("vector", COMPLETE, ids=lambda vector: vector["name"])
class TestRealBlocks:
    def test_packs_to_the_chain_s_bytes(self, vector: dict) -> None:
        header = header_of(vector)
        assert header.pack().hex() == vector["header"]
        assert header.hash_display == vector["hash_display"]
        assert display(dsha(header.pack())) == vector["hash_display"]

    def test_unpacks(self, vector: dict) -> None:
        assert Header.unpack(bytes.fromhex(vector["header"])) == header_of(vector)

    def test_orders_of_the_previous_hash(self, vector: dict) -> None:
        header = header_of(vector)
        assert display(header.prevhash) == vector["prevhash_display"]
        assert swap_words(header.prevhash).hex() == vector["prevhash_stratum"]


class TestBounds:
    GOOD = Header(1, bytes(32), bytes(32), 2, 3, 4)

    @pytest.mark.parametrize("length", [0, 79, 81])
    def test_other_lengths_are_refused(self, length: int) -> None:
        with pytest.raises(ValueError, match="80 bytes"):
            Header.unpack(bytes(length))

    @pytest.mark.parametrize("value", [-1, 1 << 32])
    def test_numbers_must_fit(self, value: int) -> None:
        for header in (
            Header(value, bytes(32), bytes(32), 2, 3, 4),
            Header(1, bytes(32), bytes(32), value, 3, 4),
            Header(1, bytes(32), bytes(32), 2, value, 4),
            Header(1, bytes(32), bytes(32), 2, 3, value),
        ):
            with pytest.raises(ValueError, match="unsigned 32-bit"):
                header.pack()

    def test_short_digests_do_not_get_padded(self) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            Header(1, bytes(31), bytes(32), 2, 3, 4).pack()
        with pytest.raises(ValueError, match="32 bytes"):
            Header(1, bytes(32), bytes(33), 2, 3, 4).pack()

    @given(st.binary(min_size=80, max_size=80))
    def test_any_80_bytes_survive(self, data: bytes) -> None:
        assert Header.unpack(data).pack() == data

    def test_swap_words_refuses_part_of_a_word(self) -> None:
        with pytest.raises(ValueError, match="4-byte words"):
            swap_words(bytes(5))

    @pytest.mark.parametrize("text", ["", "00", "g" * 64, "0" * 66])
    def test_from_display_refuses(self, text: str) -> None:
        with pytest.raises(ValueError):
            from_display(text)


class TestVersionRolling:
    def test_counts_within_the_mask(self) -> None:
        vector = load("blocks-and-merkle.json")["version_increment"]
        mask = int(vector["mask"], 16)
        steps = [int(step, 16) for step in vector["steps"]]
        assert [next_version(step, mask) for step in steps[:-1]] == steps[1:]

    def test_the_usual_mask(self) -> None:
        assert next_version(0x20000000, 0x1FFFE000) == 0x20002000
        assert next_version(0x20002000, 0x1FFFE000) == 0x20004000

    def test_wraps_to_the_base(self) -> None:
        assert next_version(0x20000004 | 0x00FFFF00, 0x00FFFF00) == 0x20000004

    @given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
    def test_never_leaves_the_mask(self, version: int, mask: int) -> None:
        assert (next_version(version, mask) ^ version) & ~mask == 0
