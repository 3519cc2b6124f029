"""Upstream and dispatch on bad wires, under TLS, and on real sockets and ptys."""

import asyncio
import ssl
from collections import Counter
from datetime import UTC, datetime

import pytest
import uvloop

from controller.clock import ScaledClock
from controller.stratum.connection import PoolAddress
from controller.stratum.dispatch import Dispatch, NonceVerdict
from controller.stratum.upstream import Upstream
from drivers import icarus
from drivers.io import Io
from shedload.device import RigName, RigSpec
from simulator.chips import ChipFault, build_icarus
from simulator.effort import NONCE_DIFFICULTY
from simulator.pool import build_pool
from simulator.pool_config import PoolFault
from tests.support.certificates import Authority
from tests.support.mining import addresses, make_pool, mine, plant_clock, running, running_pools
from tests.support.serial_lines import SerialLines
from tests.support.virtual import network, virtual
from tests.support.wires import Wire, anywhere, one_byte

QUICK = NONCE_DIFFICULTY / 50
"""A nonce every 40 ms of real time."""


@virtual
@pytest.mark.parametrize("split", [one_byte, anywhere])
async def test_bytes_may_come_in_any_pieces(split):
    network().wire(wire=Wire(split=split, delay=0.02, jitter=0.05))
    async with mine(make_pool(), lines=SerialLines(to_device=Wire(split=split), to_host=Wire(split=split))) as site:
        await asyncio.sleep(60)
        assert site.pools[0].accepted > 5
        assert not site.pools[0].rejected
        assert site.dispatch.books["stick-0"].verdicts[NonceVerdict.HARDWARE_ERROR] == 0


@virtual
async def test_a_bad_serial_line_costs_some_nonces_and_nothing_else():
    lines = SerialLines(to_host=Wire(split=one_byte, lose=0.05), seed=3)
    async with mine(make_pool(), rigs=2, lines=lines) as site:
        await asyncio.sleep(300)
        verdicts = sum((books.verdicts for books in site.dispatch.books.values()), Counter())
        assert verdicts[NonceVerdict.GARBLED] > 5
        assert verdicts[NonceVerdict.SHARE] > 30
        assert not site.pools[0].rejected


@virtual
async def test_a_connection_that_is_cut_again_and_again():
    async with mine(make_pool(name="a"), make_pool(name="b", seed=2)) as site:
        network().wire("127.0.0.1", site.pools[0].port, Wire(drop_after=3000))
        await asyncio.sleep(600)
        assert sum(pool.accepted for pool in site.pools) > 100
        books = site.upstream.books["a"]
        assert books.submitted == books.accepted + books.rejected.total() + books.lost.total() - books.lost["unsent"]


class Certificates:
    """Contexts of a pool and of those who trust it."""

    def __init__(self, folder, days=30):
        authority = Authority(folder, "pool")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(*authority.server(days=days))
        self.client = ssl.create_default_context(cafile=authority.ca_file)


def upstream(pools, **options):
    return Upstream(addresses(pools), ScaledClock(datetime(2026, 1, 1, tzinfo=UTC)), **options)


@virtual
async def test_tls_is_spoken_and_kept_when_the_pool_asks_to_reconnect(tmp_path):
    certificates = Certificates(tmp_path)
    pool = make_pool(tls=certificates.server)
    async with running_pools(pool):
        up = upstream([pool], tls=lambda _address: certificates.client)
        async with running(up.run()):
            await asyncio.sleep(1)
            assert up.active is not None
            pool.ask_to_reconnect()
            await asyncio.sleep(10)
            assert up.active is not None
            assert pool.connections == 2
            assert all(session._transport.get_extra_info("ssl_object") for session in pool.sessions)


@virtual
async def test_a_certificate_that_is_not_trusted_is_a_failure_with_a_name(tmp_path):
    pool = make_pool(tls=Certificates(tmp_path).server)
    async with running_pools(pool):
        up = upstream([pool])
        async with running(up.run()):
            await asyncio.sleep(20)
            assert up.active is None
            assert up.books["pool"].failures["unreachable"] > 1
            assert "certificate" in up.books["pool"].last_failure


async def _a_real_mine(folder):
    """Real sockets, real ptys: accepted shares, a stick pulled out and put back."""
    loop = asyncio.get_running_loop()
    pool = build_pool({"difficulty": 2 * QUICK, "vardiff": False, "job_s": 0.5, "block_s": 1.0}, plant_clock(), 1)
    rigs = [
        build_icarus({"name": f"s{n}", "path": str(folder / f"s{n}"), "nonce_difficulty": QUICK}, plant_clock(), n)
        for n in range(2)
    ]
    await pool.start()
    for rig in rigs:
        await rig.start()
    drivers = [
        icarus.open(
            RigSpec(RigName(rig.name), "icarus", rig.address, options={"nonce_difficulty": f"{QUICK:g}"}),
            Io(mono=loop.time),
        )
        for rig in rigs
    ]
    up = Upstream([PoolAddress("p", "127.0.0.1", pool.port, "farm", "x", 0)], ScaledClock(datetime.now(UTC)))
    dispatch = Dispatch(drivers, up, ScaledClock(datetime.now(UTC)))
    try:
        async with running(up.run(), dispatch.run()), asyncio.timeout(20):
            await _shares(dispatch, "s0", 5)
            await rigs[0].set_faults([ChipFault.UNPLUG])
            while not dispatch.books["s0"].failure:
                await asyncio.sleep(0.01)
            before = dispatch.books["s0"].verdicts[NonceVerdict.SHARE]
            await _shares(dispatch, "s1", dispatch.books["s1"].verdicts[NonceVerdict.SHARE] + 5)
            await rigs[0].set_faults([])
            await _shares(dispatch, "s0", before + 5)
            await pool.set_faults([PoolFault.DROP])
            await pool.set_faults([])
            await _shares(dispatch, "s1", dispatch.books["s1"].verdicts[NonceVerdict.SHARE] + 5)
            assert pool.accepted >= 10
            assert set(pool.rejected) <= {"stale"}
            verdicts = sum((books.verdicts for books in dispatch.books.values()), Counter())
            assert not verdicts[NonceVerdict.HARDWARE_ERROR]
    finally:
        for driver in drivers:
            await driver.close()
        for rig in rigs:
            await rig.stop()
        await pool.stop()


async def _shares(dispatch, rig, count):
    while dispatch.books[rig].verdicts[NonceVerdict.SHARE] < count:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.allow_leftovers("libuv opens a pipe with the first loop of the process and keeps it")
@pytest.mark.slow
def test_a_real_mine(factory, tmp_path):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_a_real_mine(tmp_path))
