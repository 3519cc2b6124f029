"""A Stratum pool that never existed: real jobs on a chain of its own, vardiff, every share judged, outages by name.

    farm.toml [pool] --build_pool()--> Pool --one PoolSession per connection--> StratumServer
    share --judged()--> books; a block --> Chain, on_block(), and a clean job for everybody

It runs on any loop: plain asyncio transports and timers, no task of its own.
"""

import asyncio
import random
import ssl
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shedload.bitcoin.coinbase import assemble_block
from shedload.stratum.admission import Allotment
from shedload.stratum.events import ShareJudged
from shedload.stratum.jobs import Job, Notify
from shedload.stratum.shares import Submit
from simulator.chain import REGTEST_GENESIS, Chain, Template
from simulator.clock import PlantClock
from simulator.pool_books import Allotments, Books, FoundBlock
from simulator.pool_config import PoolFault, PoolTable
from simulator.pool_session import PoolSession
from simulator.tables import read_table

EXTRANONCE1_SIZE = 4
USUAL_HEIGHT = 900_000
"""Where an invented chain begins: four bytes of height push, as on the real one."""
TEMPLATES_KEPT = 8
"""Blocks whose transactions are remembered: work older than that is no block any more."""
RETRY_LISTEN = 0.05
"""Seconds until a port that could not be had again is tried once more."""
BACKLOG = 128


