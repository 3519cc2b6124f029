"""The simulated pool, spoken to by the client's state machine over the network in memory."""

import asyncio
import json

import pytest

from shedload.bitcoin.header import Header, dsha
from shedload.bitcoin.target import difficulty_of_nbits
from shedload.stratum.client import StratumClient
from shedload.stratum.events import Failed, NewJob, ReconnectAsked, SubmitResult
from shedload.stratum.jobs import build_header
from shedload.stratum.messages import RejectReason
from shedload.stratum.shares import Share
from simulator.pool import build_pool
from simulator.pool_config import PoolFault
from tests.support.mining import make_pool, plant_clock, running_pools
from tests.support.virtual import virtual

EASY = 1e-8
"""43 hashes a share."""


class Miner:
    """A rig at a pool: everything it heard."""

    def __init__(self, **options):
        self.client = StratumClient(**({"worker": "farm.rig", "version_mask": 0} | options))
        self.events = []

    async def dial(self, pool):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", pool.port)
        self.client.start(self.now)
        self.task = asyncio.ensure_future(self._listen())
        self._write()
        await asyncio.sleep(0.1)
        return self

    @property
    def now(self):
        return asyncio.get_running_loop().time()

    @property
    def job(self):
        return self.client.jobs.active

    async def _listen(self):
        try:
            while data := await self.reader.read(65536):
                self.client.receive_data(data, self.now)
                self.events += self.client.events_received()
                self._write()
        except ConnectionError:
            pass
        self.client.receive_eof()
        self.events += self.client.events_received()

    def _write(self):
        if data := self.client.data_to_send():
            self.writer.write(data)

    async def submit(self, job, share):
        self.client.submit(job, share, self.now)
        self._write()
        await asyncio.sleep(0.1)
        return self.events[-1] if self.events else None

    async def mine(self, job=None, start=0):
        """Find and send one true share."""
        job = job or self.job
        share = find(job, start)
        await self.submit(job, share)
        return next(e for e in reversed(self.events) if isinstance(e, SubmitResult) and e.share == share)

    async def close(self):
        self.writer.close()
        await asyncio.gather(self.task, return_exceptions=True)
        await asyncio.sleep(0.1)


def find(job, start=0, below=None):
    """The first true share from a nonce on."""
    target = job.target if below is None else below
    for nonce in range(start, start + (1 << 20)):
        share = Share(bytes(job.extranonce2_size), job.notify.ntime, nonce)
        if int.from_bytes(dsha(build_header(job, share.extranonce2, share.ntime, nonce)), "little") <= target:
            return share
    raise AssertionError("no share")


def easy_pool(**table):
    return make_pool(**({"difficulty": EASY} | table))


def jobs_of(miner):
    return [event for event in miner.events if isinstance(event, NewJob)]


@virtual
async def test_jobs_are_real_and_differ():
    async with running_pools(easy_pool(job_s=30.0, block_s=100.0)) as (pool,):
        miner = await Miner().dial(pool)
        await asyncio.sleep(205)
        jobs = jobs_of(miner)
        assert len(jobs) == 9
        assert len({e.job.notify.coinb1 + e.job.notify.coinb2 for e in jobs}) == 9
        assert not any(e.same_work for e in jobs)
        assert sum(e.clean for e in jobs) == 3
        assert len({e.job.notify.prevhash for e in jobs}) == 3
        notify = jobs[0].job.notify
        assert len(notify.branches) == 2
        assert b"\x03" + (900_001).to_bytes(3, "little") in notify.coinb1
        assert b"shedload simulated" in notify.coinb1
        assert bytes.fromhex("6a24aa21a9ed") in notify.coinb2
        assert difficulty_of_nbits(notify.nbits) == pytest.approx(16_307, rel=0.001)
        assert len(notify.coinb1) + len(notify.coinb2) + 12 < 500
        await miner.close()


