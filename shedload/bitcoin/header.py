"""The 80-byte block header and the byte orders around it.

Three orders meet here. *Header order*: bytes as they stand in the header and as SHA-256 gives them. *Display order*:
all bytes reversed, as block explorers print a hash. *Stratum order*: each group of four bytes reversed, as
mining.notify sends the previous hash.
"""

import struct
from dataclasses import dataclass
from typing import Self

from shedload.hashing import HEADER_SIZE, hash_header, sha256d

_LAYOUT = struct.Struct("<I32s32sIII")


@dataclass(frozen=True, slots=True)
class Header:
    """A block header; digests in header order, numbers as unsigned 32-bit integers."""

    version: int
    prevhash: bytes
    merkle_root: bytes
    ntime: int
    nbits: int
    nonce: int

    def pack(self) -> bytes:
        """Return the 80 bytes that are hashed; ValueError where a field does not fit."""
        if len(self.prevhash) != 32 or len(self.merkle_root) != 32:
            raise ValueError("prevhash and merkle_root must be 32 bytes each")
        try:
            return _LAYOUT.pack(self.version, self.prevhash, self.merkle_root, self.ntime, self.nbits, self.nonce)
        except struct.error as error:
            raise ValueError(f"a header number is not an unsigned 32-bit integer: {error}") from None

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read 80 bytes; ValueError for any other length."""
        if len(data) != HEADER_SIZE:
            raise ValueError(f"header must be {HEADER_SIZE} bytes, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))

    @property
    def digest(self) -> bytes:
        """Double SHA-256 of the header, in header order; read little-endian it is what a target limits."""
        return hash_header(self.pack())

    @property
    def hash_display(self) -> str:
        """The block's name as explorers print it."""
        return display(self.digest)


def dsha(data: bytes) -> bytes:
    """SHA-256 of the SHA-256, in header order."""
    return sha256d(data)


def swap_words(data: bytes) -> bytes:
    """Reverse each group of four bytes: header order to Stratum order and back; ValueError for other lengths."""
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are no whole number of 4-byte words")
    words = struct.unpack(f">{len(data) // 4}I", data)
    return struct.pack(f"<{len(words)}I", *words)


def display(digest: bytes) -> str:
    """Hex in display order of a digest in header order."""
    return digest[::-1].hex()


def from_display(text: str) -> bytes:
    """Digest in header order from 64 hex digits in display order; ValueError for anything else."""
    digest = bytes.fromhex(text)[::-1]
    if len(digest) != 32:
        raise ValueError(f"a hash has 64 hex digits, not {len(text)}")
    return digest


def next_version(version: int, mask: int) -> int:
    """Count up within the mask's bits, the others stay; after the highest comes zero (stratum.md 6.4)."""
    return (version & ~mask) | (((version | ~mask) + 1) & mask)
