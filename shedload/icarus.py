"""The classic Icarus protocol: 64 bytes of work go out, 4 bytes of nonce come back; no frame, no id, no checksum.

A driver sends `Work.frame()`, feeds a `NonceReader` and hashes every nonce against the current work, then against the
previous one: a late reply belongs to the work before. The chip stops when it has found a nonce or has run through its
range, so new work follows after every nonce and before the range ends; a range without a nonce is normal (37 %).
"""

from dataclasses import dataclass
from typing import Final, Self

from shedload.errors import ProtocolError
from shedload.units import HashesPerSecond, Seconds

BAUD: Final = 115_200
"""8 data bits, no parity, 1 stop bit."""
WORK_SIZE: Final = 64
NONCE_SIZE: Final = 4
NONCE_RANGE: Final = 1 << 32
READ_TIMEOUT: Final = Seconds(0.100)
RESEND_MARGIN: Final = Seconds(0.150)
"""New work goes out this long before the range ends, as cgminer's driver does; the line needs 6 ms for it."""
RESYNC_SILENCE: Final = Seconds(0.010)
"""After a reply of 1 to 3 bytes the line must be quiet this long; a byte takes 0.09 ms."""
PROBE_TIMEOUT: Final = Seconds(1.0)
"""A device that answers GOLDEN_WORK with GOLDEN_NONCE within this time is an Icarus."""

GOLDEN_WORK: Final = bytes.fromhex(
    "4679ba4ec99876bf4bfe086082b400254df6c356451471139a3afa71e48f544a"
    "000000000000000000000000000000000000000087320b1a1426674f2fa722ce"
)
"""Work of block 171874, with the nonce that solved it."""
GOLDEN_NONCE: Final = bytes.fromhex("000187a2")

_HEADER_SIZE: Final = 80
_MIDSTATE_SIZE: Final = 32
_PADDING: Final = bytes(20)
_MAX_BURST: Final = 2 * NONCE_SIZE
"""Bytes between two works or silences: a late reply of the previous work and one of the current. More is noise."""


@dataclass(frozen=True, slots=True)
class Work:
    """One unit of work. All fields but the midstate are in header byte order.

    `midstate` holds the SHA-256 state after the first 64 header bytes, words H0..H7, each big-endian.
    """

    midstate: bytes
    merkle_tail: bytes
    ntime: bytes
    nbits: bytes

    @classmethod
    def from_header(cls, header: bytes, midstate: bytes) -> Self:
        """Work of a block header (80 bytes, or 76 without the nonce) and the midstate of its first 64 bytes."""
        if len(header) not in (_HEADER_SIZE, _HEADER_SIZE - NONCE_SIZE) or len(midstate) != _MIDSTATE_SIZE:
            raise ValueError(f"header of {len(header)} and midstate of {len(midstate)} bytes; 80 and 32 are needed")
        return cls(midstate, header[64:68], header[68:72], header[72:76])

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Read a frame, as a device does; raises ProtocolError if it is none."""
        if len(frame) != WORK_SIZE:
            raise ProtocolError(f"a work frame has {WORK_SIZE} bytes, this has {len(frame)}")
        return cls(_swap_words(frame[:32]), frame[60:64], frame[56:60], frame[52:56])

    def frame(self) -> bytes:
        """The 64 bytes on the wire: midstate as words H7..H0, 20 zeros, nbits, ntime, end of the merkle root."""
        return _swap_words(self.midstate) + _PADDING + self.nbits + self.ntime + self.merkle_tail

    def second_block(self, nonce: bytes) -> bytes:
        """The last 16 header bytes: with the midstate all that is needed to hash a nonce."""
        return self.merkle_tail + self.ntime + self.nbits + nonce


class NonceReader:
    """Cuts the bytes of the line into replies of 4 bytes and finds its feet again after a lost or an added byte.

    The driver calls `work_sent()` with each work, `silence()` when `pending` is true and the line was quiet for
    RESYNC_SILENCE, and `lost_step()` when a nonce fits no work: from then on bytes are dropped until the next silence.
    """

    __slots__ = ("_burst", "_dropping", "_partial", "dropped")

    def __init__(self) -> None:
        self.dropped = 0
        self._partial = b""
        self._burst = 0
        self._dropping = False

    @property
    def pending(self) -> bool:
        """True if the reader waits for the line to fall silent."""
        return self._burst > 0 or self._dropping

    def receive_data(self, data: bytes) -> list[bytes]:
        """Replies that are complete now, oldest first, at most two until the next silence or the next work."""
        taken = b"" if self._dropping else data[: _MAX_BURST - self._burst]
        self.dropped += len(data) - len(taken)
        self._burst += len(taken)
        bytes_here = self._partial + taken
        whole = len(bytes_here) - len(bytes_here) % NONCE_SIZE
        self._partial = bytes_here[whole:]
        return [bytes_here[start : start + NONCE_SIZE] for start in range(0, whole, NONCE_SIZE)]

    def work_sent(self) -> None:
        """New work went out: another reply may follow at once. A reply that is half here stays."""
        self._burst = len(self._partial)

    def silence(self) -> None:
        """The line was quiet: a part of a reply is no reply any more, and the next byte begins one."""
        self.dropped += len(self._partial)
        self._partial = b""
        self._burst = 0
        self._dropping = False

    def lost_step(self) -> None:
        """A nonce fitted neither the current nor the previous work: drop all until the line falls silent."""
        self.dropped += len(self._partial)
        self._partial = b""
        self._dropping = True


@dataclass(frozen=True, slots=True)
class Model:
    """Speed of a device. `chips` share the range: with two, the top bit of the counter names the chip."""

    name: str
    nanoseconds_per_hash: float
    chips: int = 1

    @property
    def full_range(self) -> Seconds:
        """Time in which the whole range of nonces is tried."""
        return Seconds(NONCE_RANGE * self.nanoseconds_per_hash * 1e-9)

    @property
    def resend_after(self) -> Seconds:
        """Time after which new work must go out though no nonce came."""
        return Seconds(self.full_range - RESEND_MARGIN)

    @property
    def hashrate(self) -> HashesPerSecond:
        """All chips together."""
        return HashesPerSecond(1e9 / self.nanoseconds_per_hash)

    def hashes_done(self, nonce: bytes) -> int:
        """Hashes tried from the start of a work to this reply, by all chips together."""
        return (nonce_counter(nonce) % (NONCE_RANGE // self.chips) + 1) * self.chips


ICARUS: Final = Model("Icarus rev3", 2.6316, chips=2)
LANCELOT: Final = Model("Lancelot", 2.5, chips=2)
BLOCK_ERUPTER: Final = Model("Block Erupter", 2.9761)


def nonce_counter(nonce: bytes) -> int:
    """The counter of the device: the reply as a big-endian number."""
    return int.from_bytes(nonce, "big")


def apply_nonce(header: bytes, nonce: bytes) -> bytes:
    """The 80-byte header with a reply in it: the bytes go in as they came."""
    return header[: _HEADER_SIZE - NONCE_SIZE] + nonce


def _swap_words(state: bytes) -> bytes:
    """Eight words in the opposite order, the bytes inside each as they are."""
    return b"".join(state[start : start + 4] for start in range(28, -4, -4))
