"""Allots extranonce1 values so that no two rigs search the same headers, now or while old jobs are still valid."""

from collections import deque

QUARANTINE = 600.0
"""Seconds a freed value rests: a job issued to its former holder may be good that long."""

MAX_CAPACITY = 65_536
"""Values in use at once; more rigs than this do not hang on one upstream connection."""


class ExtranonceSpace:
    """Values of `size` bytes after a fixed `prefix`. Fresh ones go first, then freed ones, the longest-rested first."""

    def __init__(
        self, size: int, *, prefix: bytes = b"", capacity: int = MAX_CAPACITY, quarantine: float = QUARANTINE
    ) -> None:
        self._size = size
        self._prefix = prefix
        self._quarantine = quarantine
        self._capacity = min(capacity, 1 << (8 * size))
        self._next = 0
        self._used: set[int] = set()
        self._resting: deque[tuple[float, int]] = deque()

    def take(self, now: float) -> bytes | None:
        """Return a value nobody holds; None when all are held or resting."""
        if self._next < self._capacity:
            value = self._next
            self._next += 1
        elif self._resting and self._resting[0][0] <= now:
            value = self._resting.popleft()[1]
        else:
            return None
        self._used.add(value)
        return self._prefix + value.to_bytes(self._size, "big")

    def retake(self, extranonce1: bytes, now: float) -> bool:
        """Give a value back to the session that held it last; False where it is held, or another's by now."""
        value = self._number(extranonce1)
        for entry in self._resting:
            if entry[1] == value and entry[0] > now:
                self._resting.remove(entry)
                self._used.add(value)
                return True
        return False

    def give_back(self, extranonce1: bytes, now: float) -> None:
        """Free a value; it rests before anyone gets it. Values that are not held are ignored."""
        value = self._number(extranonce1)
        if value in self._used:
            self._used.remove(value)
            self._resting.append((now + self._quarantine, value))

    @property
    def free(self) -> int:
        """Values never used yet; resting ones are not counted."""
        return self._capacity - self._next

    @property
    def held(self) -> int:
        """Values in use."""
        return len(self._used)

    def _number(self, extranonce1: bytes) -> int:
        if len(extranonce1) != len(self._prefix) + self._size or not extranonce1.startswith(self._prefix):
            return -1
        return int.from_bytes(extranonce1[len(self._prefix) :], "big")
