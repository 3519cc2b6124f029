"""The back end without C: hashlib for hashing, a SHA-256 compression in Python where the inner state is needed.

`Hashlib.scan` is also the reference that the C scan is measured against: the part of the header before the nonce is
hashed once and copied, and digests are compared as bytes.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shedload.hashing._backend import (
    DEFAULT_RESULTS,
    HEADER_SIZE,
    MIDSTATE_INPUT,
    NONCE_LIMIT,
    RESULT_LIMIT,
    SCAN_LIMIT,
    TAIL_SIZE,
    TARGET_LIMIT,
    Octets,
)

_MASK = 0xFFFFFFFF
_WORDS = struct.Struct(">8I")
_BLOCK = struct.Struct(">16I")
_TAIL_PADDING = b"\x80" + bytes(39 + 6) + (8 * HEADER_SIZE).to_bytes(2, "big")
"""What SHA-256 appends to an 80-byte message, up to the end of its second block."""


@dataclass(frozen=True, slots=True)
class Hashlib:
    """Hashing with the standard library alone."""

    name: str = "hashlib"

    def sha256d(self, data: Octets) -> bytes:
        """See Backend."""
        return hashlib.sha256(hashlib.sha256(data).digest()).digest()

    def midstate(self, first_block: Octets) -> bytes:
        """See Backend."""
        block = _exactly("first block", first_block, MIDSTATE_INPUT)
        return _WORDS.pack(*_compress(_INITIAL, block))

    def hash_header(self, header: Octets) -> bytes:
        """See Backend."""
        return self.sha256d(_exactly("header", header, HEADER_SIZE))

    def verify(self, header: Octets, target: int | Octets) -> bool:
        """See Backend."""
        return self.hash_header(header)[::-1] <= _big_endian_target(target)

    def scan(
        self, header: Octets, start_nonce: int, count: int, target: int | Octets, max_results: int = DEFAULT_RESULTS
    ) -> list[int]:
        """See Backend; keeps the GIL, about a million nonces a second."""
        before_nonce = hashlib.sha256(_exactly("header", header, HEADER_SIZE)[:-4])
        nonces = _nonces(start_nonce, count)
        highest = _big_endian_target(target)
        room = _number("max_results", max_results, 1, RESULT_LIMIT)
        sha256 = hashlib.sha256
        found: list[int] = []
        for nonce in nonces:
            first = before_nonce.copy()
            first.update(nonce.to_bytes(4, "little"))
            if sha256(first.digest()).digest()[::-1] <= highest:
                found.append(nonce)
                if len(found) == room:
                    break
        return found

    def scan_midstate(
        self,
        midstate: Octets,
        tail: Octets,
        start_nonce: int,
        count: int,
        target: int | Octets,
        max_results: int = DEFAULT_RESULTS,
    ) -> list[int]:
        """See Backend; hashlib cannot start from a midstate, so this makes only some ten thousand hashes a second."""
        state = _WORDS.unpack(_exactly("midstate", midstate, 32))
        start = _exactly("tail", tail, TAIL_SIZE)
        nonces = _nonces(start_nonce, count)
        highest = _big_endian_target(target)
        room = _number("max_results", max_results, 1, RESULT_LIMIT)
        found: list[int] = []
        for nonce in nonces:
            block = start + nonce.to_bytes(4, "little") + _TAIL_PADDING
            first = _WORDS.pack(*_compress(state, block))
            if hashlib.sha256(first).digest()[::-1] <= highest:
                found.append(nonce)
                if len(found) == room:
                    break
        return found


def _exactly(what: str, data: Octets, length: int) -> bytes:
    octets = memoryview(data).tobytes()
    if len(octets) != length:
        raise ValueError(f"{what} must be {length} bytes, not {len(octets)}")
    return octets


def _number(what: str, value: int, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int")
    if not low <= value <= high:
        raise ValueError(f"{what} must be {low} .. {high}")
    return value


def _nonces(start: int, count: int) -> range:
    start = _number("start_nonce", start, 0, NONCE_LIMIT - 1)
    count = _number("count", count, 0, SCAN_LIMIT)
    if start + count > NONCE_LIMIT:
        raise ValueError("start_nonce + count must not pass 2**32")
    return range(start, start + count)


def _big_endian_target(target: int | Octets) -> bytes:
    if isinstance(target, bool):
        raise TypeError("target must be an int or 32 bytes, not bool")
    if not isinstance(target, int):
        return _exactly("target", target, 32)[::-1]
    if not 0 <= target < TARGET_LIMIT:
        raise ValueError("target must be 0 .. 2**256 - 1")
    return target.to_bytes(32, "big")


def _primes(count: int) -> Iterator[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
            yield candidate
        candidate += 1


def _root_bits(number: int, power: int) -> int:
    """First 32 bits of the fraction of a square or cube root: where FIPS 180-4 takes its constants from."""
    scaled = number << (32 * power)
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**power <= scaled else (low, middle)
    return low & _MASK


_INITIAL = tuple(_root_bits(prime, 2) for prime in _primes(8))
_ROUND_CONSTANTS = tuple(_root_bits(prime, 3) for prime in _primes(64))


def _rotate(value: int, bits: int) -> int:
    return (value >> bits | value << (32 - bits)) & _MASK


def _schedule(block: bytes) -> list[int]:
    words = list(_BLOCK.unpack(block))
    for i in range(16, 64):
        old, recent = words[i - 15], words[i - 2]
        small0 = _rotate(old, 7) ^ _rotate(old, 18) ^ old >> 3
        small1 = _rotate(recent, 17) ^ _rotate(recent, 19) ^ recent >> 10
        words.append((words[i - 16] + small0 + words[i - 7] + small1) & _MASK)
    return words


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    """Take one 64-byte block into the state: 64 rounds of FIPS 180-4."""
    a, b, c, d, e, f, g, h = state
    for constant, word in zip(_ROUND_CONSTANTS, _schedule(block), strict=True):
        big1 = _rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)
        big0 = _rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)
        step = h + big1 + (g ^ e & (f ^ g)) + constant + word
        a, b, c, d, e, f, g, h = (
            (step + big0 + (a & b | c & (a | b))) & _MASK, a, b, c, (d + step) & _MASK, e, f, g,
        )  # fmt: skip
    return tuple((old + new) & _MASK for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True))
