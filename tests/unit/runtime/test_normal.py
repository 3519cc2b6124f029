"""What rigs draw and hash: measured, as their kin, or as on the plate; and that comparing them is fair."""

import random

import pytest

from controller.normal import KIN_RANGE, Normal, Normals
from shedload.device import PowerSource, Telemetry
from shedload.nameplate import nameplate
from shedload.units import HashesPerSecond, Watts

S21 = nameplate("Antminer S21")
S19 = nameplate("Antminer S19j Pro")


def told(power, rate, source=PowerSource.REPORTED):
    return Telemetry(hashrate=HashesPerSecond(rate), power=Watts(power) if power else None, power_source=source)


def test_before_any_reading_the_plate_speaks():
    normals, rig = Normals(), Normal(S21)
    assert (normals.power(rig), normals.rate(rig), normals.efficiency(rig)) == (3500, 200e12, 17.5)
    assert normals.measured(rig) is None
    nobody = Normal(None)
    assert (normals.power(nobody), normals.rate(nobody), normals.efficiency(nobody)) == (None, None, None)


def test_one_odd_reading_does_not_stick():
    normals, rig = Normals(), Normal(S21)
    normals.learn(rig, told(3500, 180e12))
    for _ in range(9):
        normals.learn(rig, told(3500, 200e12))
    assert normals.rate(rig) == pytest.approx(198e12)  # the first ten weigh alike
    for _ in range(30):
        normals.learn(rig, told(3500, 200e12))
    assert normals.rate(rig) == pytest.approx(200e12, rel=1e-3)


def test_a_rig_that_was_never_measured_is_taken_for_one_of_its_kin():
    normals = Normals()
    chance = random.Random(1)
    for _ in range(20):
        rig, bias = Normal(S21), chance.uniform(1.01, 1.07)
        for _ in range(20):
            normals.learn(rig, told(3500 * bias, 198e12))
    other = Normal(S21)
    assert normals.power(other) == pytest.approx(3500 * 1.04, rel=0.02)
    assert normals.efficiency(other) == pytest.approx(17.5 * 1.04 / 0.99, rel=0.02)
    assert normals.efficiency(Normal(S19)) == S19.efficiency  # another model is no kin


def test_rigs_that_tell_no_power_of_their_own_do_not_bend_the_model():
    normals, rig = Normals(), Normal(S21)
    for _ in range(50):
        normals.learn(rig, told(None, 180e12))
        normals.learn(rig, told(3150, 180e12, PowerSource.ESTIMATED))
    assert normals.rate(rig) == pytest.approx(180e12)
    assert normals.power(rig) == 3500
    assert normals.efficiency(rig) == normals.efficiency(Normal(S21)) == 17.5


def test_a_model_is_never_bent_far():
    normals, rig = Normals(), Normal(S21)
    for _ in range(500):
        normals.learn(rig, told(6000, 50e12))
    low, high = KIN_RANGE
    assert normals.power(Normal(S21)) == pytest.approx(3500 * high)
    assert normals.rate(Normal(S21)) == pytest.approx(200e12 * low)


def test_what_was_measured_before_weighs_like_ten_readings():
    normals, rig = Normals(), Normal(S21)
    normals.restore(rig, 3300.0, 190e12)
    normals.learn(rig, told(3400, 190e12))
    assert normals.power(rig) == pytest.approx(3310)
    assert normals.power(Normal(S21)) == pytest.approx(3300, rel=0.01)
