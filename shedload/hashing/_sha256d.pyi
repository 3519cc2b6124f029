# The functions of shedload.hashing.Backend with the implementation as a last argument.

from shedload.hashing._backend import Octets

def implementations() -> list[str]: ...
def sha256d(data: Octets, implementation: str = ..., /) -> bytes: ...
def midstate(first_block: Octets, implementation: str = ..., /) -> bytes: ...
def hash_header(header: Octets, implementation: str = ..., /) -> bytes: ...
def verify(header: Octets, target: int | Octets, implementation: str = ..., /) -> bool: ...
def scan(
    header: Octets,
    start_nonce: int,
    count: int,
    target: int | Octets,
    max_results: int = 64,
    implementation: str = ...,
) -> list[int]: ...
def scan_midstate(
    midstate: Octets,
    tail: Octets,
    start_nonce: int,
    count: int,
    target: int | Octets,
    max_results: int = 64,
    implementation: str = ...,
) -> list[int]: ...
