"""Gives pool work to serial chips and hashes every nonce before a pool hears of it.

    Upstream job --Work--> driver --Nonce--> hash here --Verdict--> submit --> books

One loop per rig. Every piece of work has an extranonce2 of its own, so two rigs never search the same headers. A rig
asleep gets no work; one whose device is lost is tried again.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from controller.clock import Clock
from controller.stratum.judging import Assigned, NonceJudge, NonceVerdict, RigBooks
from controller.stratum.upstream import Upstream
from shedload import hashing
from shedload.device import HashingRig, Rig, RigName
from shedload.errors import Garbled, Refused, RigError
from shedload.stratum.jobs import Extranonce2Counter, Job, build_header
from shedload.work import Nonce, Work

__all__ = ["Assigned", "Dispatch", "Feed", "NonceVerdict", "RigBooks"]

REOPEN_FIRST, REOPEN_MAX = 1.0, 30.0
"""Seconds before a device that disappeared is tried again: it comes back by itself within half a minute."""
LOOK_EVERY = 0.5
"""Seconds between looks whether a rig asleep was woken: it works again within a second of its command."""
NONSENSE_IN_A_ROW = 32
NONSENSE_WITHIN = 2.0
"""So many senseless replies in a row within so many seconds are a device that babbles: it is given up for a while."""
COUNTERS_KEPT = 8
"""Jobs whose extranonce2 count is remembered: the same work may come back after a visit at another pool."""

log = structlog.get_logger(__name__)


class Dispatch:
    """Work for every serial rig of the farm."""

    def __init__(self, rigs: Sequence[Rig], upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._feeds = [Feed(rig, self, clock) for rig in rigs if isinstance(rig, HashingRig)]
        self._keys = itertools.count(1)
        self._counters: deque[tuple[Job, Extranonce2Counter]] = deque(maxlen=COUNTERS_KEPT)
        upstream.listen(self)

    @property
    def books(self) -> Mapping[RigName, RigBooks]:
        """Each rig's counts. To be read only."""
        return {feed.name: feed.books for feed in self._feeds}

    def work_changed(self, *, clean: bool) -> None:
        """Upstream has other work. Work on the same block stays good until it is used up."""
        for feed in self._feeds:
            feed.work_changed(clean=clean)

    async def run(self) -> None:
        """Feed every rig until cancelled."""
        async with asyncio.TaskGroup() as group:
            for feed in self._feeds:
                group.create_task(feed.run(), name=f"feed {feed.name}")

    def next_work(self) -> Assigned | None:
        """A header that nobody has searched yet; None while no pool gives a job, or its space is used up."""
        source, job = self._upstream.source, self._upstream.job
        if source is None or job is None:
            return None
        extranonce2 = self._counter(job).take()
        if extranonce2 is None:
            return None  # the pool's next job is seconds away
        header = build_header(job, extranonce2, job.notify.ntime, 0)
        work = Work(next(self._keys), header, hashing.midstate(header[:64]), job.target)
        return Assigned(source, job, extranonce2, work)

    def submit(self, assigned: Assigned, nonce: Nonce) -> bool:
        """Send a share to the pool that its job came from; False when that connection is gone."""
        return self._upstream.submit(assigned.source, assigned.job, assigned.share(nonce))

    def _counter(self, job: Job) -> Extranonce2Counter:
        """Count on through jobs that describe the same headers: starting anew would find the same shares again."""
        for known, counter in reversed(self._counters):
            if known is job or job.same_work_as(known):
                return counter
        self._counters.append((job, counter := Extranonce2Counter(job.extranonce2_size)))
        return counter


class Feed:
    """One rig's loop: give work, judge nonces, give the next work before the chips run dry."""

    def __init__(self, rig: HashingRig, dispatch: Dispatch, clock: Clock) -> None:
        self.name: RigName = rig.spec.name
        self._rig = rig
        self._dispatch = dispatch
        self._mono = clock.mono
        self._judge = NonceJudge(rig.nonce_difficulty)
        self._renew = asyncio.Event()
        self._starving = False
        self._distrusted = False  # it babbled: only a genuine nonce counts as its return
        self._nonsense: deque[float] = deque(maxlen=NONSENSE_IN_A_ROW)

    @property
    def books(self) -> RigBooks:
        """The rig's counts."""
        return self._judge.books

    def work_changed(self, *, clean: bool) -> None:
        """There is other work; what is in progress is dropped only when it is worth nothing."""
        if clean or self._starving:
            self._renew.set()

    async def run(self) -> None:
        """Feed the rig until cancelled; a device that is gone is tried again."""
        wait = REOPEN_FIRST
        while True:
            try:
                await self._feed()
            except RigError as error:
                if not self.books.failure:
                    wait = REOPEN_FIRST
                    log.warning("serial_rig_failed", rig=self.name, kind=error.kind, detail=error.detail)
                self.books.failure = error.detail
                await asyncio.sleep(wait)
                wait = min(REOPEN_MAX, wait * 2)

    async def _feed(self) -> None:
        while True:
            self._renew.clear()
            if self._rig.asleep:
                await asyncio.sleep(LOOK_EVERY)
                continue
            assigned = self._dispatch.next_work()
            if assigned is None:
                await self._starve()
                continue
            await self._rig.assign(assigned.work)
            self._judge.remember(assigned)
            if not self._distrusted:
                self._back()
            await self._work()

    def _back(self) -> None:
        """The device works, perhaps again."""
        if self.books.failure:
            log.info("serial_rig_back", rig=self.name)
            self.books.failure = ""
            self.books.reopened += 1

    async def _starve(self) -> None:
        """Wait for any job at all."""
        self._starving = True
        try:
            await self._renew.wait()
        finally:
            self._starving = False

    async def _work(self) -> None:
        """Wait for a nonce, the end of the work, better work or sleep, whichever is first."""
        began = self._mono()
        nonce = asyncio.ensure_future(self._rig.nonce())
        renew = asyncio.ensure_future(self._renew.wait())
        try:
            await asyncio.wait((nonce, renew), timeout=self._rig.work_lifetime, return_when=asyncio.FIRST_COMPLETED)
            if nonce.done():
                self._take(nonce)
        finally:
            self.books.seconds += self._mono() - began
            for task in (nonce, renew):
                task.cancel()
            await asyncio.gather(nonce, renew, return_exceptions=True)

    def _take(self, answer: "asyncio.Future[Nonce]") -> None:
        try:
            nonce = answer.result()
        except Refused:
            return  # sent to sleep
        except Garbled as error:
            self.books.verdicts[NonceVerdict.GARBLED] += 1
            self._weigh_nonsense(error)
            return
        verdict, assigned, judgement = self._judge.judge(nonce)
        if judgement is not None and judgement.is_block:
            log.warning("block_found", rig=self.name, difficulty=judgement.difficulty)
        if verdict is NonceVerdict.SHARE and assigned is not None and not self._dispatch.submit(assigned, nonce):
            verdict = NonceVerdict.LOST
        self.books.verdicts[verdict] += 1
        if verdict is NonceVerdict.HARDWARE_ERROR:
            self._weigh_nonsense(Garbled("it babbles: replies without end that fit no work"))
            return
        self._nonsense.clear()
        self._distrusted = False
        self._back()

    def _weigh_nonsense(self, error: Garbled) -> None:
        """A chip that errs now and then is counted; a line full of noise must not keep us busy."""
        now = self._mono()
        self._nonsense.append(now)
        if len(self._nonsense) == NONSENSE_IN_A_ROW and now - self._nonsense[0] < NONSENSE_WITHIN:
            self._nonsense.clear()
            self._distrusted = True
            raise error
