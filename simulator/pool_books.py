"""What a simulated pool remembers: shares by worker, and which connection has which extranonce."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from shedload.stratum.admission import Allotment
from shedload.stratum.events import ShareJudged
from shedload.stratum.extranonce import ExtranonceSpace
from shedload.stratum.shares import SeenShares, Submit

MAX_WORKERS = 4096
"""Names that have books of their own; later ones share the last book."""
MAX_SESSIONS = 4096
"""Connections that have gone whose shares are remembered, should they come back."""


@dataclass(slots=True)
class WorkerBook:
    """One worker's shares as the pool judged them."""

    accepted: int = 0
    difficulty: float = 0.0  # of the accepted ones, summed
    rejected: Counter[str] = field(default_factory=Counter)  # by verdict
    blocks: int = 0


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block with everything: `block` is what a node takes."""

    height: int
    header: bytes
    block: bytes
    worker: str


class Books(dict[str, WorkerBook]):
    """Every worker's book, by name."""

    @property
    def accepted(self) -> int:
        """Shares accepted from all workers."""
        return sum(book.accepted for book in self.values())

    @property
    def rejected(self) -> Counter[str]:
        """Shares refused from all workers, by verdict."""
        return sum((book.rejected for book in self.values()), Counter())

    @property
    def blocks(self) -> int:
        """Blocks that rigs found."""
        return sum(book.blocks for book in self.values())

    def of(self, submit: Submit | None) -> WorkerBook:
        """The book that a share goes into; a malformed one has no worker."""
        worker = "" if submit is None else submit.worker
        if worker not in self and len(self) >= MAX_WORKERS:
            worker = next(reversed(self))
        return self.setdefault(worker, WorkerBook())

    def count(self, event: ShareJudged, *, refused: bool) -> None:
        """Book a share; `refused`: whatever it is worth."""
        book = self.of(event.submit)
        if event.judgement.accepted and not refused and event.job is not None:
            book.accepted += 1
            book.difficulty += float(event.job.difficulty)
        else:
            book.rejected["reject_all" if refused else event.judgement.verdict.value] += 1


class Allotments:
    """Gives each connection an extranonce, and to one that comes back its former one with the shares it has sent."""

    def __init__(self, first_size: int, second_size: int) -> None:
        self._space = ExtranonceSpace(first_size)
        self._second_size = second_size
        self._seen: OrderedDict[bytes, SeenShares] = OrderedDict()

    def take(self, session: str | None, now: float) -> Allotment | None:
        """An extranonce; None when there is none left."""
        first = _first_of(session)
        if first is None or not self._space.retake(first, now):
            first = self._space.take(now)
        if first is None:
            return None
        seen = self._seen.pop(first, None) or SeenShares()
        return Allotment(first, self._second_size, first.hex(), seen)

    def give_back(self, allotment: Allotment, now: float) -> None:
        """A connection is over; what it sent stays known, so that nobody is paid twice."""
        self._space.give_back(allotment.extranonce1, now)
        if allotment.seen is not None:
            self._seen[allotment.extranonce1] = allotment.seen
        if len(self._seen) > MAX_SESSIONS:
            self._seen.popitem(last=False)


def _first_of(session: str | None) -> bytes | None:
    """A session is called after its extranonce1."""
    try:
        return None if session is None else bytes.fromhex(session)
    except ValueError:
        return None
