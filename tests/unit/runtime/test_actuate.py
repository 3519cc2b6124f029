"""Plans into commands: intent first, lowering before raising, nothing that is not allowed any more."""

from dataclasses import replace

import pytest

from controller.actuate import ActuateSettings, Actuator
from controller.farm import Farm, Member
from controller.host import Conclusion, Outcome
from controller.plan import Control, Decision, Plan, Reason, Step
from controller.track import CommandState, TrackSettings
from shedload.device import Activity, Observation, ReadFailure, Receipt, RigName, Telemetry
from shedload.units import Watts
from tests.support.memory_store import MemoryStore
from tests.support.site import NOON, HandClock, SilentHost, hashing
from tests.support.virtual import virtual

ASLEEP = Telemetry(activity=Activity.ASLEEP, mode="sleep")


class Refreshing(SilentHost):
    def __init__(self):
        super().__init__()
        self.refreshed = []

    def refresh(self, rig):
        self.refreshed.append(rig)


class Office:
    """A farm of S21s, an actuator over it, and a host that keeps what it is told."""

    def __init__(self, rigs=3, proven=True, control=Control.AUTO, **settings):
        self.clock = HandClock()
        self.names = [RigName(f"r{number}") for number in range(rigs)]
        members = [Member(name, "hall", "", control, "Antminer S21") for name in self.names]
        self.farm = Farm(members, self.clock, stale_after=45.0)
        self.store = MemoryStore(self.clock)
        settings = {"track": TrackSettings(), **settings}
        self.actuator = Actuator(
            self.farm, self.store, self.clock, ActuateSettings(**settings), proven=["hall"] if proven else []
        )
        self.host = Refreshing()
        self.actuator.attach(self.host)
        self.allowed = True

    def see(self, *telemetries, after=1.0):
        self.clock.now += after
        batch = [
            Observation(name, self.clock.now, self.clock.now, telemetry)
            for name, telemetry in zip(self.names, telemetries, strict=False)
        ]
        self.farm.observed(batch)
        self.actuator.observed(batch)

    async def carry_out(self, modes, reason=Reason.PRICE_ABOVE_BREAK_EVEN, limit_reason=None):
        views = {view.name: view for view in self.farm.views(self.actuator.obstacles())}
        decisions = {
            name: Decision(name, mode, Watts(0.0), (Step("test", mode, reason),))
            for name, mode in zip(self.names, modes, strict=False)
        }
        plan = Plan(NOON, decisions, Watts(0.0), limit_reason=limit_reason)
        return await self.actuator.carry_out(plan, views, allows=lambda _move: self.allowed)

    def conclude(self, place, conclusion=Conclusion.ANSWERED):
        instruction = self.host.instructions[place]
        receipt = Receipt(instruction.command.verb, True) if conclusion is Conclusion.ANSWERED else None
        self.clock.now += 1
        self.actuator.concluded(Outcome(instruction.number, instruction.rig, conclusion, self.clock.now, receipt))

    async def states(self):
        await self.actuator.scribe.flush()
        return [record.state.value for record in self.store.records.values()]


@virtual
async def test_the_intent_is_on_disk_when_the_host_hears_of_it():
    office = Office(rigs=1)
    office.see(hashing())
    heard = []
    office.host.instruct = lambda instruction: heard.append((instruction, dict(office.store.records)))
    assert await office.carry_out(["sleep"]) == 1
    instruction, records = heard[0]
    record = records[instruction.number]
    assert (record.rig, record.verb, record.mode, record.mode_before) == ("r0", "sleep", "sleep", "normal")
    assert record.reason == "price_above_break_even"
    assert instruction.lowering
    assert office.store.fact("mode_before_sleep/r0") == "normal"


@virtual
async def test_a_whole_life_of_a_command():
    office = Office(rigs=1)
    office.see(hashing())
    await office.carry_out(["sleep"])
    assert await office.carry_out(["sleep"]) == 0  # on its way
    assert office.actuator.pending_lowering() == {"r0": "sleep"}
    office.conclude(0)
    assert await office.states() == ["sent"]
    office.see(ASLEEP)
    assert await office.states() == ["confirmed"]
    assert office.actuator.pending_lowering() == {}
    assert not office.actuator._verbs
    counts = {state.value: count for (_, state), count in office.actuator.states.items()}
    assert counts == {"planned": 1, "sent": 1, "confirmed": 1}


