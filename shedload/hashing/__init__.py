"""Double SHA-256: hash or verify one header, take a midstate, scan a range of nonces.

Two back ends pass the same vectors: the C extension (several implementations, the fastest that the processor runs)
and hashlib where it was not built. `backend` names the one in use; `backends()` gives all, for tests and benchmarks.
"""

from shedload.hashing._backend import (
    DEFAULT_RESULTS,
    HEADER_SIZE,
    NONCE_LIMIT,
    RESULT_LIMIT,
    SCAN_LIMIT,
    Backend,
    Octets,
)
from shedload.hashing._python import Hashlib

__all__ = [
    "DEFAULT_RESULTS",
    "HEADER_SIZE",
    "NONCE_LIMIT",
    "RESULT_LIMIT",
    "SCAN_LIMIT",
    "Backend",
    "Octets",
    "backend",
    "backends",
    "hash_header",
    "midstate",
    "scan",
    "scan_midstate",
    "sha256d",
    "verify",
]


def backends() -> tuple[Backend, ...]:
    """Every back end that runs here, fastest first; hashlib is always the last."""
    try:
        from shedload.hashing._native import native_backends  # noqa: PLC0415 - absent where no C was built
    except ImportError:
        return (Hashlib(),)
    return (*native_backends(), Hashlib())


_best = backends()[0]

backend: str = _best.name
"""The implementation in use: avx512, sha-ni, avx2, portable-c or hashlib."""

sha256d = _best.sha256d
midstate = _best.midstate
hash_header = _best.hash_header
verify = _best.verify
scan = _best.scan
scan_midstate = _best.scan_midstate
