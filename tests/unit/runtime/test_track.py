"""The fate of one rig's commands, without a clock."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.host import Conclusion
from controller.plan import Reason
from controller.track import (
    ARRIVES_WITHIN,
    CONTEST_REST,
    FIRM_PAUSE,
    REASSERT_PAUSE,
    RETRY_PAUSE,
    CommandState,
    Track,
    TrackSettings,
)

SETTINGS = TrackSettings(attempts=3, refusing_pause=3600.0, contest_count=2, contest_window=1800.0)
PATIENCE = 120.0
ENDS = {
    CommandState.CONFIRMED,
    CommandState.CONTRADICTED,
    CommandState.EXPIRED,
    CommandState.REFUSED,
    CommandState.FAILED,
    CommandState.SUPERSEDED,
}


class Story:
    """A track, a clock of one's own, and the numbers of commands."""

    def __init__(self):
        self.track = Track(SETTINGS)
        self.now = 1000.0
        self.number = 0
        self.verdicts = []

    def ready(self, mode, observed, firm=False):
        return self.track.ready(mode, observed, self.now, self.now, firm=firm)

    def send(self, mode):
        self.number += 1
        self._note(self.track.sent(self.number, mode, PATIENCE))
        return self.number

    def conclude(self, conclusion=Conclusion.ANSWERED, number=None):
        self._note(self.track.concluded(number or self.number, conclusion, "", self.now))

    def see(self, mode):
        self.now += 1
        self._note(self.track.observed(mode, self.now))

    def overdue(self, observed, seen=None):
        self._note(self.track.overdue(observed, self.now if seen is None else seen, self.now))

    def obeyed(self, mode):
        self.send(mode)
        self.conclude()
        self.see(mode)
        assert self.verdicts[-1].state is CommandState.CONFIRMED

    def _note(self, verdict):
        if verdict is not None:
            self.verdicts.append(verdict)

    def states(self):
        return [verdict.state.value for verdict in self.verdicts]


@pytest.fixture
def story():
    return Story()


def test_nothing_is_sent_to_a_rig_that_is_as_wanted_or_out_of_reach(story):
    assert not story.ready("sleep", "sleep")
    assert not story.ready("sleep", None)
    assert story.ready("sleep", "normal")


def test_only_a_reading_after_the_answer_confirms(story):
    story.send("sleep")
    story.see("sleep")  # before the driver is done
    assert story.track.in_flight == "sleep"
    answered = story.now
    story.conclude()
    assert story.track.observed("sleep", answered) is None  # taken in the moment of the answer
    story.see("normal")
    story.see(None)
    assert story.track.in_flight == "sleep"
    story.see("sleep")
    assert story.states() == ["sent", "confirmed"]
    assert story.track.confirmed == "sleep"
    assert story.track.in_flight is None


def test_a_command_without_an_answer_is_read_back(story):
    story.send("sleep")
    story.conclude(Conclusion.UNKNOWN)
    story.see("sleep")
    assert story.states() == ["unknown", "confirmed"]


def test_three_contradictions_make_it_refusing(story):
    for attempt in range(3):
        assert story.ready("sleep", "normal")
        story.send("sleep")
        story.conclude()
        story.see("normal")
        story.now += PATIENCE
        story.overdue("normal")
        assert story.track.refusing is (attempt == 2)
        assert not story.ready("sleep", "normal")  # a pause before the next attempt
        story.now += RETRY_PAUSE * 2**attempt
    assert story.states() == ["sent", "contradicted"] * 3
    assert story.track.obstacle is Reason.REFUSING
    assert "still normal" in story.track.detail
    assert not story.ready("sleep", "normal")
    story.now += 3600
    assert story.ready("sleep", "normal")


def test_one_refusal_is_enough(story):
    story.send("sleep")
    story.conclude(Conclusion.REFUSED)
    assert story.track.refusing
    assert story.states() == ["refused"]


def test_a_demand_asks_a_refusing_rig_sooner_but_not_at_once(story):
    story.send("sleep")
    story.conclude(Conclusion.REFUSED)
    assert not story.ready("sleep", "normal", firm=True)
    story.now += FIRM_PAUSE
    assert not story.ready("sleep", "normal")
    assert story.ready("sleep", "normal", firm=True)


