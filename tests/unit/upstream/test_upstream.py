"""Failover, return, patience and hanging up, in virtual time against simulated pools."""

import asyncio
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from controller.clock import ScaledClock
from controller.stratum import connection
from controller.stratum.connection import PoolAddress
from controller.stratum.upstream import GRACE, STABLE_AFTER, Upstream
from simulator.pool_config import PoolFault
from tests.support.mining import addresses, make_pool, mine, running, running_pools
from tests.support.virtual import network, virtual
from tests.support.wires import Wire


def two_pools(**first):
    """A preferred pool and the one behind it."""
    return make_pool(name="a", **first), make_pool(name="b", seed=2)


def upstream_of(pools, **options):
    return Upstream(addresses(pools), ScaledClock(datetime(2026, 1, 1, tzinfo=UTC)), **options)


async def until(condition, within):
    """Seconds until it holds; fails after `within`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() < began + within, f"not within {within} s"
        await asyncio.sleep(0.1)
    return loop.time() - began


def active(site):
    return site.upstream.active.name if site.upstream.active else None


@virtual
async def test_the_preferred_pool_is_taken_and_the_other_left_alone():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(300)
        a, b = site.pools
        assert active(site) == "a"
        assert a.connections == 1
        assert b.connections == 0
        assert site.upstream.books["a"].connected


@virtual
async def test_a_dead_pool_is_left_within_ten_seconds():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.REFUSE])
        await until(lambda: active(site) == "b", within=10)
        assert site.upstream.books["b"].active
        assert not site.upstream.books["a"].active
        await asyncio.sleep(30)
        assert site.pools[1].accepted > 5


@virtual
async def test_a_pool_that_swallows_connections_does_not_hold_up_the_start():
    pools = two_pools()
    async with running_pools(*pools):
        network().wire("127.0.0.1", pools[0].port, Wire(lose=1))
        upstream = upstream_of(pools)
        async with running(upstream.run()):
            await until(lambda: upstream.active is not None, within=10)
            assert upstream.active.name == "b"


@virtual
async def test_a_stalled_connection_is_given_up_for_a_new_one_within_a_minute():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.STALL])
        await until(lambda: site.pools[0].connections == 2, within=60)
        accepted = site.pools[0].accepted
        await asyncio.sleep(30)
        assert active(site) == "a"
        assert site.pools[0].accepted > accepted


@virtual
async def test_a_silent_pool_is_left_within_a_minute():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.SILENT])
        waited = await until(lambda: active(site) == "b", within=60)
        assert waited > 20
        assert site.upstream.books["a"].failures == {"no_answer": 1}
        assert site.upstream.books["a"].lost["disconnected"] > 0


@virtual
async def test_silence_without_shares_is_no_connection_for_a_minute_and_the_next_time_waited_for_longer():
    pools = two_pools(job_s=60.0)
    async with running_pools(*pools):
        upstream = upstream_of(pools)
        async with running(upstream.run()):
            await asyncio.sleep(1)
            assert upstream.active.name == "a"
            await asyncio.sleep(59)
            assert pools[0].connections == 2
            assert upstream.books["a"].failures == {"silence": 1}
            await asyncio.sleep(600)
            assert upstream.books["a"].failures == {"silence": 1}


@virtual
async def test_a_pool_that_never_answers_is_counted_each_time_and_logged_once():
    pools = two_pools(fault=PoolFault.SILENT)
    with capture_logs() as logs:
        async with mine(*pools) as site:
            await until(lambda: active(site) == "b", within=10)
            await asyncio.sleep(600)
            assert site.upstream.books["a"].failures["handshake_timeout"] > 5
            assert site.upstream.books["a"].last_failure
    assert [line["pool"] for line in logs if line["event"] == "pool_failed"] == ["a"]


@virtual
async def test_the_better_pool_gets_its_work_back_when_it_has_proved_stable():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.REFUSE])
        await until(lambda: active(site) == "b", within=10)
        await asyncio.sleep(300)
        await site.pools[0].set_faults([])
        waited = await until(lambda: active(site) == "a", within=60 + STABLE_AFTER + 1)
        assert waited >= STABLE_AFTER
        old = site.pools[1].sessions
        assert len(old) == 1, "kept for shares on their way"
        await asyncio.sleep(GRACE + 1)
        assert site.pools[1].sessions == ()
        assert site.upstream.books["b"].failures == {}, "we hung up, it did not fail"
        await asyncio.sleep(300)
        assert site.pools[1].connections == 1


@virtual
async def test_an_unstable_better_pool_gets_no_work():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(5)
        await site.pools[0].set_faults([PoolFault.REFUSE])
        await until(lambda: active(site) == "b", within=10)
        for _ in range(8):
            await site.pools[0].set_faults([])
            await asyncio.sleep(40)
            assert active(site) == "b"
            await site.pools[0].set_faults([PoolFault.REFUSE])
            await asyncio.sleep(5)
        assert site.pools[1].connections == 1


@virtual
async def test_shares_on_their_way_reach_the_pool_their_job_came_from():
    async with mine(*two_pools()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.REFUSE])
        await until(lambda: active(site) == "b", within=10)
        await site.pools[0].set_faults([])
        source, job = site.upstream.source, site.upstream.job
        await until(lambda: active(site) == "a", within=130)
        accepted = site.pools[1].accepted + site.pools[1].rejected.total()
        assert source.usable
        assert source.submit(job, next(_shares(job))) is not None
        await asyncio.sleep(1)
        assert site.pools[1].accepted + site.pools[1].rejected.total() == accepted + 1


def _shares(job):
    from shedload.stratum.shares import Share

    for nonce in range(1 << 20):
        yield Share(b"\xff" * job.extranonce2_size, job.notify.ntime, nonce)


@virtual
async def test_no_pool_at_all_and_then_one():
    pools = two_pools(fault=PoolFault.REFUSE)
    pools[1].faults = frozenset({PoolFault.REFUSE})
    async with mine(*pools) as site:
        await asyncio.sleep(300)
        assert active(site) is None
        assert site.dispatch.books["stick-0"].assigned == 0
        await pools[1].set_faults([])
        await until(lambda: active(site) == "b", within=70)
        await until(lambda: site.dispatch.books["stick-0"].assigned > 0, within=1)


@virtual
async def test_a_request_to_reconnect_is_obeyed_and_loses_nothing():
    async with mine(make_pool(name="a")) as site:
        await asyncio.sleep(20)
        pool = site.pools[0]
        pool.ask_to_reconnect()
        await until(lambda: pool.connections == 2, within=10)
        await asyncio.sleep(30)
        books = site.upstream.books["a"]
        assert active(site) == "a"
        assert books.reconnects == {"obeyed": 1}
        assert books.failures == {}
        assert books.lost["timeout"] == 0


@virtual
async def test_a_request_to_another_port_of_the_same_host_is_obeyed():
    first, other = two_pools()
    async with running_pools(first, other):
        upstream = upstream_of([first])
        async with running(upstream.run()):
            await until(lambda: upstream.active is not None, within=5)
            first.ask_to_reconnect("", other.port)
            await until(lambda: other.connections == 1, within=10)
            other.drop_all()
            await until(lambda: first.connections == 2, within=10)


@virtual
async def test_a_pool_that_sends_us_elsewhere_and_hangs_up_at_once_is_followed():
    first, other = two_pools()
    async with mine(first, other) as site:
        await asyncio.sleep(20)
        first.ask_to_reconnect("", other.port)
        await asyncio.sleep(0)
        site.upstream.submit(site.upstream.source, site.upstream.job, next(_shares(site.upstream.job)))
        await asyncio.sleep(0)
        first.drop_all()
        await until(lambda: other.connections == 1, within=3)
        await asyncio.sleep(10)
        assert active(site) == "a"
        assert other.accepted > 0
        assert site.upstream.books["a"].failures == {}


@virtual
async def test_a_request_to_another_host_is_refused():
    async with mine(make_pool(name="a", fault=PoolFault.REDIRECT)) as site:
        await asyncio.sleep(60)
        assert site.pools[0].connections == 1
        assert site.upstream.books["a"].reconnects == {"refused": 1}
        assert site.pools[0].accepted > 5


@virtual
async def test_a_pool_that_redirects_in_circles_is_obeyed_three_times():
    async with mine(make_pool(name="a", fault=PoolFault.RECONNECT)) as site:
        await asyncio.sleep(300)
        assert site.upstream.books["a"].reconnects == {"obeyed": 3, "too_often": 1}
        assert site.pools[0].connections == 4
        assert active(site) == "a"


@virtual
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (PoolFault.GARBAGE, "protocol"),
        (PoolFault.ENDLESS, "overrun"),
        (PoolFault.ABSURD, "protocol"),
        (PoolFault.DROP, "closed"),
    ],
)
async def test_a_bad_pool_is_counted_and_logged_once_and_the_next_one_serves(fault, kind):
    with capture_logs() as logs:
        async with mine(*two_pools(fault=fault)) as site:
            await until(lambda: active(site) == "b", within=15)
            await asyncio.sleep(300)
            assert site.upstream.books["a"].failures[kind] >= 3
            assert site.pools[1].accepted > 50
            assert active(site) == "b"
    assert len([line for line in logs if line["event"] == "pool_failed"]) <= 2
    assert len([line for line in logs if line["event"] == "pool_unusable"]) <= 1


@virtual
async def test_refused_shares_are_counted_by_reason_and_logged_once():
    with capture_logs() as logs:
        async with mine(make_pool(fault=PoolFault.REJECT_ALL)) as site:
            await asyncio.sleep(60)
            books = site.upstream.books["pool"]
            assert books.rejected["other"] > 5
            assert books.accepted == 0
    assert len([line for line in logs if line["event"] == "share_rejected"]) == 1


@virtual
async def test_slow_answers_are_waited_for():
    async with mine(*two_pools(fault=PoolFault.SLOW, slow_s=20.0)) as site:
        await until(lambda: active(site) == "b", within=10)
        await asyncio.sleep(300)
        assert active(site) == "a"
        assert site.upstream.books["a"].latency == pytest.approx(20)
        assert not site.upstream.books["a"].failures


@virtual
async def test_every_share_is_accepted_refused_or_lost():
    pools = two_pools()
    async with mine(*pools) as site:
        await asyncio.sleep(20)
        await pools[0].set_faults([PoolFault.SILENT])
        await until(lambda: active(site) == "b", within=60)
        books = site.upstream.books["a"]
        assert books.submitted == books.accepted + books.rejected.total() + books.lost.total() - books.lost["unsent"]


@virtual
async def test_no_secret_is_logged_or_shown():
    with capture_logs() as logs:
        async with mine(*two_pools(fault=PoolFault.GARBAGE)) as site:
            await asyncio.sleep(60)
            shown = repr(site.upstream.active) + repr(site.upstream.books)
    assert "s3cret-word" not in shown + repr(logs)


@virtual
@pytest.mark.parametrize("host", ["x" * 70 + ".example", "nowhere.example", "a..b"])
async def test_a_name_that_cannot_be_resolved_is_a_failure_and_no_crash(host):
    upstream = Upstream([PoolAddress("bad", host, 3333, "u", "x", 0)], ScaledClock(datetime(2026, 1, 1, tzinfo=UTC)))
    async with running(upstream.run()):
        await asyncio.sleep(20)
        assert upstream.books["bad"].failures["unreachable"] > 1


@virtual
@pytest.mark.parametrize("line", [b"\n", b'{"id":7,"result":true,"error":null}\n'], ids=["blank lines", "answers"])
@pytest.mark.slow
async def test_a_pool_that_pours_without_end_is_hung_up_on_and_another_serves(line, monkeypatch):
    monkeypatch.setattr(connection, "FLOOD_BURST", 200_000)
    poured = []

    async def serve(_reader, writer):
        poured.append(0)
        try:
            while not writer.is_closing():
                writer.write(line * (60_000 // len(line)))
                poured[-1] += 60_000
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pool = make_pool(name="good")
    async with server, running_pools(pool):
        (good,) = addresses([pool])
        port = server.sockets[0].getsockname()[1]
        bad = PoolAddress("bad", "127.0.0.1", port, "u", "x", rank=-1)
        upstream = Upstream([bad, good], ScaledClock(datetime(2026, 1, 1, tzinfo=UTC)))
        async with running(upstream.run()):
            await until(lambda: upstream.active == good, within=30)
            await asyncio.sleep(60)
            assert upstream.active == good
    assert set(upstream.books["bad"].failures) == {"flood"}
    assert max(poured) < 1_000_000
    assert len(poured) < 30
