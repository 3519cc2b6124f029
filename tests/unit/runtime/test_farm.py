"""What is known and believed of rigs: states, ages, power, the time asleep or awake, and the stories they tell."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controller.farm import Farm, Member
from controller.plan import Control, Reason, RigState
from controller.plausible import Suspicion
from shedload.device import Activity, Observation, PoolReading, PowerSource, ReadFailure, RigName, Telemetry
from shedload.nameplate import SLEEP_POWER
from shedload.units import HashesPerSecond, Seconds, Watts
from tests.support.site import HandClock

RIG = RigName("a")
AWAKE = Telemetry(
    activity=Activity.HASHING,
    hashrate=HashesPerSecond(200e12),
    power=Watts(3400.0),
    power_source=PowerSource.REPORTED,
    mode="normal",
    uptime=Seconds(1000.0),
)
ASLEEP = Telemetry(activity=Activity.ASLEEP, power=Watts(30.0), power_source=PowerSource.ESTIMATED, mode="sleep")


class Yard:
    """One S21 and a clock."""

    def __init__(self, model="Antminer S21"):
        self.clock = HandClock()
        self.farm = Farm([Member(RIG, "hall", "f1", Control.AUTO, model)], self.clock, stale_after=45.0)

    def read(self, telemetry, after=10.0):
        self.clock.now += after
        self.farm.observed([Observation(RIG, self.clock.now, self.clock.now - 0.5, telemetry)])

    def fail(self, kind="no_answer", after=10.0):
        self.clock.now += after
        self.farm.observed([Observation(RIG, self.clock.now, self.clock.now, failure=ReadFailure(kind, "why"))])

    @property
    def view(self):
        return self.farm.views({})[0]

    @property
    def record(self):
        return self.farm.records[RIG]


@pytest.fixture
def yard():
    return Yard()


def shares(telemetry, count, difficulty=262_144.0):
    pool = PoolReading(0, "stratum+tcp://p:1", "u", accepted=count, difficulty_accepted=count * difficulty)
    return replace(telemetry, accepted=count, pools=(pool,))


def test_unknown_offline_and_live_are_different_words(yard):
    assert yard.view.state is RigState.UNKNOWN
    yard.fail()
    assert yard.view.state is RigState.OFFLINE
    yard.read(AWAKE)
    assert yard.view.state is RigState.HASHING
    yard.fail()
    assert yard.view.state is RigState.HASHING  # ten seconds old and still fresh
    yard.fail(after=40)
    assert yard.view.state is RigState.OFFLINE
    assert yard.view.telemetry is None
    assert yard.view.age == 50
    assert yard.record.failures == 2
    yard.read(AWAKE)
    assert yard.record.failures == 0


def test_age_is_computed_by_the_reader(yard):
    yard.read(AWAKE)
    yard.clock.now += 45
    assert yard.view.state is RigState.HASHING
    yard.clock.now += 0.1
    assert yard.view.state is RigState.OFFLINE


def test_a_rig_out_of_reach_counts_at_the_higher_of_the_levels_it_may_be_at(yard):
    assert yard.farm.power(RIG)[0] == 3500  # never heard of: as its nameplate says
    yard.read(ASLEEP)
    yard.clock.now += 100
    assert yard.farm.power(RIG)[0] == SLEEP_POWER
    yard.farm.waking(RIG, yard.clock.now)  # a wake is sent, and nothing heard since
    assert yard.farm.power(RIG)[0] == 3500
    yard.read(ASLEEP)
    yard.clock.now += 100
    assert yard.farm.power(RIG)[0] < 100


def test_a_wake_counts_until_a_reading_after_its_outcome(yard):
    yard.read(ASLEEP)
    yard.farm.waking(RIG, yard.clock.now)
    yard.read(ASLEEP)  # a reading in progress when the wake was sent
    yard.farm.waking(RIG, yard.clock.now + 5)  # its outcome
    yard.clock.now += 100
    assert yard.farm.power(RIG)[0] == 3500


def test_ramping_counts_in_full(yard):
    yard.read(replace(AWAKE, activity=Activity.RAMPING, power=Watts(900.0)))
    assert yard.farm.power(RIG) == (3500, PowerSource.ESTIMATED)


def test_reported_power_is_taken_and_learned(yard):
    for _ in range(100):
        yard.read(AWAKE)
    assert yard.farm.power(RIG) == (3400, PowerSource.REPORTED)
    yard.clock.now += 100
    assert yard.farm.power(RIG)[0] == pytest.approx(3400, rel=1e-3)
    assert yard.view.efficiency == pytest.approx(17.0, rel=1e-3)
    assert yard.farm.normal(RIG) == (pytest.approx(3400, rel=1e-3), pytest.approx(200e12, rel=1e-3))


def test_power_that_cannot_be_is_not_believed_nor_learned(yard):
    for watts in (34_000.0, 0.0, -1.0):
        yard.read(replace(AWAKE, power=Watts(watts)))
        assert yard.record.suspicions == {Suspicion.POWER_IMPLAUSIBLE}
        assert yard.farm.power(RIG)[0] == 3500
    assert yard.farm.normal(RIG) is None


def test_no_number_of_a_rig_poisons_a_sum(yard):
    yard.read(replace(AWAKE, hashrate=HashesPerSecond(float("nan")), power=Watts(float("nan"))))
    assert yard.view.telemetry.hashrate is None
    assert yard.farm.power(RIG)[0] == 3500


def test_what_an_earlier_run_measured_is_the_start(yard):
    yard.farm.restore_normal(RIG, 3300.0, 190e12)
    assert yard.view.nominal_power == 3300
    for power, rate in ((float("nan"), 1.0), (-1.0, 1.0), (1.0, 0.0)):
        yard.farm.restore_normal(RIG, power, rate)
    assert yard.view.nominal_power == 3300
    yard.farm.restore_normal(RigName("gone"), 1.0, 1.0)


def test_the_time_of_the_last_change_between_asleep_and_awake(yard):
    yard.read(AWAKE)
    assert yard.view.since == yard.clock.now - 1000  # found so: its uptime tells
    yard.read(ASLEEP)
    fell = yard.clock.now
    yard.read(ASLEEP)
    yard.farm.waking(RIG, yard.clock.now)
    yard.read(ASLEEP)
    assert yard.view.since == fell  # a wake that did nothing changes nothing
    yard.read(AWAKE)
    assert yard.view.since == yard.clock.now


def test_found_asleep_nobody_knows_since_when(yard):
    yard.read(ASLEEP)
    assert yard.view.since is None


def test_the_mode_it_ran_in_is_kept_through_sleep(yard):
    yard.read(replace(AWAKE, mode="low"))
    yard.read(ASLEEP)
    assert yard.view.mode == "sleep"
    assert yard.view.modes[1].command.mode == "low"
    other = Yard()
    other.farm.restore_mode(RIG, "high")
    other.read(ASLEEP)
    assert other.view.modes[1].command.mode == "high"


def test_an_honest_sleep_with_a_restart_is_believed_at_once(yard):
    yard.read(shares(AWAKE, 500))
    assert yard.farm.settled(RIG)
    yard.read(shares(replace(ASLEEP, uptime=Seconds(5.0)), 0))
    assert yard.farm.settled(RIG)
    assert yard.view.state is RigState.ASLEEP


def test_a_sleep_without_counters_is_believed_at_once(yard):
    yard.read(AWAKE)
    yard.read(ASLEEP)
    assert yard.farm.settled(RIG)


def test_a_sleep_with_running_counters_is_on_probation_and_then_believed(yard):
    told = replace(ASLEEP, uptime=Seconds(2000.0))
    yard.read(shares(AWAKE, 500))
    yard.read(shares(told, 507))  # found before it fell asleep
    assert yard.record.suspicions == set()
    assert not yard.farm.settled(RIG)
    for _ in range(7):
        yard.read(shares(told, 507))
    assert yard.farm.settled(RIG)
    assert yard.record.suspicions == set()


def test_a_sleep_that_goes_on_hashing_is_not_and_stays_so(yard):
    told = replace(ASLEEP, uptime=Seconds(2000.0))
    yard.read(shares(AWAKE, 500))
    for minute in range(1, 30):
        yard.read(shares(told, 500 + 2 * minute))
        assert not yard.farm.settled(RIG) or yard.view.state is RigState.HASHING
    assert yard.record.suspicions == {Suspicion.SLEEPING_HASHER}
    assert yard.view.state is RigState.HASHING
    assert yard.view.mode == "normal"
    assert yard.farm.power(RIG)[0] >= 3400
    # It really sleeps at last, without a reset of its counters.
    for _ in range(20):
        yard.read(shares(told, 560))
    assert yard.record.suspicions == set()
    assert yard.farm.settled(RIG)


def test_shares_that_do_not_come_are_missed_until_they_come_again(yard):
    rate = 200e12 / (262_144.0 * 2**32)  # shares in a second
    found, at = 1000.0, 0
    yard.read(shares(AWAKE, int(found)))
    while Suspicion.SHARES_MISSING not in yard.record.suspicions:
        found += 10 * rate * 0.35
        at += 10
        assert at < 1500
        yard.read(shares(replace(AWAKE, uptime=Seconds(2000.0 + at)), int(found)))
    for _ in range(300):
        found += 10 * rate * 0.35
        at += 10
        yard.read(shares(replace(AWAKE, uptime=Seconds(2000.0 + at)), int(found)))
        assert Suspicion.SHARES_MISSING in yard.record.suspicions
    for _ in range(100):
        found += 10 * rate
        at += 10
        yard.read(shares(replace(AWAKE, uptime=Seconds(2000.0 + at)), int(found)))
    assert yard.record.suspicions == set()


def test_a_long_absence_accuses_nobody(yard):
    yard.read(shares(AWAKE, 1000))
    yard.clock.now += 7200
    yard.read(shares(replace(AWAKE, uptime=Seconds(9000.0)), 1001))
    assert yard.record.suspicions == set()


def test_obstacles_and_what_may_be_commanded(yard):
    assert yard.view.obstacle is Reason.UNREACHABLE
    yard.read(AWAKE)
    assert yard.view.commandable
    assert yard.farm.views({RIG: Reason.REFUSING})[0].obstacle is Reason.REFUSING
    yard.farm.set_control("hall", Control.OBSERVE)
    assert yard.view.obstacle is Reason.OBSERVE_ONLY
    assert not yard.view.commandable
    unknown = Yard(model=None)
    unknown.read(Telemetry(activity=Activity.HASHING))
    assert unknown.view.obstacle is Reason.ECONOMICS_UNKNOWN


def test_the_first_pass_is_over_when_everybody_was_tried():
    clock = HandClock()
    farm = Farm([Member(RigName("a")), Member(RigName("b"))], clock, stale_after=45.0)
    assert not farm.complete()
    farm.observed([Observation(RigName("a"), 1.0, 1.0, AWAKE)])
    assert not farm.complete()
    farm.observed([Observation(RigName("b"), 1.0, 1.0, failure=ReadFailure("unreachable", ""))])
    assert farm.complete()


def test_log_hears_of_each_kind_of_failure_once_in_an_hour_and_of_the_recovery(yard):
    with capture_logs() as events:
        for kind in ["garbled", "no_answer"] * 50:
            yard.fail(kind)
        yard.read(AWAKE)
        yard.fail("garbled")
        yard.fail("garbled", after=3600.0)
    told = [(event["event"], event.get("kind")) for event in events]
    assert told == [
        ("rig_unreadable", "garbled"),
        ("rig_unreadable", "no_answer"),
        ("rig_readable", None),
        ("rig_unreadable", "garbled"),
    ]
    assert {event["rig"] for event in events} == {RIG}
