"""One rig's lane: one call at a time, the latest wish wins, every instruction is concluded once."""

import asyncio

import pytest

from controller.host import Instruction
from controller.lane import DRIVER_BUG, OVER_BUDGET, Lane
from shedload.device import Blink, RigName, Sleep, Wake
from shedload.errors import Garbled, NoAnswer, Refused, Unauthorized, Unreachable, WrongMachine
from tests.support.fakes import FakeRig, only_readable
from tests.support.virtual import virtual, virtual_loop

RIG = RigName("rig-1")


class Bench:
    """A lane in a task group, and what it says."""

    def __init__(self, rig, **settings):
        self.loop = virtual_loop()
        self.rig = rig
        self.lane = Lane(
            rig,
            budget=settings.get("budget", 5.0),
            command_budget=settings.get("command_budget", 20.0),
            commanding=asyncio.Semaphore(settings.get("commanding", 8)),
            mono=self.loop.time,
        )
        self.outcomes = []
        self.freed = []

    async def __aenter__(self):
        self.group = asyncio.TaskGroup()
        await self.group.__aenter__()
        self.lane.start(self.group, self.outcomes.append, self.freed.append)
        return self

    async def __aexit__(self, *error):
        await self.group.__aexit__(*error)

    def sleep(self, number=1, within=60.0):
        self.lane.instruct(Instruction(number, RIG, Sleep(), True, self.loop.time() + within))

    def wake(self, number=1, within=60.0):
        self.lane.instruct(Instruction(number, RIG, Wake(), False, self.loop.time() + within))

    def poll(self):
        return asyncio.create_task(self.lane.poll(self.loop.time()))

    def told(self):
        return [(outcome.number, outcome.conclusion.value) for outcome in self.outcomes]


@virtual
async def test_a_reading_tells_when_it_was_due_and_when_it_was_done():
    async with Bench(FakeRig(delay=0.5)) as bench:
        due = bench.loop.time() - 1
        observation = await bench.lane.poll(due)
    assert observation.due == due
    assert observation.taken == bench.loop.time()
    assert observation.telemetry is not None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unreachable("no"), "unreachable"),
        (NoAnswer("no"), "no_answer"),
        (Garbled("no"), "garbled"),
        (Unauthorized("no"), "unauthorized"),
        (ZeroDivisionError("no"), DRIVER_BUG),
        (TimeoutError("its own"), OVER_BUDGET),
        (OSError(24, "Too many open files"), DRIVER_BUG),
    ],
)
def test_whatever_a_read_raises_is_an_observation(error, kind):
    @virtual
    async def body():
        rig = FakeRig()
        rig.error = error
        async with Bench(rig) as bench:
            observation = await bench.lane.poll(bench.loop.time())
        assert observation.failure.kind == kind
        assert observation.telemetry is None

    body()


@virtual
async def test_a_reading_ends_with_its_budget():
    rig = FakeRig()
    rig.hang = True
    async with Bench(rig, budget=5.0) as bench:
        began = bench.loop.time()
        observation = await bench.lane.poll(began)
        assert observation.failure.kind == OVER_BUDGET
        assert bench.loop.time() - began == pytest.approx(5.0)


@virtual
async def test_a_lowering_cancels_a_reading_and_nothing_else():
    rig = FakeRig(delay=4.0)
    async with Bench(rig) as bench:
        reading = bench.poll()
        await asyncio.sleep(1)
        began = bench.loop.time()
        bench.sleep()
        assert await reading is None
        assert bench.loop.time() == began
        assert reading.cancelling() == 0
    assert bench.told() == [(1, "answered")]
    assert bench.freed == [RIG]
    assert rig.asleep


@virtual
async def test_a_raise_waits_for_the_reading():
    rig = FakeRig(delay=4.0)
    async with Bench(rig) as bench:
        reading = bench.poll()
        await asyncio.sleep(1)
        bench.wake()
        assert (await reading).telemetry is not None
    assert bench.told() == [(1, "answered")]


@virtual
async def test_a_driver_that_swallows_the_cancellation_yields_no_failure():
    rig = FakeRig(delay=4.0)
    rig.swallow = True
    async with Bench(rig) as bench:
        reading = bench.poll()
        await asyncio.sleep(1)
        bench.sleep()
        assert await reading is None


