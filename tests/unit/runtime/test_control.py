"""The loops: wake-ups, the re-check of raises, the guard, clocks that are set, the books."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.plan import Order, Reason
from controller.track import TrackSettings
from shedload.device import Activity, Telemetry
from shedload.units import HashesPerSecond, Watts
from tests.support.site import NOON, desk, hashing
from tests.support.virtual import virtual, virtual_loop

ASLEEP = Telemetry(activity=Activity.ASLEEP, mode="sleep", power=Watts(25.0))


def order(kilowatts, number=1):
    return Order(number, Watts(kilowatts * 1e3), "ann", "", NOON)


@virtual
async def test_an_order_that_comes_while_a_cycle_runs_is_not_slept_over():
    bench = desk({"hall": 2})
    loop = virtual_loop()
    bench.clock.now = loop.time()
    bench.clock.mono = loop.time  # type: ignore[method-assign]
    controller = bench.site.controller
    starts = []
    real = controller.cycle

    async def slow_cycle():
        starts.append(loop.time())
        await asyncio.sleep(0.5)
        return await real()

    controller.cycle = slow_cycle
    task = asyncio.create_task(controller.run())
    await asyncio.sleep(0.2)
    controller.set_orders((order(5),))
    await asyncio.sleep(1.0)
    assert starts[1] - starts[0] == pytest.approx(0.5)
    task.cancel()


@virtual
async def test_a_raise_waits_when_something_changed_since_the_plan():
    bench = desk({"hall": 2})
    controller, meter = bench.site.controller, bench.site.meter
    for rig in ("hall-001", "hall-002"):
        bench.reading(rig, ASLEEP)
    meter.heard(Watts(600.0))

    async def with_change(change):
        """Let something happen while the intents are written."""
        bench.clock.now += 60
        for rig in ("hall-001", "hall-002"):
            bench.reading(rig, ASLEEP)
        bench.site.meter.heard(Watts(600.0))
        write = bench.store.intend

        async def intend(intents):
            numbers = await write(intents)
            change()
            return numbers

        bench.store.intend = intend
        try:
            return await controller.cycle()
        finally:
            bench.store.intend = write

    def silence():
        bench.clock.now += 31

    assert await with_change(lambda: controller.set_orders((order(2),))) == 0
    controller.set_orders(())
    assert await with_change(silence) == 0
    assert await with_change(lambda: meter.heard(Watts(9e6))) == 0
    meter.heard(Watts(600.0))
    assert await with_change(lambda: setattr(bench.store, "failing", "full")) == 0
    bench.store.failing = None
    assert await with_change(lambda: None) == 2


@virtual
async def test_the_guard_calls_for_a_cycle_only_when_the_excess_is_not_explained():
    bench = desk({"hall": 4})
    controller = bench.site.controller
    for number in range(1, 5):
        bench.reading(f"hall-00{number}", hashing())
    bench.site.meter.heard(Watts(15_000.0))
    await controller.cycle()
    controller._hurry.clear()
    bench.site.meter.heard(Watts(17_010.0))  # over by noise
    assert not controller._hurry.is_set()
    bench.site.meter.heard(Watts(20_000.0))
    assert controller._hurry.is_set()
    assert controller.guard_alarms == 1
    await controller.cycle()
    lowered = {instruction.rig for instruction in bench.host.instructions}
    assert len(lowered) == 1
    controller._hurry.clear()
    bench.site.meter.heard(Watts(20_000.0))  # one rig of 3.5 kW is on its way down
    assert not controller._hurry.is_set()


@virtual
async def test_before_the_first_pass_sleepers_nobody_has_asked_yet_make_nobody_sleep():
    bench = desk({"hall": 10})
    controller = bench.site.controller
    controller.site = replace(controller.site, power_cap=Watts(8_000.0))
    bench.site.meter.heard(Watts(7_500.0))
    bench.reading("hall-001", hashing())
    bench.reading("hall-002", hashing())
    for _ in range(3):
        await controller.cycle()
    assert bench.host.instructions == []
    assert not controller.ready
    for number in range(3, 11):
        bench.reading(f"hall-{number:03d}", ASLEEP)
    await controller.cycle()
    assert controller.ready
    assert bench.host.instructions == []


@virtual
async def test_a_rig_that_was_never_tried_ends_no_waiting_for_ever():
    bench = desk({"hall": 2})
    bench.reading("hall-001", hashing())
    await bench.cycle()
    assert not bench.site.controller.ready
    bench.clock.now += 121
    await bench.cycle()
    assert bench.site.controller.ready


@virtual
async def test_a_wall_clock_that_is_set_raises_nothing_for_a_while():
    bench = desk({"hall": 1}, price=0.05)
    bench.reading("hall-001", ASLEEP)
    bench.site.meter.heard(Watts(500.0))
    shift = timedelta()
    wall = bench.clock.wall
    bench.clock.wall = lambda: wall() + shift  # type: ignore[method-assign]
    shift = timedelta(hours=1)
    await bench.cycle()
    assert bench.host.instructions == []
    decision = bench.site.controller.plan.decisions["hall-001"]
    assert decision.reason is Reason.NOT_READY
    bench.clock.now += 16
    bench.site.meter.heard(Watts(500.0))
    await bench.cycle()
    assert [instruction.command.verb for instruction in bench.host.instructions] == ["wake"]


@virtual
async def test_under_an_order_contested_rigs_are_counted_on_again():
    bench = desk({"hall": 1})
    actuator = bench.site.actuator
    actuator.tracks["hall-001"]._settings = TrackSettings(contest_count=1)
    actuator.tracks["hall-001"].contested = True
    actuator.tracks["hall-001"]._undone.append(bench.clock.now)
    bench.reading("hall-001", hashing())
    bench.site.meter.heard(Watts(4000.0))
    await bench.cycle()
    assert bench.site.controller.views["hall-001"].obstacle is Reason.CONTESTED
    assert bench.host.instructions == []
    bench.site.controller.set_orders((order(1),))
    await bench.cycle()
    assert bench.site.controller.views["hall-001"].obstacle is None
    assert [instruction.command.verb for instruction in bench.host.instructions] == ["sleep"]


@virtual
async def test_a_rig_that_lies_earns_nothing_in_the_books():
    bench = desk({"hall": 2})
    bench.reading("hall-001", hashing())
    bench.reading("hall-002", replace(hashing(), hashrate=HashesPerSecond(200e15)))
    bench.site.meter.heard(Watts(7000.0))
    await bench.cycle()
    bench.clock.now += 10
    bench.site.meter.heard(Watts(7000.0))
    await bench.cycle()
    ledger = bench.site.controller.ledger
    assert ledger.earned == pytest.approx(10 * 200e12 * 0.042 / 24 / 1e12 / 3600, rel=1e-6)
    assert ledger.energy_joules == pytest.approx(70_000.0)


@virtual
async def test_listeners_hear_of_each_cycle():
    bench = desk()
    bench.clock.mono = virtual_loop().time  # type: ignore[method-assign]
    heard = []
    bench.site.controller.listen(lambda: heard.append(bench.site.controller.cycles))
    task = asyncio.create_task(bench.site.controller.run())
    await asyncio.sleep(11)
    task.cancel()
    assert heard == [1, 2, 3]
