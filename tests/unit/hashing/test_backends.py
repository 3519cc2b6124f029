"""Every back end gives the same answers: real blocks, midstates, solved work, odd arguments."""

import hashlib
import itertools
import threading
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shedload import hashing
from shedload.hashing import NONCE_LIMIT, RESULT_LIMIT, SCAN_LIMIT, Backend
from tests.support.vectors import headers, load, solutions

BACKENDS = hashing.backends()
D1 = 0xFFFF << 208
EVERYTHING = (1 << 256) - 1
GENESIS = bytes.fromhex(headers()[0]["header"])
GENESIS_NONCE = 0x7C2BAC1D

# stratum.md 8 F: the header of four versions (prev as Stratum sends it), its midstates by public verifier values.
FOUR_PREV = "bf44fd3513dc7b837d60e5c628b572b448d204a8000007490000000000000000"
FOUR_ROOT = "cd1be82132ef0d12053dcece1fa0247fcfdb61d4dbd3eb32ea9ef9b4c604a846"
FOUR = {
    0x20000004: "52eadf9168739f8a5d490d3d1574ddd6cb21cae1e35917415f7d5de04d3185f2",
    0x20002004: "cb699658d4bc33ef93772919d0908ead29c7afea49d27f08e9ef56cb1223a956",
    0x20004004: "66c0b97d3228f0892f37d00d0c97daa318867538a3effca4f26412934176317e",
    0x20006004: "eaec465ac47f5b51e3b67bbd9cd73c4286383559c3f03b5ae589678b73828ae1",
}


