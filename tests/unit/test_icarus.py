import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedload import icarus
from shedload.errors import ProtocolError
from shedload.icarus import GOLDEN_NONCE, GOLDEN_WORK, NonceReader, Work, apply_nonce, nonce_counter
from tests.support.property import assert_split_invariant

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/icarus.json").read_text())
SOLVED = (  # an invented session whose shares are genuine: header, work, hash
    (
        (
            "0000002054a02827d7a8b75601275a160279a3c5768de4c1c4a702000000000000000000"
            "4c671706565a2e7ab27899fcdfb273eba856abeaaabd806c059211026a7609e900b0b864943805173bcfbd91"
        ),
        (
            "30a4da7582f1097fad7b714520e6e5910fa0a60f23a3a7658e63e202208a26c3"
            "00000000000000000000000000000000000000009438051700b0b8646a7609e9"
        ),
        "00000000f7fd26ec08ef7f9bf337af4f221911a4bee5f40f0425f4f89dc2fd8b",
    ),
    (
        (
            "0000002054a02827d7a8b75601275a160279a3c5768de4c1c4a702000000000000000000"
            "c237b7e88b878b04df3d19384468da117659cdb21ba1581c4130b3f679a0ac6c00b0b86494380517418502b3"
        ),
        (
            "6a29c621fad67973d83add23a46e7499bc7cc04dc030d8104fd213270a20c60a"
            "00000000000000000000000000000000000000009438051700b0b86479a0ac6c"
        ),
        "000000007e28ac6dc7cc91891635c659d7a6643ef445bbf900b5fb7c1bd376a9",
    ),
    (
        (
            "0000002054a02827d7a8b75601275a160279a3c5768de4c1c4a702000000000000000000"
            "c237b7e88b878b04df3d19384468da117659cdb21ba1581c4130b3f679a0ac6c00b0b86494380517c5d42536"
        ),
        (
            "6a29c621fad67973d83add23a46e7499bc7cc04dc030d8104fd213270a20c60a"
            "00000000000000000000000000000000000000009438051700b0b86479a0ac6c"
        ),
        "0000000053e7bbd87c2dd5cb74ef1ffc8772d6610c44874fb55d69d25a7acda9",
    ),
)
computed = pytest.mark.parametrize("vector", VECTORS["computed"], ids=lambda vector: vector["name"])


def midstate(block: bytes) -> bytes:
    """SHA-256 state after one block, written anew from FIPS 180-4 so that nothing is shared with the product."""
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, p))][:64]
    k = [int(p ** (1 / 3) % 1 * 2**32) for p in primes]
    h = [int(p**0.5 % 1 * 2**32) for p in primes[:8]]

    def rotate(x: int, n: int) -> int:
        return (x >> n | x << (32 - n)) & 0xFFFFFFFF

    w = [int.from_bytes(block[i : i + 4], "big") for i in range(0, 64, 4)]
    for i in range(16, 64):
        s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3
        s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10
        w.append((w[i - 16] + s0 + w[i - 7] + s1) & 0xFFFFFFFF)
    a, b, c, d, e, f, g, hh = h
    for i in range(64):
        s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
        t1 = hh + s1 + (e & f ^ ~e & 0xFFFFFFFF & g) + k[i] + w[i]
        s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)
        t2 = s0 + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, hh = (t1 + t2) & 0xFFFFFFFF, a, b, c, (d + t1) & 0xFFFFFFFF, e, f, g
    return b"".join(
        ((x + y) & 0xFFFFFFFF).to_bytes(4, "big") for x, y in zip(h, (a, b, c, d, e, f, g, hh), strict=True)
    )


@computed
def test_work_of_known_headers(vector):
    header = bytes.fromhex(vector["header"])
    work = Work.from_header(header, midstate(header[:64]))
    assert work.frame().hex() == vector["work64"]
    assert Work.from_header(header[:76], work.midstate) == work
    assert Work.parse(work.frame()) == work


@computed
def test_replies_go_into_the_header_as_they_came(vector):
    header = bytes.fromhex(vector["header"])
    solved = apply_nonce(header[:76], bytes.fromhex(vector["reply4"]))
    assert solved == header
    digest = hashlib.sha256(hashlib.sha256(solved).digest()).digest()
    assert digest[::-1].hex() == vector["hash_display"]
    work = Work.parse(bytes.fromhex(vector["work64"]))
    assert work.second_block(bytes.fromhex(vector["reply4"])) == header[64:]


@pytest.mark.parametrize(("header", "work", "shown"), SOLVED)
def test_solved_session(header, work, shown):
    header = bytes.fromhex(header)
    found = Work.from_header(header, midstate(header[:64]))
    assert found.frame().hex() == work
    assert hashlib.sha256(hashlib.sha256(apply_nonce(header, header[76:])).digest()).digest()[::-1].hex() == shown