@virtual
async def test_two_lowerings_cancel_a_reading_once():
    async with Bench(FakeRig(delay=4.0)) as bench:
        reading = bench.poll()
        await asyncio.sleep(1)
        bench.sleep(1)
        bench.sleep(2)
        assert await reading is None
        assert reading.cancelling() == 0
    assert bench.told() == [(1, "superseded"), (2, "answered")]


@virtual
async def test_a_cancellation_from_outside_goes_through_even_beside_a_lowering():
    async with Bench(FakeRig(delay=4.0)) as bench:
        reading = bench.poll()
        await asyncio.sleep(1)
        bench.sleep()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert bench.told() == [(1, "answered")]


@virtual
async def test_no_reading_while_a_command_waits_or_runs():
    rig = FakeRig()
    rig.verb_delay = 10.0
    async with Bench(rig) as bench:
        bench.sleep()
        assert bench.lane.busy
        assert await bench.lane.poll(bench.loop.time()) is None
        await asyncio.sleep(5)
        assert await bench.lane.poll(bench.loop.time()) is None
    assert rig.reads == []


@virtual
async def test_a_write_on_its_way_is_finished_before_the_newer_command():
    rig = FakeRig()
    rig.verb_delay = 10.0
    async with Bench(rig) as bench:
        bench.wake(1)
        await asyncio.sleep(2)
        for number in (2, 3, 4):
            bench.sleep(number)
    assert rig.verbs == ["wake", "sleep"]
    assert bench.told() == [(2, "superseded"), (3, "superseded"), (1, "answered"), (4, "answered")]


@pytest.mark.parametrize(
    ("error", "conclusion"),
    [
        (Unreachable("no"), "failed"),
        (NoAnswer("no"), "unknown"),
        (Garbled("no"), "unknown"),
        (Refused("no"), "refused"),
        (Unauthorized("no"), "refused"),
        (WrongMachine("no"), "refused"),
        (KeyError("bug"), "unknown"),
    ],
)
def test_every_error_of_a_command_has_its_conclusion(error, conclusion):
    @virtual
    async def body():
        rig = FakeRig()
        rig.refusal = error
        async with Bench(rig) as bench:
            bench.sleep()
        assert bench.told() == [(1, conclusion)]
        assert bench.outcomes[0].failure is not None
        assert not bench.lane.busy

    body()


@virtual
async def test_a_verb_that_the_driver_lacks_is_refused():
    async with Bench(only_readable(FakeRig())) as bench:
        bench.lane.instruct(Instruction(1, RIG, Blink(), False, bench.loop.time() + 60))
    assert bench.told() == [(1, "refused")]


@virtual
async def test_a_command_that_hangs_ends_with_its_budget_and_is_unknown():
    rig = FakeRig()
    rig.hang = True
    async with Bench(rig, command_budget=20.0) as bench:
        began = bench.loop.time()
        bench.sleep()
    assert bench.told() == [(1, "unknown")]
    assert bench.loop.time() - began == pytest.approx(20.0)


@virtual
async def test_a_command_that_waited_too_long_is_not_sent():
    rig = FakeRig()
    rig.verb_delay = 10.0
    async with Bench(rig) as bench:
        bench.wake(1)
        await asyncio.sleep(1)
        bench.sleep(2, within=5.0)
    assert bench.told() == [(1, "answered"), (2, "expired")]
    assert rig.verbs == ["wake"]


@virtual
async def test_the_end_of_everything_concludes_what_is_under_way_and_what_waits():
    rig = FakeRig()
    rig.verb_delay = 10.0
    bench = Bench(rig)

    async def live():
        async with bench:
            bench.wake(1)
            await asyncio.sleep(1)
            bench.sleep(2)
            await asyncio.sleep(100)

    task = asyncio.create_task(live())
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(bench.told()) == [(1, "unknown"), (2, "expired")]


@virtual
async def test_closing_survives_what_a_driver_does():
    rig = FakeRig()

    async def close():
        raise RuntimeError("stuck")

    rig.close = close
    async with Bench(rig) as bench:
        await bench.lane.close()
