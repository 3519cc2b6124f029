"""The chips of an Icarus without a line or a clock: work frames in, true nonces out.

    bytes --> receive() --> current work --slice_()--> search() in a thread --> settle() --> reply bytes

A chip answers the first nonce that its difficulty lets through and then stops, as it does at the end of its range; new
work aborts the old. The golden work is answered with the golden nonce, after it was hashed. Counts nonces in the
order of the header's number, not in the device's: that order shows nowhere on the line.
"""

from dataclasses import dataclass

from shedload import icarus
from shedload.bitcoin.target import target_of_difficulty
from shedload.hashing import scan_midstate

FRAME_GAP = 0.1
"""Seconds between two bytes of one frame; after more a frame begins anew, so that a lost byte does not shift all."""
FIRST_SLICE, LARGEST_SLICE = 1 << 10, 1 << 18
"""Nonces searched at once: few until it is known how fast this machine is."""
SLICE_TIME = 0.1
"""Real seconds that a slice may take: new work never waits longer."""
SLICE_SECONDS = 15.0
"""Slow chips are searched in slices of this much of their own time: longer than a work lives."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a work's range; plain values, to be searched anywhere."""

    serial: int
    midstate: bytes
    tail: bytes
    start: int
    count: int
    target: int

    def search(self) -> int | None:
        """The first nonce that meets the target; None where none does. Runs without the GIL where there is C."""
        found = scan_midstate(self.midstate, self.tail, self.start, self.count, self.target, 1)
        return found[0] if found else None


class IcarusChip:
    """What is being searched, and where the search stands."""

    def __init__(self, difficulty: float, hashrate: float) -> None:
        self.target = target_of_difficulty(difficulty)
        self.hashrate = hashrate
        self.works = 0  # frames taken
        self.found = 0
        self._buffer = b""
        self._last_byte = float("-inf")
        self._work: icarus.Work | None = None
        self._next = 0
        self._largest = max(1, min(LARGEST_SLICE, int(hashrate * SLICE_SECONDS)))
        self._span = min(FIRST_SLICE, self._largest)

    @property
    def busy(self) -> bool:
        """Hashing."""
        return self._work is not None

    def receive(self, data: bytes, now: float) -> bytes | None:
        """Take bytes of the line. The reply where a work's answer is known at once, as the golden one's is."""
        if now - self._last_byte > FRAME_GAP:
            self._buffer = b""
        self._last_byte = now
        self._buffer += data
        reply = None
        while len(self._buffer) >= icarus.WORK_SIZE:
            frame, self._buffer = self._buffer[: icarus.WORK_SIZE], self._buffer[icarus.WORK_SIZE :]
            reply = self._begin(frame)
        return reply

    def slice_(self) -> Slice | None:
        """The piece of the range to be searched next; None while idle."""
        if self._work is None:
            return None
        work = self._work
        count = min(self._span, icarus.NONCE_RANGE - self._next)
        return Slice(self.works, work.midstate, work.second_block(b""), self._next, count, self.target)

    def took(self, searched: Slice, seconds: float) -> None:
        """Learn how long a slice took, and choose the next ones' size."""
        if seconds > SLICE_TIME:
            self._span = max(1, searched.count // 2)
        elif seconds < SLICE_TIME / 4:
            self._span = min(self._largest, self._span * 2)

    def settle(self, searched: Slice, nonce: int | None) -> bytes | None:
        """Learn what a slice held: the reply to send, or None. A slice of work that was aborted says nothing."""
        if self._work is None or searched.serial != self.works:
            return None
        if nonce is not None:
            self._work = None
            self.found += 1
            return nonce.to_bytes(icarus.NONCE_SIZE, "little")
        self._next = searched.start + searched.count
        if self._next >= icarus.NONCE_RANGE:
            self._work = None
        return None

    def stop(self) -> None:
        """Power is gone: nothing is in progress."""
        self._work = None
        self._buffer = b""

    def _begin(self, frame: bytes) -> bytes | None:
        self.works += 1
        self._work = icarus.Work.parse(frame)
        self._next = 0
        if frame != icarus.GOLDEN_WORK:
            return None
        golden = Slice(
            self.works, self._work.midstate, self._work.second_block(b""),
            int.from_bytes(icarus.GOLDEN_NONCE, "little"), 1, target_of_difficulty(1),
        )  # fmt: skip
        return self.settle(golden, golden.search())