class Pool:
    """One pool. Make it inside a running loop; `start`, `stop` as every part of a farm."""

    def __init__(
        self,
        table: PoolTable,
        clock: PlantClock,
        seed: int,
        *,
        on_block: Callable[[FoundBlock], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.table = table
        self.name = table.name
        self.on_block = on_block
        self._tls = tls
        self.books = Books()
        self.faults: frozenset[PoolFault] = frozenset() if table.fault is None else frozenset({table.fault})
        self.connections = 0  # ever accepted
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._rng = random.Random(seed)
        self.chain = self._new_chain()
        self._template = self.chain.template()
        self._transactions: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._script = bytes.fromhex(table.payout_script)
        self._last_job = self._rng.randrange(1 << 24)
        self._allotments = Allotments(EXTRANONCE1_SIZE, table.extranonce2_size)
        self._sessions: dict[PoolSession, None] = {}
        self._server: asyncio.Server | None = None
        self._serving = False
        self._opening = asyncio.Lock()
        self._port = table.port
        self._job_timer: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._work = self._make_work(clean=True)

    @property
    def port(self) -> int:
        """The port, known once started; it stays the same through outages."""
        return self._port

    @property
    def url(self) -> str:
        """Where rigs dial."""
        scheme = "stratum+tcp" if self._tls is None else "stratum+ssl"
        return f"{scheme}://{self.table.address}:{self._port}"

    @property
    def sessions(self) -> tuple[PoolSession, ...]:
        """Connections that are open."""
        return tuple(self._sessions)

    @property
    def accepted(self) -> int:
        """Shares accepted from all workers."""
        return self.books.accepted

    @property
    def rejected(self) -> Counter[str]:
        """Shares refused from all workers, by verdict."""
        return self.books.rejected

    @property
    def blocks(self) -> int:
        """Blocks that rigs found."""
        return self.books.blocks

    async def start(self) -> None:
        """Listen. OSError where the port cannot be had."""
        self._serving = True
        faults, self.faults = self.faults, frozenset()
        await self._listen()  # in any case: a free port is chosen here
        await self.set_faults(faults)
        self._next_job_in(self.table.job_s)
        if self.table.block_s is not None and not self.table.regtest:
            self._timers.append(self._loop.call_later(self.table.block_s, self._block_elsewhere))
        for outage in self.table.outages:
            self._plan(outage.at_s, outage.fault, on=True)
            if outage.for_s is not None:
                self._plan(outage.at_s + outage.for_s, outage.fault, on=False)

    async def stop(self) -> None:
        """Close everything and wait for it."""
        self._serving = False
        for timer in (*self._timers, *(() if self._job_timer is None else (self._job_timer,))):
            timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        server = self._server
        self._shut()
        self.drop_all()
        if server is not None:
            await server.wait_closed()

    async def set_faults(self, faults: Iterable[PoolFault | str]) -> None:
        """Have exactly these faults on from now on; ValueError for a name that is none."""
        before, self.faults = self.faults, frozenset(PoolFault(fault) for fault in faults)
        if PoolFault.REFUSE in self.faults:
            self._shut()
        elif self._serving:
            await self._listen()
        begun = self.faults - before
        for session in self.sessions:
            session.stalled = session.stalled or PoolFault.STALL in self.faults
        if PoolFault.RECONNECT in begun:
            self.ask_to_reconnect()
        if begun & {PoolFault.DROP, PoolFault.REFUSE, PoolFault.ENDLESS}:
            self.drop_all()

    def faulty(self, fault: PoolFault) -> bool:
        """Tell whether a fault is on."""
        return fault in self.faults

    def drop_all(self) -> None:
        """Break off every connection."""
        for session in self.sessions:
            session.hang_up()

    def ask_to_reconnect(self, host: str = "", port: int | None = None) -> None:
        """Ask every rig to dial again, elsewhere perhaps."""
        for session in self.sessions:
            session.ask_to_reconnect(host, port)

    def new_job(self, *, clean: bool = False) -> None:
        """Give everybody a new job now."""
        self._template = self.chain.template()
        self._work = self._make_work(clean=clean)
        for session in self.sessions:
            session.new_job(self._work)
        self._next_job_in(self.table.job_s)

    def new_block(self) -> None:
        """Somebody else has found a block now."""
        self.chain.extend_elsewhere()
        self.new_job(clean=True)

    # --- what sessions ask ---

    def allot(self, session: str | None) -> Allotment | None:
        """An extranonce; the former one for a rig that comes back."""
        return self._allotments.take(session, self._loop.time())

    def give_back(self, allotment: Allotment) -> None:
        """A rig has gone."""
        self._allotments.give_back(allotment, self._loop.time())

    def work(self, *, fresh: bool) -> Notify:
        """The job of now, or another one on the same block."""
        if fresh:
            self._template = self.chain.template()
            self._work = self._make_work(clean=False)
        return self._work

    def opened(self, session: PoolSession) -> None:
        """A rig has come."""
        self._sessions[session] = None
        self.connections += 1

    def closed(self, session: PoolSession) -> None:
        """A rig has gone."""
        self._sessions.pop(session, None)

    def judged(self, event: ShareJudged) -> bool:
        """Count a share; False where it shall be refused whatever it is."""
        refused = self.faulty(PoolFault.REJECT_ALL)
        self.books.count(event, refused=refused)
        if event.judgement.is_block and event.job is not None and event.submit is not None:
            # After the answer: whoever found it hears "accepted" first and then of the next block.
            self._loop.call_soon(self._block_found, event.job, event.submit, event.judgement.header)
        return not refused

    # --- blocks and jobs ---

    def _block_found(self, job: Job, submit: Submit, header: bytes | None) -> None:
        if header is None or job.notify.prevhash != self.chain.tip:
            return  # another block was first
        coinbase = job.notify.coinb1 + job.extranonce1 + submit.share.extranonce2 + job.notify.coinb2
        block = assemble_block(header, coinbase, self._transactions.get(job.notify.prevhash, ()))
        self.chain.extend(header)
        self.books.of(submit).blocks += 1
        if self.on_block is not None:
            self.on_block(FoundBlock(self.chain.height, header, block, submit.worker))
        if self._serving:
            self.new_job(clean=True)

    def _block_elsewhere(self) -> None:
        assert self.table.block_s is not None
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(self.table.block_s, self._block_elsewhere))
        self.new_block()

    def _next_job_in(self, seconds: float) -> None:
        if self._job_timer is not None:
            self._job_timer.cancel()
        self._job_timer = self._loop.call_later(seconds, self.new_job)

    def _make_work(self, *, clean: bool) -> Notify:
        template: Template = self._template
        self._transactions[template.prevhash] = template.transactions
        if len(self._transactions) > TEMPLATES_KEPT:
            self._transactions.popitem(last=False)
        self._last_job = (self._last_job + 1) & 0xFFFF_FFFF
        size = EXTRANONCE1_SIZE + self.table.extranonce2_size
        return template.notify(self._last_job, self._script, self.table.tag.encode(), size, clean=clean)

    def _new_chain(self) -> Chain:
        table, regtest = self.table, self.table.regtest
        height = table.height if table.height is not None else 0 if regtest else USUAL_HEIGHT
        return Chain(
            self._clock.wall,
            self._rng,
            nbits=table.network_nbits,
            height=height,
            tip=REGTEST_GENESIS if regtest and height == 0 else None,
            transactions=0 if regtest else table.transactions,
        )

    # --- listening ---

    async def _listen(self) -> None:
        async with self._opening:
            if self._server is not None or not self._serving or PoolFault.REFUSE in self.faults:
                return
            server = await self._loop.create_server(
                lambda: PoolSession(self, self._loop), self.table.address, self._port, backlog=BACKLOG,
                reuse_address=True, ssl=self._tls,
            )  # fmt: skip
            self._server = server
            self._port = server.sockets[0].getsockname()[1]

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _plan(self, at: float, fault: PoolFault, *, on: bool) -> None:
        timer = self._loop.call_later(self._clock.delay(at), self._switch, fault, on)
        self._timers.append(timer)

    def _switch(self, fault: PoolFault, on: bool) -> None:
        task = asyncio.ensure_future(self._switch_until_done(fault, on=on))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _switch_until_done(self, fault: PoolFault, *, on: bool) -> None:
        while True:
            try:
                await self.set_faults(self.faults | {fault} if on else self.faults - {fault})
                return
            except OSError:
                await asyncio.sleep(RETRY_LISTEN)


def build_pool(table: Mapping[str, Any], clock: PlantClock, seed: int) -> Pool:
    """The pool of a [pool] table. Raises ConfigError."""
    return Pool(read_table(PoolTable, table, "pool"), clock, seed)
