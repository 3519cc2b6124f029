"""Dispatch in virtual time, against simulated chips and a simulated pool: what is searched, sent, counted."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from controller.clock import ScaledClock
from controller.stratum.dispatch import Dispatch, NonceVerdict
from controller.stratum.upstream import Upstream
from drivers import load
from drivers.io import Io
from shedload.device import Activity, RigName, RigSpec
from simulator.chips import ChipFault
from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.pool import Pool
from simulator.pool_config import PoolFault
from tests.support.mining import (
    HASHRATE,
    NONCE_DIFFICULTY,
    addresses,
    make_pool,
    mine,
    running,
    serial_in_memory,
)
from tests.support.serial_lines import SerialLines
from tests.support.virtual import virtual
from tests.support.wires import Wire

HARDER = {"nonce_difficulty": 4e-7, "hashrate_hs": 800.0}
"""So that no false nonce is true by chance."""


@virtual
async def test_every_share_is_verified_here_and_accepted_there():
    async with mine(make_pool(), rigs=2) as site:
        await asyncio.sleep(120)
        books = site.upstream.books["pool"]
        verdicts = sum((books.verdicts for books in site.dispatch.books.values()), Counter())
        assert verdicts[NonceVerdict.SHARE] == books.submitted == books.accepted == site.pools[0].accepted > 20
        assert verdicts[NonceVerdict.BELOW_TARGET] > 20
        assert set(verdicts) == {NonceVerdict.SHARE, NonceVerdict.BELOW_TARGET}
        assert not site.pools[0].rejected
        assert not books.rejected
        assert books.accepted_difficulty == pytest.approx(books.accepted * 2 * NONCE_DIFFICULTY)


@virtual
async def test_hashrate_is_told_from_verified_nonces():
    async with mine(make_pool()) as site:
        await asyncio.sleep(900)
        books = site.dispatch.books["stick-0"]
        assert books.hashrate == pytest.approx(HASHRATE, rel=0.2)
        assert books.seconds == pytest.approx(900, rel=0.02)
        assert books.best_difficulty > NONCE_DIFFICULTY


@virtual
async def test_rigs_never_search_the_same_headers():
    async with mine(make_pool(block_s=40.0), rigs=3) as site:
        headers = Counter()
        for driver in site.drivers:
            _spy(driver, headers)
        await asyncio.sleep(120)
        assert len(headers) > 100
        assert set(headers.values()) == {1}


def _spy(driver, headers):
    assign = driver.assign

    async def spied(work):
        headers[work.header] += 1
        await assign(work)

    driver.assign = spied


@virtual
async def test_wrong_nonces_are_hardware_errors_and_no_pool_hears_of_them():
    async with mine(make_pool(), table=HARDER | {"fault": ChipFault.WRONG_NONCE}, difficulty=4e-7) as site:
        await asyncio.sleep(60)
        verdicts = site.dispatch.books["stick-0"].verdicts
        assert verdicts[NonceVerdict.HARDWARE_ERROR] > 10
        assert site.found == 0
        assert site.dispatch.books["stick-0"].hashrate is None


@virtual
async def test_a_clean_job_replaces_the_work_at_once():
    async with mine(make_pool(), table={"nonce_difficulty": 1.0}) as site:
        await asyncio.sleep(5)
        before = site.rigs[0].chip.works
        site.pools[0].new_job()
        await asyncio.sleep(0.1)
        assert site.rigs[0].chip.works == before
        site.pools[0].new_block()
        await asyncio.sleep(0.1)
        assert site.rigs[0].chip.works == before + 1
        await asyncio.sleep(12)
        assert site.rigs[0].chip.works == before + 2, "the range is over before new work comes"


@virtual
async def test_a_nonce_of_an_old_block_is_stale_and_is_not_sent():
    lines = SerialLines(to_host=Wire(delay=0.4))
    async with mine(make_pool(block_s=3.0), lines=lines) as site:
        await asyncio.sleep(200)
        verdicts = site.dispatch.books["stick-0"].verdicts
        assert verdicts[NonceVerdict.STALE] > 2
        assert verdicts[NonceVerdict.HARDWARE_ERROR] == 0
        assert site.pools[0].rejected["stale"] == 0


@virtual
async def test_a_late_reply_belongs_to_the_work_before():
    lines = SerialLines(to_host=Wire(delay=0.9))
    async with mine(make_pool(block_s=1.7), lines=lines) as site:
        await asyncio.sleep(100)
        books = site.dispatch.books["stick-0"]
        assert books.verdicts[NonceVerdict.HARDWARE_ERROR] == 0
        assert books.verdicts.total() > 5


@virtual
async def test_each_share_is_judged_by_the_difficulty_of_its_job():
    async with mine(make_pool(vardiff=True, difficulty=NONCE_DIFFICULTY), rigs=3) as site:
        await asyncio.sleep(400)
        books = site.upstream.books["pool"]
        assert books.difficulty > 2 * NONCE_DIFFICULTY
        assert books.accepted > 100
        assert not books.rejected


@virtual
async def test_torn_replies_are_counted_and_cost_a_moment():
    async with mine(make_pool(), table={"fault": ChipFault.LOST_BYTE}) as site:
        await asyncio.sleep(120)
        books = site.dispatch.books["stick-0"]
        assert books.verdicts[NonceVerdict.GARBLED] == pytest.approx(books.verdicts.total() / 3, abs=2)
        assert books.verdicts[NonceVerdict.HARDWARE_ERROR] == 0
        assert books.verdicts[NonceVerdict.SHARE] > 10
        assert books.verdicts.total() > 40, "chips stood still"


@virtual
async def test_a_device_that_is_pulled_out_comes_back_by_itself():
    async with mine(make_pool(), rigs=2) as site:
        await asyncio.sleep(10)
        await site.rigs[0].set_faults([ChipFault.UNPLUG])
        await asyncio.sleep(100)
        gone, other = (site.dispatch.books[rig.name] for rig in site.rigs)
        assert "cannot open" in gone.failure
        assert other.failure == ""
        seconds = gone.seconds
        await site.rigs[0].set_faults([])
        await asyncio.sleep(31)
        assert gone.failure == ""
        assert gone.reopened == 1
        await asyncio.sleep(20)
        assert gone.seconds > seconds + 19
        assert gone.verdicts[NonceVerdict.SHARE] > 3


@virtual
async def test_a_device_that_babbles_is_given_up_and_tried_again():
    async with mine(
        make_pool(), table=HARDER | {"nonce_difficulty": 1e-9, "fault": ChipFault.WRONG_NONCE}, difficulty=4e-7
    ) as site:
        await asyncio.sleep(10)
        books = site.dispatch.books["stick-0"]
        assert "babbles" in books.failure
        assert books.verdicts[NonceVerdict.HARDWARE_ERROR] < 500
        await asyncio.sleep(100)
        assert books.verdicts[NonceVerdict.HARDWARE_ERROR] < 1000


@virtual
async def test_a_rig_asleep_gets_no_work_and_wakes_within_a_second():
    async with mine(make_pool(), rigs=2) as site:
        await asyncio.sleep(10)
        rig, driver, books = site.rigs[0], site.drivers[0], site.dispatch.books["stick-0"]
        assert rig.power(0) > 10
        await driver.sleep()
        await asyncio.sleep(0.1)
        assert rig.power(0) < 1, "it hashes on"
        assert (await driver.read()).activity is Activity.ASLEEP
        await asyncio.sleep(1)
        assigned, seconds = books.assigned, books.seconds
        await asyncio.sleep(60)
        assert (books.assigned, books.seconds) == (assigned, seconds)
        await driver.wake()
        await asyncio.sleep(1)
        assert books.assigned == assigned + 1
        assert (await driver.read()).activity is Activity.HASHING
        await asyncio.sleep(30)
        assert books.verdicts[NonceVerdict.HARDWARE_ERROR] == 0
        assert books.verdicts[NonceVerdict.SHARE] > 5


@virtual
async def test_shares_of_a_dead_pool_are_lost_and_counted():
    async with mine(make_pool()) as site:
        await asyncio.sleep(20)
        await site.pools[0].set_faults([PoolFault.REFUSE])
        await asyncio.sleep(60)
        verdicts = site.dispatch.books["stick-0"].verdicts
        sent, lost = verdicts[NonceVerdict.SHARE], verdicts[NonceVerdict.LOST]
        assert lost == site.upstream.books["pool"].lost["unsent"]
        assert lost <= 1
        assert site.rigs[0].power(0) > 1 or not site.rigs[0].chip.busy
        seconds = site.dispatch.books["stick-0"].seconds
        await asyncio.sleep(60)
        assert site.dispatch.books["stick-0"].seconds == seconds, "no pool, no work"
        await site.pools[0].set_faults([])
        await asyncio.sleep(90)
        assert verdicts[NonceVerdict.SHARE] > sent


@virtual
async def test_work_that_comes_back_is_not_searched_again():
    """A visit at another pool, and back to the same job: counting extranonce2 anew would find the same shares."""
    async with mine(make_pool(name="a"), make_pool(name="b")) as site:
        await asyncio.sleep(5)
        headers = {site.dispatch.next_work().work.header for _ in range(5)}
        first = site.upstream.source
        site.upstream._active = None
        assert site.dispatch.next_work() is None
        site.upstream._active = first
        assert site.dispatch.next_work().work.header not in headers


@virtual
async def test_a_used_up_space_waits_for_the_next_job():
    async with mine(make_pool(extranonce2_size=2, job_s=50.0)) as site:
        await asyncio.sleep(1)
        while site.dispatch.next_work() is not None:
            pass
        await asyncio.sleep(15)
        works = site.rigs[0].chip.works
        await asyncio.sleep(15)
        assert site.rigs[0].chip.works == works
        site.pools[0].new_job()
        await asyncio.sleep(0.1)
        assert site.rigs[0].chip.works == works + 1


@virtual
async def test_a_whole_farm_file_mines_in_virtual_time():
    """What scenario tests do: a farm from TOML, its serial rigs on lines in memory, drivers from its inventory."""
    lines = SerialLines()
    farm = Farm(parse_farm(FARM), serial=serial_in_memory(lines))
    await farm.start()
    pools = [part for part in farm.parts if isinstance(part, Pool)]
    io = Io(mono=asyncio.get_running_loop().time, serial=lines.open)
    rigs = [load(slot["driver"]).open(spec_of(slot), io) for slot in farm.inventory()]
    clock = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC))
    upstream = Upstream(addresses(pools), clock)
    dispatch = Dispatch(rigs, upstream, clock)
    async with running(upstream.run(), dispatch.run()):
        await asyncio.sleep(3600)
        assert pools[0].accepted == upstream.books["pool"].accepted > 300
        assert farm.meter.true_power() == pytest.approx(2 * 19.2, rel=0.01)
    for rig in rigs:
        await rig.close()
    await farm.stop()


FARM = """
[meter]
[pool]
difficulty = 4e-8
[[serial]]
name = "stick-1"
hashrate_hs = 20
nonce_difficulty = 4e-8
[[serial]]
name = "stick-2"
hashrate_hs = 20
nonce_difficulty = 4e-8
"""


def spec_of(slot):
    options = dict(pair.split("=") for pair in slot["options"].split(";"))
    return RigSpec(RigName(slot["name"]), slot["driver"], slot["address"], options=options)