def reference(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
class TestEveryBackend:
    def test_hashes_any_length(self, backend: Backend) -> None:
        for length in range(200):
            data = bytes(i * 7 & 255 for i in range(length))
            assert backend.sha256d(data) == reference(data), length

    @pytest.mark.parametrize("vector", headers(), ids=lambda vector: vector["name"])
    def test_hashes_real_headers(self, backend: Backend, vector: dict) -> None:
        header = bytes.fromhex(vector["header"])
        digest = backend.hash_header(header)
        assert digest == reference(header)
        if "hash_display" in vector:
            assert digest[::-1].hex() == vector["hash_display"]
        assert D1 / int.from_bytes(digest, "little") == pytest.approx(vector["difficulty"], rel=1e-4)

    def test_verifies_on_the_very_edge(self, backend: Backend) -> None:
        exact = int.from_bytes(reference(GENESIS), "little")
        assert backend.verify(GENESIS, exact)
        assert not backend.verify(GENESIS, exact - 1)
        assert backend.verify(GENESIS, exact.to_bytes(32, "little"))
        assert not backend.verify(GENESIS, (exact - 1).to_bytes(32, "little"))
        assert backend.verify(GENESIS, EVERYTHING)
        assert not backend.verify(GENESIS, 0)

    def test_compares_every_word_of_the_target(self, backend: Backend) -> None:
        exact = int.from_bytes(reference(GENESIS), "little")
        for bit in range(256):
            for other in (exact + (1 << bit), exact - (1 << bit)):
                if 0 <= other <= EVERYTHING:
                    assert backend.verify(GENESIS, other) is (exact <= other)

    @pytest.mark.parametrize("version", FOUR)
    def test_midstates_of_rolled_versions(self, backend: Backend, version: int) -> None:
        words = bytes.fromhex(FOUR_PREV)
        prev = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
        block = version.to_bytes(4, "little") + prev + bytes.fromhex(FOUR_ROOT)[:28]
        assert backend.midstate(block).hex() == FOUR[version]

    @pytest.mark.parametrize("vector", load("icarus.json")["computed"], ids=lambda vector: vector["name"])
    def test_midstates_as_icarus_boards_get_them(self, backend: Backend, vector: dict) -> None:
        midstate = backend.midstate(bytes.fromhex(vector["header"])[:64])
        words = [midstate[i : i + 4] for i in range(0, 32, 4)]
        assert b"".join(reversed(words)).hex() == vector["work64"][:64]

    def test_scan_finds_the_first_block(self, backend: Backend) -> None:
        for start in range(GENESIS_NONCE - 20, GENESIS_NONCE + 1):
            assert backend.scan(GENESIS, start, 21, D1) == [GENESIS_NONCE]
        assert backend.scan(GENESIS, GENESIS_NONCE - 20, 20, D1) == []
        assert backend.scan(GENESIS, GENESIS_NONCE + 1, 20, D1) == []

    @pytest.mark.parametrize("solution", solutions(), ids=lambda solution: solution["submit_params"][4])
    def test_scan_finds_solved_work(self, backend: Backend, solution: dict) -> None:
        header = bytes.fromhex(solution["header"])
        nonce = int(solution["submit_params"][4], 16)
        start = max(0, nonce - 100)
        count = min(201, NONCE_LIMIT - start)
        assert backend.scan(header, start, count, D1) == [nonce]
        assert backend.scan_midstate(backend.midstate(header[:64]), header[64:76], start, count, D1) == [nonce]
        assert backend.hash_header(header)[::-1].hex() == solution["hash_display"]

    def test_scan_of_icarus_golden_work(self, backend: Backend) -> None:
        golden = load("icarus.json")["golden"]
        work = bytes.fromhex(golden["work64"])
        midstate = b"".join(work[i : i + 4] for i in range(28, -4, -4))
        tail = b"".join(work[i : i + 4] for i in range(60, 48, -4))
        nonce = int(golden["header_nonce_u32"], 16)
        assert backend.scan_midstate(midstate, tail, nonce - 50, 100, D1) == [nonce]

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 33])
    def test_scan_returns_exactly_what_meets_an_easy_target(self, backend: Backend, count: int) -> None:
        target = EVERYTHING // 3
        start = NONCE_LIMIT - count if count else 5
        expected = [
            nonce
            for nonce in range(start, start + count)
            if int.from_bytes(reference(GENESIS[:76] + nonce.to_bytes(4, "little")), "little") <= target
        ]
        assert backend.scan(GENESIS, start, count, target) == expected

    def test_scan_stops_when_it_has_enough_and_can_go_on(self, backend: Backend) -> None:
        everything = backend.scan(GENESIS, 1000, 100, EVERYTHING // 2, 100)
        found: list[int] = []
        start = 1000
        while part := backend.scan(GENESIS, start, 1100 - start, EVERYTHING // 2, 7):
            assert len(part) <= 7
            found += part
            start = part[-1] + 1
        assert found == everything

    def test_scan_ignores_the_nonce_in_the_header(self, backend: Backend) -> None:
        assert backend.scan(GENESIS[:76] + b"\xff" * 4, GENESIS_NONCE, 1, D1) == [GENESIS_NONCE]

    def test_no_hash_meets_zero(self, backend: Backend) -> None:
        assert backend.scan(GENESIS, 0, 500, 0) == []

    def test_takes_any_octets(self, backend: Backend) -> None:
        expected = reference(GENESIS)
        assert backend.hash_header(bytearray(GENESIS)) == expected
        assert backend.hash_header(memoryview(GENESIS)) == expected
        assert backend.sha256d(bytearray(GENESIS)) == expected

    @pytest.mark.parametrize("length", [0, 1, 79, 81, 160])
    def test_refuses_headers_of_other_lengths(self, backend: Backend, length: int) -> None:
        for call in (backend.hash_header, lambda h: backend.verify(h, D1), lambda h: backend.scan(h, 0, 1, D1)):
            with pytest.raises(ValueError, match=f"header must be 80 bytes, not {length}"):
                call(bytes(length))

    def test_refuses_other_lengths_of_midstate_and_tail(self, backend: Backend) -> None:
        with pytest.raises(ValueError, match="first block must be 64 bytes, not 80"):
            backend.midstate(GENESIS)
        with pytest.raises(ValueError, match="midstate must be 32 bytes"):
            backend.scan_midstate(bytes(31), bytes(12), 0, 1, D1)
        with pytest.raises(ValueError, match="tail must be 12 bytes"):
            backend.scan_midstate(bytes(32), bytes(16), 0, 1, D1)

    @pytest.mark.parametrize(
        ("start", "count", "target", "room"),
        [
            (-1, 1, D1, 1),
            (NONCE_LIMIT, 0, D1, 1),
            (1 << 200, 0, D1, 1),
            (0, -1, D1, 1),
            (0, SCAN_LIMIT + 1, D1, 1),
            (0, 1 << 70, D1, 1),
            (NONCE_LIMIT - 1, 2, D1, 1),
            (0, 1, -1, 1),
            (0, 1, 1 << 256, 1),
            (0, 1, bytes(31), 1),
            (0, 1, bytes(33), 1),
            (0, 1, D1, 0),
            (0, 1, D1, -1),
            (0, 1, D1, RESULT_LIMIT + 1),
        ],
    )
    def test_refuses_ranges_that_make_no_sense(self, backend: Backend, start, count, target, room) -> None:
        with pytest.raises(ValueError):
            backend.scan(GENESIS, start, count, target, room)

    @pytest.mark.parametrize(
        "arguments",
        [
            (None, 0, 1, D1),
            ("00" * 80, 0, 1, D1),
            (80, 0, 1, D1),
            (GENESIS, 0.0, 1, D1),
            (GENESIS, True, 1, D1),
            (GENESIS, 0, None, D1),
            (GENESIS, 0, 1, 1.5),
            (GENESIS, 0, 1, True),
            (GENESIS, 0, 1, D1, "many"),
        ],
    )
    def test_refuses_other_types(self, backend: Backend, arguments: tuple) -> None:
        with pytest.raises(TypeError):
            backend.scan(*arguments)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 40),
    st.sampled_from([NONCE_LIMIT - 1, NONCE_LIMIT, 1 << 63, 1 << 64, -(1 << 63), SCAN_LIMIT + 1, D1, EVERYTHING]),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=100),
    st.binary(min_size=80, max_size=80),
    st.binary(min_size=32, max_size=32),
)
SMALL_COUNT = st.one_of(st.integers(-1, 40), st.sampled_from([SCAN_LIMIT + 1, None]))
FUNCTIONS = ("sha256d", "midstate", "hash_header", "verify")


