"""Gives pool work to serial chips and hashes every nonce before a pool hears of it.

    Upstream job --Work--> driver --Nonce--> hash here --Verdict--> submit --> books

One loop per rig. Every piece of work has an extranonce2 of its own, so two rigs never search the same headers.
"""

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from controller.clock import Clock
from controller.stratum.connection import PoolConnection
from controller.stratum.upstream import Upstream
from shedload import hashing
from shedload.bitcoin.target import expected_hashes, target_of_difficulty
from shedload.device import HashingRig, Rig, RigName
from shedload.errors import RigError
from shedload.stratum.jobs import Extranonce2Counter, Job, JobState, build_header
from shedload.stratum.shares import SeenShares, Share, Verdict, judge
from shedload.units import HashesPerSecond
from shedload.work import Nonce, Work

REMEMBERED = 16
"""Pieces of work per rig that a late nonce may belong to."""
REOPEN_FIRST, REOPEN_MAX = 1.0, 30.0
"""Seconds before a device that disappeared is tried again: it comes back by itself within half a minute."""

log = structlog.get_logger(__name__)


class NonceVerdict(StrEnum):
    """Our judgement of one nonce from a chip. Closed set: a metric label."""

    SHARE = "share"  # hard enough for the pool, sent
    BELOW_TARGET = "below_target"  # genuine, not hard enough for the pool
    DUPLICATE = "duplicate"
    STALE = "stale"  # its block is over
    HARDWARE_ERROR = "hardware_error"  # misses even what the chips promise
    UNATTRIBUTED = "unattributed"  # its work is no longer remembered
    LOST = "lost"  # a share whose pool connection is gone


@dataclass(slots=True)
class RigBooks:
    """What one serial rig found, by our own judgement, since the daemon started."""

    verdicts: Counter[NonceVerdict] = field(default_factory=Counter)
    best_difficulty: float = 0.0
    hashes: float = 0.0  # that the genuine nonces stand for
    seconds: float = 0.0  # mono seconds with work
    assigned: int = 0
    reopened: int = 0
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