@virtual
async def test_each_connection_has_its_own_extranonce_and_gets_it_back():
    async with running_pools(easy_pool()) as (pool,):
        one, two = await Miner().dial(pool), await Miner().dial(pool)
        assert one.client.extranonce.first != two.client.extranonce.first
        first, session, job = one.client.extranonce.first, one.client.session_id, one.job
        assert (await one.mine()).accepted
        await one.close()
        again = await Miner(session_id=session).dial(pool)
        assert again.client.extranonce.first == first
        assert again.job.id == job.id
        assert not (await again.mine()).accepted, "a share may not be paid twice"
        assert pool.books["farm.rig"].rejected == {"duplicate": 1}
        for miner in (two, again):
            await miner.close()
        assert pool.sessions == ()


@virtual
async def test_shares_are_judged_and_booked_by_worker_and_verdict():
    async with running_pools(easy_pool()) as (pool,):
        miner = await Miner().dial(pool)
        job = miner.job
        assert (await miner.mine()).accepted
        assert (await miner.mine()).reason is RejectReason.DUPLICATE
        hopeless = next(
            n
            for n in range(99)
            if int.from_bytes(dsha(build_header(job, bytes(8), job.notify.ntime, n)), "little") > job.target
        )
        await miner.submit(job, Share(bytes(8), job.notify.ntime, hopeless))
        assert miner.events[-1].reason is RejectReason.LOW_DIFFICULTY
        await miner.submit(job, Share(bytes(8), job.notify.ntime - 1, 0))
        assert not miner.events[-1].accepted
        pool.new_job()
        await asyncio.sleep(0.1)
        assert (await miner.mine(job, start=1000)).accepted, "the same block: late and worth money"
        pool.new_block()
        await asyncio.sleep(0.1)
        assert (await miner.mine(job, start=5000)).reason is RejectReason.STALE
        book = pool.books["farm.rig"]
        assert book.accepted == 2
        assert book.difficulty == pytest.approx(2 * EASY)
        assert book.rejected == {"duplicate": 1, "low_difficulty": 1, "bad_ntime": 1, "stale": 1}
        assert (pool.accepted, pool.rejected.total(), pool.blocks) == (2, 4, 0)
        await miner.close()


@virtual
async def test_vardiff_follows_the_rate_within_its_bounds():
    async with running_pools(easy_pool(vardiff=True, maximum_difficulty=4 * EASY, minimum_difficulty=EASY)) as (pool,):
        miner = await Miner().dial(pool)
        start = 0
        for _ in range(300):
            result = await miner.mine(start=start)
            assert result.accepted
            start = result.share.nonce + 1
        assert miner.client.difficulty == pytest.approx(4 * EASY)
        await asyncio.sleep(1200)
        assert miner.client.difficulty < 4 * EASY
        await miner.close()


@virtual
async def test_a_password_or_a_suggestion_asks_for_another_difficulty():
    async with running_pools(easy_pool(maximum_difficulty=1000.0)) as (pool,):
        asked = await Miner(password="x;d=16").dial(pool)
        assert asked.client.difficulty == 16
        suggested = await Miner(suggest_difficulty=8.0).dial(pool)
        assert suggested.client.difficulty == 8
        assert suggested.job.difficulty == 8
        too_much = await Miner(password="d=1e12").dial(pool)
        assert too_much.client.difficulty == 1000
        for miner in (asked, suggested, too_much):
            await miner.close()


@virtual
async def test_a_block_is_told_whole_and_everybody_works_on_the_next():
    found = []
    pool = easy_pool(network="regtest")
    pool.on_block = found.append
    async with running_pools(pool):
        finder, other = await Miner().dial(pool), await Miner().dial(pool)
        old = other.job
        assert (await finder.mine()).accepted
        (block,) = found
        assert (block.height, block.worker) == (1, "farm.rig")
        assert block.block.startswith(block.header + b"\x01")
        for miner in (finder, other):
            assert miner.job.notify.prevhash == Header.unpack(block.header).digest
            assert jobs_of(miner)[-1].clean
        assert (await other.mine(old)).reason is RejectReason.STALE
        assert (pool.blocks, len(found)) == (1, 1), "a block beside the chain is none"
        for miner in (finder, other):
            await miner.close()