def outcome(function, arguments) -> object:
    try:
        return function(*arguments)
    except (ValueError, TypeError) as error:
        return type(error)


class TestOddArguments:
    """The same result or the same class of error from each back end, whatever is handed in."""

    @settings(max_examples=150, deadline=None)
    @given(name=st.sampled_from(FUNCTIONS), arguments=st.lists(ODD, min_size=1, max_size=2))
    def test_single_hashes(self, name, arguments) -> None:
        assert len({outcome(getattr(backend, name), arguments) for backend in BACKENDS}) == 1

    @settings(max_examples=200, deadline=None)
    @given(
        header=st.one_of(st.binary(min_size=80, max_size=80), ODD),
        start=st.one_of(st.integers(0, NONCE_LIMIT), ODD),
        count=SMALL_COUNT,
        target=st.one_of(st.integers(0, EVERYTHING), ODD),
        room=st.one_of(st.integers(1, 10), ODD),
    )
    def test_scans(self, header, start, count, target, room) -> None:
        arguments = (header, start, count, target, room)
        agree([outcome(backend.scan, arguments) for backend in BACKENDS])

    @settings(max_examples=100, deadline=None)
    @given(place=st.integers(0, 4), odd=ODD)
    def test_scans_with_one_odd_argument(self, place, odd) -> None:
        arguments: list[object] = [bytes(80), 0, 20, EVERYTHING // 20, 4]
        arguments[place] = odd
        assume(not (place == 2 and isinstance(odd, int) and odd > 1000))  # a long scan, and no odd argument
        outcomes = [outcome(backend.scan, arguments) for backend in BACKENDS]
        assert all(result == outcomes[0] for result in outcomes), outcomes

    @settings(max_examples=100, deadline=None)
    @given(
        midstate=st.one_of(st.binary(min_size=32, max_size=32), ODD),
        tail=st.one_of(st.binary(min_size=12, max_size=12), ODD),
        start=st.integers(0, NONCE_LIMIT - 41),
        count=SMALL_COUNT,
        target=st.one_of(st.integers(EVERYTHING // 20, EVERYTHING), ODD),
    )
    def test_scans_from_a_midstate(self, midstate, tail, start, count, target) -> None:
        agree([outcome(b.scan_midstate, (midstate, tail, start, count, target)) for b in BACKENDS])


def agree(outcomes) -> None:
    """All refuse, or all give the same: which of several wrong arguments is named first is nobody's contract."""
    refused = [isinstance(result, type) for result in outcomes]
    assert all(refused) or all(result == outcomes[0] for result in outcomes), outcomes


class TestChoice:
    def test_the_fastest_is_in_use_and_hashlib_always_there(self) -> None:
        assert hashing.backend == BACKENDS[0].name
        assert BACKENDS[-1].name == "hashlib"
        assert hashing.sha256d(b"") == reference(b"")

    def test_without_the_extension_hashlib_stands_in(self, monkeypatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "shedload.hashing._native", None)
        assert [backend.name for backend in hashing.backends()] == ["hashlib"]

    def test_an_unknown_implementation_is_refused(self) -> None:
        native = pytest.importorskip("shedload.hashing._sha256d", reason="the C extension is not built")
        with pytest.raises(ValueError, match="implementation abacus is not available"):
            native.scan(GENESIS, 0, 1, D1, 1, "abacus")
        with pytest.raises(ValueError, match="not available"):
            native.sha256d(b"", "abacus")

    @pytest.mark.skipif(BACKENDS[0].name == "hashlib", reason="the C extension is not built")
    def test_other_threads_run_while_c_scans(self) -> None:
        slowest = BACKENDS[-2]
        begun = threading.Event()

        def scan() -> None:
            begun.set()
            slowest.scan(GENESIS, 0, SCAN_LIMIT, 0)

        thread = threading.Thread(target=scan)
        started = time.monotonic()
        thread.start()
        begun.wait(10)
        stamps = [time.monotonic()]
        while thread.is_alive():
            stamps.append(time.monotonic())
        thread.join()
        longest_pause = max(after - before for before, after in itertools.pairwise(stamps))
        assert longest_pause < (stamps[-1] - started) / 2