def test_a_rig_that_was_not_reached_is_no_refuser(story):
    for _ in range(10):
        story.send("sleep")
        story.conclude(Conclusion.FAILED)
        assert not story.ready("sleep", "normal")
        story.now += RETRY_PAUSE
        assert story.ready("sleep", "normal")
    assert not story.track.refusing


def test_a_rig_that_obeys_late_is_forgiven(story):
    story.send("sleep")
    story.conclude()
    for _ in range(3):
        story.now += PATIENCE
        story.overdue("normal")
        story.now += 100
        if not story.track.refusing:
            story.send("sleep")
            story.conclude()
            story.see("normal")
    # The first had no reading since, the others contradicted it: three misses.
    assert story.track.refusing
    story.see("sleep")
    assert not story.track.refusing
    assert story.track.confirmed == "sleep"


def test_attempts_begin_anew_with_another_wish(story):
    for mode in ("sleep", "normal", "sleep", "normal"):
        story.send(mode)
        story.conclude()
        story.see("low")
        story.now += PATIENCE
        story.overdue("low")
        story.now += 3600
    assert not story.track.refusing


def test_waiting_ends_only_after_the_answer(story):
    story.send("sleep")
    story.now += 10 * PATIENCE  # queued behind others, then a slow board
    story.overdue("normal")
    assert story.verdicts == []
    story.conclude()
    story.overdue("normal", seen=story.now - 1)
    assert story.states() == ["sent"]
    story.now += PATIENCE
    story.overdue("normal", seen=story.now - PATIENCE - 1)
    assert story.states() == ["sent", "expired"]


def test_a_mode_that_is_shown_to_the_end_counts(story):
    # A sleep on probation: nothing came up against it while we waited.
    story.send("sleep")
    story.conclude()
    story.now += PATIENCE
    story.overdue("sleep")
    assert story.states() == ["sent", "confirmed"]


def test_a_command_on_its_way_is_countermanded_even_before_it_shows(story):
    story.send("normal")
    assert story.ready("sleep", "sleep")
    assert not story.ready("normal", "sleep")
    story.send("sleep")
    story.conclude(Conclusion.SUPERSEDED, number=1)
    assert story.states() == ["superseded"]
    assert story.track.in_flight == "sleep"


def test_an_answered_command_is_superseded_by_the_next(story):
    story.send("normal")
    story.conclude()
    story.send("sleep")
    assert [(verdict.number, verdict.state.value) for verdict in story.verdicts] == [(1, "sent"), (1, "superseded")]


def test_a_late_answer_to_a_superseded_command_ends_it(story):
    story.send("normal")
    story.send("sleep")  # the write of the first has begun and goes on
    story.conclude(Conclusion.ANSWERED, number=1)
    assert [(verdict.number, verdict.state.value) for verdict in story.verdicts] == [(1, "superseded")]
    assert story.track.in_flight == "sleep"
    assert not story.track.awaiting


def undone(story, times, every=300.0):
    for _ in range(times):
        story.now += every
        story.ready("sleep", "normal")
        if not story.track.contested:
            story.obeyed("sleep")


def test_undone_twice_in_half_an_hour_is_contested(story):
    story.obeyed("sleep")
    undone(story, 2)
    assert story.track.contested
    assert story.track.obstacle is Reason.CONTESTED
    assert "2 times" in story.track.detail
    story.now += 600
    assert not story.ready("sleep", "normal")
    assert story.ready("sleep", "normal", firm=True)


def test_undone_now_and_then_is_not_contested(story):
    story.obeyed("sleep")
    undone(story, 10, every=1900.0)
    assert not story.track.contested


def test_under_an_order_we_assert_ourselves_with_pauses(story):
    story.obeyed("sleep")
    undone(story, 2)
    assert story.ready("sleep", "normal", firm=True)
    story.obeyed("sleep")
    assert not story.ready("sleep", "normal", firm=True)  # undone again: not at once
    story.now += REASSERT_PAUSE
    assert story.ready("sleep", "normal", firm=True)
    assert story.track.contested


