"""The C extension as a Backend: the module does the work, this names the implementation."""

from dataclasses import dataclass

from shedload.hashing import _sha256d
from shedload.hashing._backend import DEFAULT_RESULTS, Octets


@dataclass(frozen=True, slots=True)
class Native:
    """One implementation inside the C extension."""

    name: str

    def sha256d(self, data: Octets) -> bytes:
        """See Backend."""
        return _sha256d.sha256d(data, self.name)

    def midstate(self, first_block: Octets) -> bytes:
        """See Backend."""
        return _sha256d.midstate(first_block, self.name)

    def hash_header(self, header: Octets) -> bytes:
        """See Backend."""
        return _sha256d.hash_header(header, self.name)

    def verify(self, header: Octets, target: int | Octets) -> bool:
        """See Backend."""
        return _sha256d.verify(header, target, self.name)

    def scan(
        self, header: Octets, start_nonce: int, count: int, target: int | Octets, max_results: int = DEFAULT_RESULTS
    ) -> list[int]:
        """See Backend; runs without the GIL."""
        return _sha256d.scan(header, start_nonce, count, target, max_results, self.name)

    def scan_midstate(
        self,
        midstate: Octets,
        tail: Octets,
        start_nonce: int,
        count: int,
        target: int | Octets,
        max_results: int = DEFAULT_RESULTS,
    ) -> list[int]:
        """See Backend; runs without the GIL."""
        return _sha256d.scan_midstate(midstate, tail, start_nonce, count, target, max_results, self.name)


def native_backends() -> tuple[Native, ...]:
    """Every implementation that this processor runs, fastest first."""
    return tuple(Native(name) for name in _sha256d.implementations())