def test_golden_work():
    golden = VECTORS["golden"]
    assert golden["work64"] == GOLDEN_WORK.hex()
    assert golden["reply4"] == GOLDEN_NONCE.hex()
    assert nonce_counter(GOLDEN_NONCE) == 100_258
    assert Work.parse(GOLDEN_WORK).frame() == GOLDEN_WORK


@pytest.mark.parametrize("size", [0, 63, 65])
def test_other_sizes_are_no_frames(size):
    with pytest.raises(ProtocolError):
        Work.parse(bytes(size))


@pytest.mark.parametrize(("header", "state"), [(79, 32), (80, 31), (64, 32)])
def test_other_sizes_are_no_work(header, state):
    with pytest.raises(ValueError, match="needed"):
        Work.from_header(bytes(header), bytes(state))


@given(st.binary(min_size=80, max_size=80), st.binary(min_size=32, max_size=32))
def test_any_work_comes_back_from_its_frame(header, state):
    work = Work.from_header(header, state)
    assert len(work.frame()) == 64
    assert Work.parse(work.frame()) == work
    assert work.second_block(header[76:]) == header[64:]


class TestNonceReader:
    def test_a_reply_in_pieces(self):
        reader = NonceReader()
        assert reader.receive_data(b"\x00\x01") == []
        assert reader.pending
        assert reader.receive_data(b"\x87\xa2") == [GOLDEN_NONCE]
        reader.silence()
        assert not reader.pending
        assert reader.dropped == 0

    @pytest.mark.parametrize("lost", [1, 2, 3])
    def test_after_lost_bytes_silence_starts_anew(self, lost):
        reader = NonceReader()
        assert reader.receive_data(GOLDEN_NONCE[lost:]) == []
        reader.silence()
        assert reader.dropped == 4 - lost
        assert reader.receive_data(GOLDEN_NONCE) == [GOLDEN_NONCE]

    def test_two_replies_at_once_are_two_and_more_is_noise(self):
        reader = NonceReader()
        assert reader.receive_data(b"aaaabbbbccccd") == [b"aaaa", b"bbbb"]
        assert reader.receive_data(b"dddd") == []
        assert reader.dropped == 9
        reader.silence()
        assert reader.receive_data(b"eeee") == [b"eeee"]

    def test_fast_devices_may_answer_each_work_without_a_pause(self):
        reader = NonceReader()
        for _ in range(10):
            reader.work_sent()
            assert reader.receive_data(b"aaaa") == [b"aaaa"]
        assert reader.dropped == 0

    def test_new_work_keeps_half_a_reply_of_the_old(self):
        reader = NonceReader()
        reader.receive_data(b"aa")
        reader.work_sent()
        assert reader.receive_data(b"aabbbb") == [b"aaaa", b"bbbb"]

    def test_a_nonce_that_fits_nothing_drops_all_until_silence(self):
        reader = NonceReader()
        assert reader.receive_data(b"xaaaa") == [b"xaaa"]
        reader.lost_step()
        assert reader.pending
        assert reader.receive_data(b"bbbb") == []
        reader.silence()
        assert reader.dropped == 5
        assert reader.receive_data(b"cccc") == [b"cccc"]

    @given(st.binary(max_size=30))
    def test_the_cut_never_changes_the_replies(self, data):
        def feed(chunks):
            reader = NonceReader()
            replies = [reply for chunk in chunks for reply in reader.receive_data(chunk)]
            reader.silence()
            return replies, reader.dropped, reader.pending

        replies, dropped, _ = assert_split_invariant(feed, data)
        assert len(replies) <= 2
        assert 4 * len(replies) + dropped == len(data)


def test_timing_of_the_known_devices():
    recorded = {row["device"]: row for row in VECTORS["timing"]}
    for model, name in (
        (icarus.ICARUS, "Icarus rev3 / ICA"),
        (icarus.LANCELOT, "Lancelot"),
        (icarus.BLOCK_ERUPTER, "Block Erupter (AMU)"),
    ):
        assert model.nanoseconds_per_hash == recorded[name]["ns_per_hash"]
        assert model.hashrate == pytest.approx(recorded[name]["mhs"] * 1e6, rel=1e-4)
    assert icarus.BLOCK_ERUPTER.full_range == pytest.approx(12.78, abs=0.005)
    assert icarus.BLOCK_ERUPTER.resend_after == pytest.approx(12.63, abs=0.005)


def test_hashes_done_counts_both_halves():
    assert icarus.BLOCK_ERUPTER.hashes_done(GOLDEN_NONCE) == 100_259
    assert icarus.ICARUS.hashes_done(GOLDEN_NONCE) == 200_518
    assert icarus.ICARUS.hashes_done(bytes.fromhex("800187a2")) == 200_518
    assert icarus.ICARUS.hashes_done(b"\xff" * 4) == icarus.NONCE_RANGE
