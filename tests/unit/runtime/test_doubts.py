"""A clock that was set, a meter that tells half."""

from dataclasses import replace
from datetime import timedelta

import pytest
import structlog

from controller.doubts import PATIENCE, ClockDoubt, MeterDoubt
from controller.plan import RigState
from shedload.units import Watts
from tests.support.site import NOON, desk, hashing
from tests.support.virtual import virtual


def test_a_clock_that_runs_is_no_reason_for_doubt():
    doubt = ClockDoubt(NOON, 1000.0)
    for second in range(0, 3600, 5):
        assert doubt.stepped(NOON + timedelta(seconds=second * 1.001), 1000.0 + second) is None


@pytest.mark.parametrize("step", [3600.0, -3600.0, 365 * 86_400.0, 6.0])
def test_a_step_is_told_once(step):
    doubt = ClockDoubt(NOON, 1000.0)
    assert doubt.stepped(NOON + timedelta(seconds=step + 5), 1005.0) == pytest.approx(step)
    assert doubt.stepped(NOON + timedelta(seconds=step + 10), 1010.0) is None


@virtual
async def test_a_meter_that_loses_a_phase_is_named_at_rest_and_forgiven():
    bench = desk({"hall": 10})
    controller = bench.site.controller

    async def live(factor, seconds, state=None):
        for _ in range(int(seconds / 10)):
            bench.clock.now += 10
            for name in bench.site.farm.records:
                bench.reading(name, hashing() if state is None else replace(hashing(), activity=state))
            bench.site.meter.heard(Watts((35_000.0 + 500.0) * factor))
            await controller.cycle()

    with structlog.testing.capture_logs() as logs:
        await live(1.0, 300)
        await live(0.9, 300)
        assert not controller.meter_doubt.disagrees
        await live(2 / 3, PATIENCE - 10)
        assert not controller.meter_doubt.disagrees
        await live(2 / 3, 60)
        assert controller.meter_doubt.disagrees
        await live(1.0, 10)
        assert not controller.meter_doubt.disagrees
        await live(0.5, 1000, "ramping")  # the rigs count in full and draw less: nothing to compare
        assert not controller.meter_doubt.disagrees
    assert [entry["event"] for entry in logs].count("meter_disagrees") == 1


@virtual
async def test_rigs_out_of_reach_explain_as_much_as_they_may_draw():
    bench = desk({"hall": 10})
    bench.reading("hall-001", hashing())
    bench.site.meter.heard(Watts(4_000.0))
    await bench.cycle()
    views = list(bench.site.controller.views.values())
    assert [view.state for view in views].count(RigState.UNKNOWN) == 9
    doubt = MeterDoubt()
    assert not doubt.disagrees
    for second in range(0, 1000, 10):
        doubt.look(Watts(4_000.0), views, Watts(500.0), float(second), busy=False)
    assert not doubt.disagrees
    for second in range(0, 1000, 10):
        doubt.look(Watts(90_000.0), views, Watts(500.0), float(second), busy=False)
    assert doubt.disagrees
