"""Judges nonces from chips: whose work they belong to, whether they are shares, and what a rig's work amounts to.

    Nonce --Ledger.attribute()--> Assigned --judge--> NonceVerdict --> RigBooks

Every nonce is hashed here; what misses even the chips' own difficulty is a hardware error.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum

from controller.stratum.connection import PoolConnection
from shedload import hashing
from shedload.bitcoin.target import expected_hashes, target_of_difficulty
from shedload.stratum.jobs import Job
from shedload.stratum.shares import Judgement, SeenShares, Share, Verdict, judge
from shedload.units import HashesPerSecond
from shedload.work import Nonce, Work

REMEMBERED = 16
"""Pieces of work per rig that a late nonce may belong to."""
MAX_FOUND = 256
"""Nonces of one work remembered against repetition; an Icarus gives one."""


class NonceVerdict(StrEnum):
    """Our judgement of one nonce from a chip. Closed set: a metric label."""

    SHARE = "share"  # hard enough for the pool, sent
    BELOW_TARGET = "below_target"  # genuine, not hard enough for the pool
    DUPLICATE = "duplicate"
    STALE = "stale"  # its block is over
    HARDWARE_ERROR = "hardware_error"  # misses even what the chips promise
    GARBLED = "garbled"  # a reply that was torn on its way
    LOST = "lost"  # a share whose pool connection is gone


@dataclass(slots=True)
class RigBooks:
    """What one serial rig found, by our own judgement, since the daemon started."""

    verdicts: Counter[NonceVerdict] = field(default_factory=Counter)
    best_difficulty: float = 0.0
    hashes: float = 0.0  # that the genuine nonces stand for
    seconds: float = 0.0  # mono seconds with work
    assigned: int = 0
    blocks: int = 0
    reopened: int = 0  # times that a lost device came back
    failure: str = ""  # why the device cannot be used now, empty while it can

    @property
    def hashrate(self) -> HashesPerSecond | None:
        """Estimate from verified nonces; None before the first."""
        return HashesPerSecond(self.hashes / self.seconds) if self.hashes > 0 and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Assigned:
    """A piece of work and where it came from."""

    source: PoolConnection
    job: Job
    extranonce2: bytes
    work: Work
    found: set[int] = field(default_factory=set)

    def share(self, nonce: Nonce) -> Share:
        """The nonce as the pool wants to hear of it."""
        return Share(self.extranonce2, self.job.notify.ntime, nonce.nonce)


class NonceJudge:
    """One rig's recent work, and the judgement of the nonces that come back."""

    def __init__(self, nonce_difficulty: float) -> None:
        self.books = RigBooks()
        self._given: OrderedDict[int, Assigned] = OrderedDict()
        self._seen = SeenShares()
        self._target = target_of_difficulty(nonce_difficulty)
        self._hashes_per_nonce = float(expected_hashes(nonce_difficulty))

    def remember(self, assigned: Assigned) -> None:
        """The rig was given this work."""
        self.books.assigned += 1
        self._given[assigned.work.key] = assigned
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)

    def judge(self, nonce: Nonce) -> tuple[NonceVerdict, Assigned | None, Judgement | None]:
        """What a nonce is; SHARE asks the caller to send it. Counts the hashes it stands for, not the verdict."""
        assigned = self._attribute(nonce)
        if assigned is None:
            return NonceVerdict.HARDWARE_ERROR, None, None
        if nonce.nonce in assigned.found or len(assigned.found) >= MAX_FOUND:
            return NonceVerdict.DUPLICATE, assigned, None
        assigned.found.add(nonce.nonce)
        self.books.hashes += self._hashes_per_nonce
        state = assigned.source.client.jobs.state(assigned.job)
        judgement = judge(assigned.job, assigned.share(nonce), self._seen, state=state)
        self.books.best_difficulty = max(self.books.best_difficulty, judgement.difficulty or 0.0)
        self.books.blocks += judgement.is_block
        return _verdict(judgement), assigned, judgement

    def _attribute(self, nonce: Nonce) -> Assigned | None:
        """Find the work that a nonce belongs to: the one it names, else an earlier one, as replies may be late."""
        named = self._given.get(nonce.key)
        candidates = [named] if named is not None else []
        candidates += [given for given in reversed(self._given.values()) if given is not named]
        tail = nonce.nonce.to_bytes(4, "little")
        for assigned in candidates:
            if hashing.verify(assigned.work.header[:76] + tail, self._target):
                return assigned
        return None


def _verdict(judgement: Judgement) -> NonceVerdict:
    """A block goes out whatever else is wrong with it; a late share on the same block is worth money."""
    if judgement.accepted or judgement.is_block:
        return NonceVerdict.SHARE
    match judgement.verdict:
        case Verdict.STALE:
            return NonceVerdict.STALE
        case Verdict.DUPLICATE:
            return NonceVerdict.DUPLICATE
        case _:
            return NonceVerdict.BELOW_TARGET
