"""The body of a simulated rig: what it draws, hashes and heats, whoever looks and however often."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.models import HIGH, LOW, MODELS, NORMAL, SLEEP
from simulator.relaxation import Relaxation
from simulator.rig import CUT_OFF, Dynamics, Rig, RigState, Setting

MODEL = MODELS["S19 Pro"]


def rig(seed: int = 1, **more) -> Rig:
    return Rig(more.pop("model", MODEL), random.Random(seed), **more)


@given(
    value=st.floats(-100, 5000), target=st.floats(-100, 5000), tau=st.floats(0.5, 500), span=st.floats(0, 2000)
)  # fmt: skip
def test_relaxation_integral_is_the_area_under_its_curve(value, target, tau, span):
    course = Relaxation(10.0, value, target, tau)
    steps = 4000
    area = sum(course.at(10.0 + span * (i + 0.5) / steps) for i in range(steps)) * span / steps
    scale = max(1.0, span * max(abs(value), abs(target)))
    assert course.integral(10.0 + span) == pytest.approx(area, rel=1e-3, abs=1e-3 * scale)


@given(value=st.floats(0, 100), target=st.floats(0, 100), level=st.floats(0, 100))
def test_relaxation_crosses_a_level_where_it_says_or_never(value, target, level):
    course = Relaxation(0.0, value, target, 45.0)
    at = course.crosses(level)
    if at is not None:
        assert course.at(at) == pytest.approx(level, abs=1e-6)
    else:
        assert not min(value, target) + 1e-9 < level < max(value, target) - 1e-9


@pytest.mark.parametrize("name", MODELS)
def test_a_running_rig_is_within_five_percent_of_its_nameplate(name):
    model = MODELS[name]
    reading = rig(model=model).read(30.0)
    assert reading.state is RigState.HASHING
    assert reading.hashrate == pytest.approx(model.hashrate, rel=0.05)
    assert reading.power == pytest.approx(model.power, rel=0.05)
    assert reading.elapsed >= 3600
    assert reading.hashrate_average == pytest.approx(model.hashrate, rel=0.03)


def test_sleep_acts_in_seconds_and_waking_takes_minutes():
    one = rig()
    one.configure(100.0, mode=SLEEP)
    assert one.read(110.0).power < 80
    assert one.read(130.0).power == pytest.approx(30, abs=3)
    assert max(one.read(130.0).fans) <= 1560
    one.configure(200.0, mode=NORMAL)
    assert one.read(215.0).state is RigState.BOOTING
    assert one.read(215.0).hashrate < 1e12
    ramping = one.read(280.0)
    assert ramping.state is RigState.RAMPING
    assert 0.1 * MODEL.hashrate < ramping.hashrate < 0.95 * MODEL.hashrate
    done = one.read(500.0)
    assert done.state is RigState.HASHING
    assert done.hashrate == pytest.approx(MODEL.hashrate, rel=0.05)
    assert done.chip_temperature == pytest.approx(72, abs=5)


def test_power_rises_monotonously_during_the_ramp():
    one = rig()
    one.configure(0.0, mode=SLEEP)
    one.configure(60.0, mode=NORMAL)
    draws = [one._draw.at(t) for t in range(115, 300, 5) if one.read(float(t))]
    assert draws == sorted(draws)


def test_modes_and_levels_move_power_less_or_more_than_hashrate():
    normal, high, low, slow = (rig(setting=s).read(50.0) for s in (
        Setting(), Setting(mode=HIGH), Setting(mode=LOW), Setting(level=80),
    ))  # fmt: skip
    assert high.hashrate > normal.hashrate > low.hashrate > slow.hashrate
    assert high.power / high.hashrate > normal.power / normal.hashrate > low.power / low.hashrate
    assert slow.power / slow.hashrate < normal.power / normal.hashrate
    assert rig(setting=Setting(mode=HIGH), model=MODELS["T21"]).read(9.0).power == pytest.approx(5126, rel=0.05)


def test_too_warm_air_stops_it_with_fans_full_and_cool_air_starts_it_again():
    one = rig()
    one.set_inlet(0.0, 50.0)
    hot = next(r for t in range(0, 600, 5) if (r := one.read(float(t))).state is RigState.OVERHEATED)
    assert hot.chip_temperature == pytest.approx(CUT_OFF, abs=3)
    stopped = one.read(900.0)
    assert stopped.hashrate == pytest.approx(0, abs=1e9)
    one.set_inlet(900.0, 20.0)
    assert one.read(1500.0).state is RigState.HASHING
    assert one.read(1500.0).elapsed < 700


def test_an_s21_stands_45_degrees_and_stops_at_50():
    for inlet, state in ((40.0, RigState.HASHING), (45.0, RigState.HASHING), (50.0, RigState.OVERHEATED)):
        one = rig(model=MODELS["S21"])
        one.set_inlet(0.0, inlet)
        assert {one.read(float(t)).state for t in range(110, 150, 10)} == {state}


def test_counters_advance_with_the_hashrate_and_start_anew_with_the_miner():
    one = rig()
    before, after = one.read(0.0), one.read(3600.0)
    found = (after.shares - before.shares) * 2**32
    assert found == pytest.approx(MODEL.hashrate * 3600, rel=0.02)
    assert after.hardware_errors > before.hardware_errors
    one.restart(3600.0)
    fresh = one.read(3601.0)
    assert fresh.elapsed == pytest.approx(1.0)
    assert fresh.shares < before.shares
    assert one.read(3600.0 + 300).hardware_errors < after.hardware_errors


def test_without_a_pool_it_boots_and_idles():
    one = rig(setting=Setting(has_pool=False), running=False)
    reading = one.read(300.0)
    assert (reading.state, reading.hashrate) == (RigState.IDLE, 0.0)
    assert reading.power == pytest.approx(250, rel=0.02)


def test_dead_chips_cost_hashrate_power_and_shares_at_once():
    one = rig()
    one.degrade(10.0, 0.35)
    reading = one.read(60.0)
    assert reading.hashrate == pytest.approx(0.35 * MODEL.hashrate, rel=0.06)
    assert reading.power == pytest.approx(0.35 * MODEL.power, rel=0.1)
    assert reading.elapsed > 3600  # nothing restarted


def test_energy_is_the_integral_of_power():
    one, other = rig(7), rig(7)
    for each in (one, other):
        each.configure(50.0, mode=SLEEP)
        each.configure(200.0, mode=NORMAL)
    stepped = sum(one._draw.at(t + 0.5) for t in range(200, 900) if one.advance(t + 0.5) is None)
    fresh = rig(7)
    fresh.configure(50.0, mode=SLEEP)
    fresh.configure(200.0, mode=NORMAL)
    assert other.energy(900.0) - fresh.energy(200.0) == pytest.approx(stepped, rel=1e-3)


@settings(max_examples=60)
@given(looks=st.lists(st.floats(0, 2000), max_size=30), seed=st.integers(0, 2**32))
def test_what_it_answers_does_not_depend_on_who_looked_before(looks, seed):
    def story(times):
        one = rig(seed, dynamics=Dynamics(boot=30, ramp=100))
        orders = {100.0: ("configure", {"mode": SLEEP}), 400.0: ("configure", {"mode": LOW}), 900.0: ("inlet", 55.0)}
        for at in sorted({*times, *orders}):
            if at in orders:
                kind, value = orders[at]
                one.configure(at, **value) if kind == "configure" else one.set_inlet(at, value)
            one.read(at)
        return one.read(2000.0), one.energy(2000.0)

    watched, energy = story(looks)
    alone, quiet_energy = story(())
    assert (watched.state, watched.fans, watched.hardware_errors) == (alone.state, alone.fans, alone.hardware_errors)
    assert watched.power == pytest.approx(alone.power)
    assert watched.shares == pytest.approx(alone.shares)
    assert watched.chip_temperature == pytest.approx(alone.chip_temperature)
    assert energy == pytest.approx(quiet_energy)


def test_the_same_seed_gives_the_same_rig_and_another_one_another():
    assert rig(5).read(77.0) == rig(5).read(77.0)
    assert rig(5).read(77.0) != rig(6).read(77.0)


def test_noise_stays_within_its_bounds_and_changes():
    one = rig()
    values = {one.noise(1, float(t)) for t in range(0, 5000, 5)}
    assert len(values) > 900
    assert all(-0.015 <= value <= 0.015 for value in values)
    assert abs(sum(values) / len(values)) < 0.001