@virtual
async def test_a_reading_that_failed_confirms_nothing():
    office = Office(rigs=1)
    office.see(ASLEEP)
    await office.carry_out(["normal"])
    await office.carry_out(["sleep"])  # countermanded: the rig shows what is wanted, from before
    office.conclude(1)
    office.clock.now += 1
    office.actuator.observed(
        [Observation(office.names[0], office.clock.now, office.clock.now, failure=ReadFailure("no_answer", ""))]
    )
    assert office.actuator.tracks["r0"].in_flight == "sleep"
    office.see(ASLEEP)
    assert office.actuator.tracks["r0"].in_flight is None


@virtual
async def test_lowering_goes_first_and_a_cycle_is_bounded():
    office = Office(rigs=5, per_cycle=3)
    office.see(ASLEEP, ASLEEP, hashing(), hashing(), hashing())
    assert await office.carry_out(["normal", "normal", "sleep", "sleep", "sleep"]) == 3
    assert [instruction.rig for instruction in office.host.instructions] == ["r2", "r3", "r4"]


@virtual
async def test_a_raise_that_is_no_longer_allowed_is_written_off():
    office = Office(rigs=2)
    office.see(ASLEEP, hashing())
    office.allowed = False
    assert await office.carry_out(["normal", "sleep"]) == 1
    assert [instruction.rig for instruction in office.host.instructions] == ["r1"]
    assert sorted(await office.states()) == ["planned", "superseded"]


@virtual
async def test_a_wake_waits_until_the_sleep_on_its_way_has_arrived():
    office = Office(rigs=1)
    office.see(hashing())
    await office.carry_out(["sleep"])
    assert await office.carry_out(["normal"]) == 0  # though the rig still shows that it is awake
    office.conclude(0)
    assert await office.carry_out(["normal"]) == 0
    office.see(ASLEEP)
    assert await office.carry_out(["normal"]) == 1
    assert not office.host.instructions[-1].lowering


@virtual
async def test_a_sleep_does_not_wait_for_a_wake_on_its_way():
    office = Office(rigs=1)
    office.see(ASLEEP)
    await office.carry_out(["normal"])
    assert await office.carry_out(["sleep"]) == 1  # though the rig still shows that it sleeps
    assert office.host.instructions[-1].lowering


@virtual
async def test_a_group_that_was_switched_while_the_disk_wrote_is_not_commanded():
    office = Office(rigs=2)
    office.see(hashing(), hashing())
    write = office.store.intend

    async def slow(intents):
        numbers = await write(intents)
        office.farm.set_control("hall", Control.OBSERVE)
        return numbers

    office.store.intend = slow
    assert await office.carry_out(["sleep", "sleep"]) == 0
    assert office.host.instructions == []
    assert await office.states() == ["superseded", "superseded"]


@virtual
async def test_observed_groups_and_observing_runs_get_nothing():
    for office in (Office(control=Control.OBSERVE), Office(observe=True)):
        office.see(hashing(), hashing(), hashing())
        assert await office.carry_out(["sleep"] * 3, Reason.ORDER) == 0
        assert office.store.records == {}


@virtual
async def test_without_a_disk_only_what_lowers_goes_out_and_leaves_nothing_behind():
    office = Office(rigs=2)
    office.see(hashing(), ASLEEP)
    office.store.fail()
    assert await office.carry_out(["sleep", "normal"]) == 1
    assert office.actuator.journal_failing
    assert office.host.instructions[0].number < 0
    office.conclude(0)
    office.see(ASLEEP)
    assert not office.actuator._verbs
    assert office.actuator.tracks["r0"].confirmed == "sleep"
    office.store.heal()
    await office.actuator.scribe.probe()
    assert await office.states() == []  # what never was on disk is not settled there
    assert await office.carry_out(["sleep", "normal"]) == 1


@virtual
async def test_the_canary_counts_within_one_cycle():
    office = Office(rigs=30, proven=False, canary_rigs=10, canary_percent=10)
    office.see(*[hashing()] * 30)
    assert await office.carry_out(["sleep"] * 30) == 3
    assert await office.carry_out(["sleep"] * 30) == 0
    for place in range(3):
        office.conclude(place)
    office.see(*[ASLEEP] * 3)
    assert await office.carry_out(["sleep"] * 30) == 27
    await office.actuator.scribe.flush()
    assert office.store.proven == {"hall"}


