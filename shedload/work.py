"""Work for chips and the nonces that come back: the currency between upstream pools, dispatch and serial drivers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """A header to be searched. `key` is the dispatcher's own and comes back with each nonce.

    `header` is the 80-byte header with nonce 0; `midstate` the SHA-256 state after its first 64 bytes (words H0..H7,
    each big-endian). `target` is the easiest hash worth reporting, as an integer.
    """

    key: int
    header: bytes
    midstate: bytes
    target: int


@dataclass(frozen=True, slots=True)
class Nonce:
    """A nonce that a chip claims for the work `key`: the header's bytes 76..79 read as a little-endian integer."""

    key: int
    nonce: int
