"""Shares on their way: sent to the pool, not answered yet. Bounded, in the order they were sent."""

from collections import OrderedDict
from dataclasses import dataclass

from shedload.stratum.jobs import Job
from shedload.stratum.shares import Share

MAX_PENDING = 1024
"""Shares that may wait for their answers; beyond it the oldest is given up."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A share that waits for its answer; `sent` is monotonic seconds."""

    token: int
    job: Job
    share: Share
    sent: float


class PendingShares:
    """Shares by token, oldest first."""

    def __init__(self, limit: int = MAX_PENDING) -> None:
        self._limit = limit
        self._waiting: OrderedDict[int, Pending] = OrderedDict()

    def add(self, pending: Pending) -> Pending | None:
        """Remember a share; return the one that had to give way."""
        self._waiting[pending.token] = pending
        return self._waiting.popitem(last=False)[1] if len(self._waiting) > self._limit else None

    def take(self, token: int) -> Pending | None:
        """Return the share of a token and forget it; None where none waits under it."""
        return self._waiting.pop(token, None)

    def expire(self, now: float, timeout: float) -> list[Pending]:
        """Return and forget the shares that have waited for `timeout` seconds; 0 takes them all."""
        found = []
        while (oldest := self.oldest) is not None and (not timeout or oldest.sent + timeout <= now):
            found.append(self._waiting.popitem(last=False)[1])
        return found

    @property
    def oldest(self) -> Pending | None:
        """The share that waits longest."""
        return next(iter(self._waiting.values()), None)

    def __len__(self) -> int:
        return len(self._waiting)
