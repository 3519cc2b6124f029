"""What every back end of hashing offers, and the limits they share.

Digests, midstates and nonces have one byte order here: a digest is as SHA-256 gives it (its bytes reversed are the
hash as shown), a midstate is the state words H0..H7, each big-endian, and a nonce is bytes 76..79 of the header read
little-endian. A target is an integer or the same number as 32 little-endian bytes; a hash meets it when not above it.
"""

from typing import Protocol

HEADER_SIZE = 80
MIDSTATE_INPUT = 64
"""Bytes of the header that the midstate covers: one SHA-256 block."""
TAIL_SIZE = 12
"""Bytes of the header between midstate and nonce: end of the merkle root, ntime, nbits."""
TARGET_LIMIT = 1 << 256
NONCE_LIMIT = 1 << 32
SCAN_LIMIT = 1 << 22
"""Nonces one scan may cover: 0.1 s to 2 s in C without the GIL, 3 s to 10 s with hashlib, which keeps the GIL."""
RESULT_LIMIT = 1 << 16
"""Results one scan may return; a quarter of a megabyte in C."""
DEFAULT_RESULTS = 64

Octets = bytes | bytearray | memoryview


class Backend(Protocol):
    """One way to hash. Wrong lengths and ranges raise ValueError, wrong types TypeError."""

    @property
    def name(self) -> str:
        """Name of the implementation: avx512, sha-ni, avx2, portable-c or hashlib."""
        ...

    def sha256d(self, data: Octets) -> bytes:
        """SHA-256 of the SHA-256."""
        ...

    def midstate(self, first_block: Octets) -> bytes:
        """State after the first 64 bytes of a header."""
        ...

    def hash_header(self, header: Octets) -> bytes:
        """Digest of an 80-byte header."""
        ...

    def verify(self, header: Octets, target: int | Octets) -> bool:
        """Tell whether the header's hash is not above the target."""
        ...

    def scan(
        self, header: Octets, start_nonce: int, count: int, target: int | Octets, max_results: int = DEFAULT_RESULTS
    ) -> list[int]:
        """Return the nonces of a range that meet the target, ascending; the header's own nonce is ignored.

        With `max_results` found the scan stops: go on behind the last one. `count` is at most SCAN_LIMIT.
        """
        ...

    def scan_midstate(
        self,
        midstate: Octets,
        tail: Octets,
        start_nonce: int,
        count: int,
        target: int | Octets,
        max_results: int = DEFAULT_RESULTS,
    ) -> list[int]:
        """Do the same as `scan` from a midstate and header bytes 64..75, which is all that some chips are given."""
        ...
