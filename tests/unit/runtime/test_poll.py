"""When rigs are read: cadence, spread, backoff, and that bad rigs take nobody's place."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from controller.host import Instruction
from controller.local_host import LocalHost
from controller.poll import PollSettings
from shedload.device import RigName, Sleep, Wake
from shedload.errors import Unreachable
from tests.support.fakes import FakeRig, Sink
from tests.support.virtual import virtual, virtual_loop


@asynccontextmanager
async def polling(rigs, **settings):
    loop, sink = virtual_loop(), Sink()
    host = LocalHost(rigs, PollSettings(seed=1, **settings), loop.time)
    task = asyncio.create_task(host.run(sink))
    await asyncio.sleep(0)
    try:
        yield host, sink
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(rig.closed for rig in rigs)


def rigs(count, delay=0.05):
    return [FakeRig(f"rig-{number:03d}", delay) for number in range(count)]


def gaps(rig):
    return [later - earlier for earlier, later in zip(rig.reads, rig.reads[1:], strict=False)]


def most_within(all_rigs, seconds, since=0.0):
    """The most readings that began within any window of so many seconds."""
    times = sorted(at for rig in all_rigs for at in rig.reads if at >= since)
    return max(sum(at <= other < at + seconds for other in times) for at in times)


@virtual
async def test_the_first_pass_is_spread_over_one_interval():
    fleet = rigs(100)
    async with polling(fleet, interval=10.0):
        await asyncio.sleep(10.0)
        assert all(len(rig.reads) == 1 for rig in fleet[1:])
        assert most_within(fleet, 1.0) <= 12


@virtual
async def test_cadence_holds_whatever_a_reading_takes():
    fleet = [FakeRig("quick", 0.01), FakeRig("slow", 6.0)]
    async with polling(fleet, interval=10.0):
        await asyncio.sleep(1000)
    for rig in fleet:
        assert 98 <= len(rig.reads) <= 101
        assert all(8.9 < gap < 11.1 for gap in gaps(rig)), rig.spec.name


@virtual
async def test_readings_slower_than_the_interval_do_not_pile_up():
    rig = FakeRig("slow", 3.0)
    async with polling([rig], interval=2.0, budget=8.0):
        await asyncio.sleep(100)
    assert all(gap >= 3.0 for gap in gaps(rig))


@virtual
async def test_failures_back_off_and_recover():
    rig = FakeRig()
    rig.error = Unreachable("no")
    async with polling([rig], interval=10.0, backoff_max=120.0) as (_, sink):
        await asyncio.sleep(1000)
        waits = gaps(rig)
        assert 8 < waits[0] < 13
        assert max(waits) < 120 * 1.21
        assert all(wait > 90 for wait in waits[5:])
        rig.error = None
        await asyncio.sleep(150)
        recovered = len(rig.reads)
        await asyncio.sleep(100)
        assert len(rig.reads) - recovered >= 9
    assert sink.observations[0].failure.kind == "unreachable"


@virtual
async def test_a_fifth_that_turns_into_tar_pits_costs_the_others_nothing():
    fleet = rigs(200)
    # The hung ones together want 4 a second times 8 s = 32 places, of 32.
    async with polling(fleet, interval=10.0, budget=8.0, concurrency=32) as (_, sink):
        await asyncio.sleep(30)
        bad = {rig.spec.name for rig in fleet[::5]}
        for rig in fleet[::5]:
            rig.hang = True
        began = virtual_loop().time()
        await asyncio.sleep(60)
    late = [item.taken - item.due for item in sink.observations if item.rig not in bad and item.due > began]
    assert len(late) > 160 * 5
    assert max(late) < 0.5


@virtual
async def test_a_pause_of_the_loop_makes_no_herd():
    fleet = rigs(200)
    async with polling(fleet, interval=10.0, concurrency=1000):
        await asyncio.sleep(35)
        virtual_loop()._now += 60.0  # suspended, or something blocked
        woke = virtual_loop().time()
        await asyncio.sleep(60)
        assert most_within(fleet, 1.0, woke) <= 40
        for rig in fleet:
            after = [at for at in rig.reads if at >= woke]
            assert after[0] - woke <= 11.0
            assert len(after) in (5, 6, 7)


@virtual
async def test_a_site_that_obeys_one_order_is_not_read_in_step_from_then_on():
    fleet = rigs(200)
    async with polling(fleet, interval=10.0) as (host, sink):
        await asyncio.sleep(20)
        for number, rig in enumerate(fleet):
            host.instruct(Instruction(number, rig.spec.name, Sleep(), True, virtual_loop().time() + 60))
        await asyncio.sleep(5)
        assert len(sink.outcomes) == 200
        later = virtual_loop().time() + 15
        await asyncio.sleep(60)
        assert most_within(fleet, 1.0, later) <= 40


@virtual
async def test_a_rig_is_read_right_after_its_command():
    rig = FakeRig()
    async with polling([rig], interval=60.0) as (host, sink):
        await asyncio.sleep(10)
        host.instruct(Instruction(1, RigName("rig-1"), Sleep(), True, virtual_loop().time() + 60))
        await asyncio.sleep(0.1)
    assert [item.telemetry.activity for item in sink.observations] == ["hashing", "asleep"]
    assert sink.told() == [(1, "answered")]
    assert sink.observations[-1].taken > sink.outcomes[0].finished


@virtual
async def test_a_reading_is_hurried_once():
    rig = FakeRig(delay=2.0)
    async with polling([rig], interval=60.0) as (host, _):
        await asyncio.sleep(1)
        host.refresh(RigName("rig-1"))  # in the middle of a reading: right after it
        host.refresh(RigName("rig-1"))
        await asyncio.sleep(10)
        assert len(rig.reads) == 2
        host.refresh(RigName("rig-1"))
        await asyncio.sleep(1)
        assert len(rig.reads) == 3


@virtual
async def test_a_rig_that_hangs_is_not_hurried_into_a_busy_loop():
    rig = FakeRig()
    rig.hang = True
    async with polling([rig], interval=10.0, budget=5.0, backoff_max=60.0) as (host, _):
        for _ in range(60):
            await asyncio.sleep(1)
            host.refresh(RigName("rig-1"))
        assert len(rig.reads) <= 13


@virtual
async def test_readings_come_in_batches_and_in_order():
    fleet = rigs(500, delay=0.001)
    async with polling(fleet, interval=1.0, concurrency=1000) as (_, sink):
        await asyncio.sleep(5)
    taken = [item.taken for item in sink.observations]
    assert taken == sorted(taken)
    assert sink.batches < len(taken) / 5


@virtual
async def test_what_was_read_before_a_command_ended_is_told_before_its_outcome():
    order = []
    rig = FakeRig(delay=0.0)
    loop = virtual_loop()
    host = LocalHost([rig], PollSettings(interval=100.0, seed=1), loop.time)

    class Listening(Sink):
        def observed(self, batch):
            order.extend("reading" for _ in batch)

        def concluded(self, outcome):
            order.append("outcome")

    task = asyncio.create_task(host.run(Listening()))
    await asyncio.sleep(0.005)  # read, and waiting in the batch
    host.instruct(Instruction(1, RigName("rig-1"), Wake(), False, loop.time() + 60))
    await asyncio.sleep(1)
    assert order[:2] == ["reading", "outcome"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual
async def test_an_empty_site_is_fine():
    async with polling([], interval=10.0) as (_, sink):
        await asyncio.sleep(30)
    assert sink.observations == []


def test_without_a_seed_the_process_s_chance_decides():
    import random

    from controller.poll import Poller

    def draws():
        random.seed(7)
        return Poller(PollSettings(), lambda: 0.0, lambda _: None)._random.random()

    assert draws() == draws()