def test_a_contested_rig_is_tried_again_after_a_rest(story):
    story.obeyed("sleep")
    undone(story, 2)
    story.now += CONTEST_REST + 1
    assert story.ready("sleep", "normal")
    assert not story.track.contested


def test_peace_forgets_everything(story):
    story.obeyed("sleep")
    undone(story, 2)
    story.track.make_peace()
    assert story.track.obstacle is None
    assert story.ready("sleep", "normal")


def test_our_own_change_is_no_undoing(story):
    for mode in ("sleep", "normal") * 10:
        assert story.ready(mode, "normal" if mode == "sleep" else "sleep")
        story.obeyed(mode)
    assert not story.track.contested


def test_a_command_of_an_earlier_run_is_settled_by_readings(story):
    story.track.inherit(77, "sleep", story.now, PATIENCE)
    assert story.track.in_flight == "sleep"
    assert not story.ready("sleep", "normal")
    story.see("sleep")
    assert [(verdict.number, verdict.state.value) for verdict in story.verdicts] == [(77, "confirmed")]


def test_a_command_of_an_earlier_run_that_was_lost_is_sent_again(story):
    story.track.inherit(77, "sleep", story.now, PATIENCE)
    story.see("normal")
    story.now += PATIENCE
    story.overdue("normal")
    assert [(verdict.number, verdict.state.value) for verdict in story.verdicts] == [(77, "contradicted")]
    story.now += RETRY_PAUSE
    assert story.ready("sleep", "normal")


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order, every command ends once and the track contradicts itself nowhere."""

    def __init__(self):
        super().__init__()
        self.story = Story()
        self.mode = "normal"
        self.with_host = {}

    @rule(seconds=st.sampled_from([1.0, 30.0, 121.0, 1000.0, 4000.0]))
    def time_passes(self, seconds):
        self.story.now += seconds

    @rule(mode=st.sampled_from(["sleep", "normal", "low"]), firm=st.booleans())
    def cycle(self, mode, firm):
        self.story.overdue(self.mode)
        if self.story.ready(mode, self.mode, firm):
            for number, waits in list(self.with_host.items()):
                if waits == "pending":  # the lane keeps one that waits
                    del self.with_host[number]
                    self.story.conclude(Conclusion.SUPERSEDED, number)
            self.with_host[self.story.send(mode)] = "pending"

    @precondition(lambda self: self.with_host)
    @rule(conclusion=st.sampled_from([c for c in Conclusion if c is not Conclusion.SUPERSEDED]), obeys=st.booleans())
    def host_is_done(self, conclusion, obeys):
        number = min(self.with_host)
        del self.with_host[number]
        if obeys and self.story.track.in_flight is not None:
            self.mode = self.story.track.in_flight
        self.story.conclude(conclusion, number)

    @rule(mode=st.sampled_from(["sleep", "normal", None]))
    def reading(self, mode):
        self.mode = mode or self.mode
        self.story.see(mode and self.mode)

    @rule()
    def peace(self):
        self.story.track.make_peace()

    @invariant()
    def every_command_ends_once(self):
        ended = [verdict.number for verdict in self.story.verdicts if verdict.state in ENDS]
        assert len(ended) == len(set(ended)), self.story.verdicts
        open_numbers = set(range(1, self.story.number + 1)) - set(ended)
        assert len(open_numbers - set(self.with_host)) <= 1  # the one that waits for its reading
        if self.story.track.in_flight is None:
            assert open_numbers <= set(self.with_host)


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_order = AnyOrder.TestCase


def test_a_lowering_is_counted_on_until_it_should_have_shown(story):
    assert not story.track.arriving(story.now)
    story.send("sleep")
    story.now += 60  # queued, or a slow board: it has not been answered
    assert story.track.arriving(story.now)
    story.conclude()
    assert story.track.arriving(story.now + ARRIVES_WITHIN)
    assert not story.track.arriving(story.now + ARRIVES_WITHIN + 1)


def test_a_second_try_is_not_counted_on(story):
    story.send("sleep")
    story.conclude()
    story.now += PATIENCE
    story.overdue("normal")
    story.now += RETRY_PAUSE
    story.send("sleep")
    assert story.track.in_flight == "sleep"
    assert not story.track.arriving(story.now)