@virtual
async def test_transactions_are_in_the_merkle_root_and_in_the_block():
    found = []
    pool = easy_pool(nbits="207fffff", transactions=5)
    pool.on_block = found.append
    async with running_pools(pool):
        miner = await Miner().dial(pool)
        assert (await miner.mine()).accepted
        block = found[0].block
        assert block[80] == 6
        assert len(block) > 80 + 5 * 82
        await miner.close()


@virtual
async def test_outages_begin_and_end_by_the_clock():
    table = {"outages": [{"fault": "refuse", "at_s": 10, "for_s": 20}, {"fault": "slow", "at_s": 15}]}
    async with running_pools(easy_pool(**table)) as (pool,):
        miner = await Miner().dial(pool)
        await asyncio.sleep(11)
        assert isinstance(miner.events[-1], Failed)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", pool.port)
        await asyncio.sleep(20)
        assert pool.faults == {PoolFault.SLOW}
        await miner.close()
        miner = await Miner().dial(pool)
        assert not miner.client.ready
        await asyncio.sleep(5)
        assert miner.client.ready
        await miner.close()


@virtual
async def test_reject_all_reconnect_and_latency():
    async with running_pools(easy_pool(latency_s=0.05)) as (pool,):
        miner = await Miner().dial(pool)
        await asyncio.sleep(0.1)
        await pool.set_faults(["reject_all", "reconnect"])
        await asyncio.sleep(0.1)
        assert isinstance(miner.events[-1], ReconnectAsked)
        result = await miner.mine()
        assert not result.accepted
        assert result.seconds == pytest.approx(0.05)
        assert pool.books["farm.rig"].rejected == {"reject_all": 1}
        await pool.set_faults([])
        assert (await miner.mine(start=1000)).accepted
        await miner.close()


@virtual
async def test_a_pool_that_is_stalled_leaves_new_connections_alone():
    async with running_pools(easy_pool()) as (pool,):
        old = await Miner().dial(pool)
        await pool.set_faults(["stall"])
        new = await Miner().dial(pool)
        heard = len(old.events)
        await asyncio.sleep(100)
        assert len(old.events) == heard
        assert len(jobs_of(new)) > 3
        for miner in (old, new):
            await miner.close()


@virtual
async def test_strangers_are_sent_away_and_rubbish_does_no_harm():
    async with running_pools(easy_pool()) as (pool,):
        miner = await Miner().dial(pool)
        _, idle = await asyncio.open_connection("127.0.0.1", pool.port)
        reader, loud = await asyncio.open_connection("127.0.0.1", pool.port)
        loud.write(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 100_000)
        assert await reader.read() == b""
        await asyncio.sleep(20)
        assert len(pool.sessions) == 1
        assert (await miner.mine()).accepted
        for writer in (idle, loud):
            writer.close()
        await miner.close()


@virtual
async def test_books_are_bounded(monkeypatch):
    monkeypatch.setattr("simulator.pool_books.MAX_WORKERS", 4)
    async with running_pools(easy_pool()) as (pool,):
        for number in range(8):
            miner = await Miner(worker=f"w{number}").dial(pool)
            assert (await miner.mine()).accepted
            await miner.close()
        assert len(pool.books) == 4
        assert pool.accepted == 8


@virtual
async def test_every_fault_can_be_switched_on_and_off():
    async with running_pools(easy_pool()) as (pool,):
        for fault in PoolFault:
            await pool.set_faults([fault])
            await asyncio.sleep(1)
            await pool.set_faults([])
            miner = await Miner().dial(pool)
            assert (await miner.mine()).accepted, fault
            await miner.close()
        with pytest.raises(ValueError, match="sulk"):
            await pool.set_faults(["sulk"])


async def test_it_serves_on_real_sockets_too():
    pool = build_pool({"name": "real", "difficulty": EASY, "job_s": 0.2}, plant_clock(), 1)
    await pool.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", pool.port)
    writer.write(
        b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["a","x"]}\n'
    )
    methods = []
    async with asyncio.timeout(5):
        while len(methods) < 5:
            methods.append(json.loads(await reader.readline()).get("method"))
    assert methods == [None, None, "mining.set_difficulty", "mining.notify", "mining.notify"]
    assert pool.url == f"stratum+tcp://127.0.0.1:{pool.port}"
    writer.close()
    await writer.wait_closed()
    await pool.stop()