class Dispatch:
    """Work for every serial rig of the farm."""

    def __init__(self, rigs: Sequence[Rig], upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock
        self._feeds = [Feed(rig, self, clock) for rig in rigs if isinstance(rig, HashingRig)]
        self._keys = itertools.count(1)
        self._counter: tuple[Job, Extranonce2Counter] | None = None
        upstream.listen(self)

    @property
    def books(self) -> Mapping[RigName, RigBooks]:
        """Each rig's counts. To be read only."""
        return {feed.name: feed.books for feed in self._feeds}

    def work_changed(self, *, clean: bool) -> None:
        """Upstream has other work. Work on the same block stays good until it is used up."""
        if clean:
            for feed in self._feeds:
                feed.renew.set()

    async def run(self) -> None:
        """Feed every rig until cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run(), name=f"feed {feed.name}")

    def next_work(self) -> Assigned | None:
        """A header that nobody has searched yet; None while no pool gives a job."""
        source, job = self._upstream.source, self._upstream.job
        if source is None or job is None:
            return None
        extranonce2 = self._extranonce2(job)
        if extranonce2 is None:
            return None  # used up: the pool's next job is seconds away
        header = build_header(job, extranonce2, job.notify.ntime, 0)
        work = Work(next(self._keys), header, hashing.midstate(header[:64]), job.target)
        return Assigned(source, job, extranonce2, work)

    def submit(self, assigned: Assigned, share: Share) -> bool:
        """Send a share to the pool that its job came from; False when that connection is gone."""
        return self._upstream.submit(assigned.source, assigned.job, share)

    def _extranonce2(self, job: Job) -> bytes | None:
        """Count on through jobs that describe the same headers: starting anew would find the same shares again."""
        if self._counter is None or not (self._counter[0] is job or job.same_work_as(self._counter[0])):
            self._counter = (job, Extranonce2Counter(job.extranonce2_size))
        else:
            self._counter = (job, self._counter[1])
        return self._counter[1].take()


class Feed:
    """One rig's loop: give work, judge nonces, give the next work before the chips run dry."""

    def __init__(self, rig: HashingRig, dispatch: Dispatch, clock: Clock) -> None:
        self.name: RigName = rig.spec.name
        self.books = RigBooks()
        self.renew = asyncio.Event()
        self._rig = rig
        self._dispatch = dispatch
        self._mono = clock.mono
        self._given: OrderedDict[int, Assigned] = OrderedDict()
        self._seen = SeenShares()
        self._nonce_target = target_of_difficulty(rig.nonce_difficulty)
        self._hashes_per_nonce = float(expected_hashes(rig.nonce_difficulty))

    async def run(self) -> None:
        """Feed the rig until cancelled; a device that is gone is tried again."""
        wait = REOPEN_FIRST
        while True:
            try:
                await self._feed()
            except RigError as error:
                if not self.books.failure:
                    log.warning("serial_rig_failed", rig=self.name, kind=error.kind, detail=error.detail)
                wait = REOPEN_FIRST if not self.books.failure else min(REOPEN_MAX, wait * 2)
                self.books.failure = error.detail
                await asyncio.sleep(wait)
                self.books.reopened += 1

    async def _feed(self) -> None:
        while True:
            self.renew.clear()
            assigned = self._dispatch.next_work()
            if assigned is None:
                await self.renew.wait()
                continue
            await self._rig.assign(assigned.work)
            if self.books.failure:
                log.info("serial_rig_back", rig=self.name)
                self.books.failure = ""
            self._remember(assigned)
            began = self._mono()
            try:
                await self._one_nonce()
            finally:
                if not self._rig.asleep:
                    self.books.seconds += self._mono() - began

    async def _one_nonce(self) -> None:
        """Wait for a nonce, the end of the work, or better work, whichever is first."""
        nonce = asyncio.ensure_future(self._rig.nonce())
        renew = asyncio.ensure_future(self.renew.wait())
        try:
            await asyncio.wait((nonce, renew), timeout=self._rig.work_lifetime, return_when=asyncio.FIRST_COMPLETED)
            if nonce.done():
                self._judge(nonce.result())
        finally:
            for task in (nonce, renew):
                task.cancel()
            await asyncio.gather(nonce, renew, return_exceptions=True)

    def _remember(self, assigned: Assigned) -> None:
        self.books.assigned += 1
        self._given[assigned.work.key] = assigned
        if len(self._given) > REMEMBERED:
            self._given.popitem(last=False)

    def _judge(self, nonce: Nonce) -> None:
        verdict = self._verdict(nonce)
        self.books.verdicts[verdict] += 1

    def _verdict(self, nonce: Nonce) -> NonceVerdict:
        assigned = self._attribute(nonce)
        if assigned is None:
            known = nonce.key in self._given
            return NonceVerdict.HARDWARE_ERROR if known else NonceVerdict.UNATTRIBUTED
        share = Share(assigned.extranonce2, assigned.job.notify.ntime, nonce.nonce)
        state = assigned.source.client.jobs.state(assigned.job)
        judgement = judge(assigned.job, share, self._seen, state=state)
        if judgement.verdict is Verdict.DUPLICATE:
            return NonceVerdict.DUPLICATE
        self.books.hashes += self._hashes_per_nonce
        self.books.best_difficulty = max(self.books.best_difficulty, judgement.difficulty or 0.0)
        if judgement.is_block:
            log.warning("block_found", rig=self.name, difficulty=judgement.difficulty)
        # A block goes out whatever else is wrong with it; a late share on the same block is worth money.
        if not judgement.accepted and not judgement.is_block:
            late = judgement.verdict is Verdict.STALE and state is JobState.STALE
            return NonceVerdict.STALE if late else NonceVerdict.BELOW_TARGET
        return NonceVerdict.SHARE if self._dispatch.submit(assigned, share) else NonceVerdict.LOST

    def _attribute(self, nonce: Nonce) -> Assigned | None:
        """Find the work that a nonce belongs to: the one it names, else an earlier one, as replies may be late."""
        named = self._given.get(nonce.key)
        candidates = [named] if named is not None else []
        candidates += [given for given in reversed(self._given.values()) if given is not named]
        for assigned in candidates:
            header = assigned.work.header[:76] + nonce.nonce.to_bytes(4, "little")
            if hashing.verify(header, self._nonce_target):
                return assigned
        return None