@virtual
async def test_what_must_be_needs_no_canary_and_proves_none():
    office = Office(rigs=30, proven=False, canary_percent=10)
    office.see(*[hashing()] * 30)
    assert await office.carry_out(["sleep"] * 30, Reason.SITE_CAP) == 30
    for place in range(30):
        office.conclude(place)
    office.see(*[ASLEEP] * 30)
    await office.actuator.scribe.flush()
    assert office.store.proven == frozenset()


@virtual
async def test_a_canary_that_the_disk_held_back_is_free_again():
    office = Office(rigs=30, proven=False, canary_percent=4)
    office.see(*[ASLEEP] * 30)
    office.store.fail()
    assert await office.carry_out(["normal"] * 30) == 0
    assert office.actuator.canaries["hall"].trying == set()
    office.store.heal()
    assert await office.carry_out(["normal"] * 30) == 1


@virtual
async def test_a_canary_that_was_not_reached_makes_room():
    office = Office(rigs=30, proven=False, canary_percent=4)
    office.see(*[hashing()] * 30)
    await office.carry_out(["sleep"] * 30)
    office.conclude(0, Conclusion.FAILED)
    office.clock.now += 100
    assert office.actuator.canaries["hall"].trying == set()


@virtual
async def test_refusals_are_named_once_and_a_late_obedience_too():
    import structlog

    office = Office(rigs=1, track=TrackSettings(attempts=1))
    office.see(hashing())
    with structlog.testing.capture_logs() as logs:
        await office.carry_out(["sleep"])
        office.conclude(0)
        office.see(hashing())
        office.clock.now += 200
        office.see(hashing())
        await office.carry_out(["sleep"])
        await office.carry_out(["sleep"])
        assert office.actuator.obstacles() == {"r0": Reason.REFUSING}
        office.see(ASLEEP)
        assert office.actuator.obstacles() == {}
    named = [entry["event"] for entry in logs]
    assert named.count("rig_refusing") == 1
    assert named.count("rig_obeys_again") == 1


@virtual
async def test_readings_are_hurried_only_where_others_wait_for_the_power():
    office = Office(rigs=2)
    office.see(hashing(), ASLEEP)
    await office.carry_out(["sleep", "normal"])
    office.conclude(0)
    office.conclude(1)
    await office.carry_out(["sleep", "normal"])
    assert office.host.refreshed == ["r0"]


@virtual
async def test_a_wake_whose_outcome_is_unknown_counts_as_power():
    office = Office(rigs=1)
    office.see(ASLEEP)
    await office.carry_out(["normal"])
    office.see(ASLEEP, after=0.5)  # the reading that was in progress
    office.conclude(0, Conclusion.UNKNOWN)
    office.clock.now += 100  # and then silence
    assert office.farm.power(RigName("r0"))[0] == 3500


@virtual
async def test_commands_of_an_earlier_run_end_with_the_first_reading():
    office = Office(rigs=2)
    assert office.actuator.inherit(71, RigName("r0"), "sleep", "sleep")
    assert not office.actuator.inherit(72, RigName("gone"), "sleep", "sleep")
    office.see(ASLEEP, hashing())
    assert not office.actuator._verbs
    assert await office.carry_out(["sleep", "normal"]) == 0


@pytest.mark.parametrize("order", [True, False])
def test_contested_rigs_are_left_alone_but_for_an_order(order):
    @virtual
    async def body():
        office = Office(rigs=1, track=TrackSettings(contest_count=1))
        office.see(hashing())
        await office.carry_out(["sleep"])
        office.conclude(0)
        office.see(ASLEEP)
        office.see(hashing())
        limit = Reason.ORDER if order else Reason.SITE_CAP
        sent = await office.carry_out(["sleep"], Reason.PRICE_ABOVE_BREAK_EVEN, limit)
        assert sent == (1 if order else 0)
        assert office.actuator.obstacles() == {"r0": Reason.CONTESTED}

    body()


@virtual
async def test_the_level_that_a_rig_shows_is_what_counts():
    office = Office(rigs=1)
    office.see(replace(hashing(), mode="low"))
    assert await office.carry_out(["low"]) == 0
    assert await office.carry_out(["high"]) == 0  # no such mode on its curve
    states = {state for _, state in office.actuator.states}
    assert CommandState.PLANNED not in states
