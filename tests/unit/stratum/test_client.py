"""The miner's end against a well-behaved pool: handshake, jobs, shares, deadlines."""

import pytest

from shedload.stratum import client as module
from shedload.stratum.client import StratumClient
from shedload.stratum.events import (
    DifficultyChanged,
    ExtranonceChanged,
    Failed,
    FailureKind,
    LossCause,
    Message,
    NewJob,
    Ready,
    SubmitLost,
    SubmitResult,
    VersionMaskChanged,
)
from shedload.stratum.jobs import JobState
from shedload.stratum.messages import RejectReason
from tests.support.stratum import (
    MASK,
    handshake_replies,
    handshaken,
    line,
    notification,
    notify_line,
    sent,
    session_client,
    solutions,
)

SHARE = solutions()[0].share


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def working(**options):
    """A client with one job."""
    client = handshaken(**options)
    client.receive_data(notify_line(), 0.0)
    (event,) = client.events_received()
    return client, event.job


# --- handshake ---


def test_the_handshake_is_pipelined_with_ids_1_2_3():
    client = session_client(password="d=1000", user_agent="shedload/9")
    first, second, third = sent(client)
    assert first["method"] == "mining.configure"
    assert first["params"] == [
        ["version-rolling", "subscribe-extranonce"],
        {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2},
    ]
    assert second == {"id": 2, "method": "mining.subscribe", "params": ["shedload/9"]}
    assert third == {"id": 3, "method": "mining.authorize", "params": ["rig.1", "d=1000"]}


def test_the_handshake_can_be_one_step_at_a_time():
    client = session_client(pipelined=False)
    steps = []
    for reply in handshake_replies().splitlines(keepends=True):
        steps += [message["method"] for message in sent(client)]
        client.receive_data(reply, 0.0)
    assert steps == ["mining.configure", "mining.subscribe", "mining.authorize"]
    assert client.ready


def test_ready_says_what_was_agreed():
    client = session_client()
    client.receive_data(handshake_replies(), 0.0)
    assert client.events_received() == [
        VersionMaskChanged(MASK),
        Ready(bytes.fromhex("0badcafe"), 4, "cafe01", MASK, resumed=False),
    ]


def test_hardware_without_rolling_asks_for_nothing_and_submits_five_parameters():
    client = session_client(version_mask=0)
    assert [message["method"] for message in sent(client)] == ["mining.subscribe", "mining.authorize"]
    client.receive_data(line(id=1, result=[[], "0badcafe", 4]) + line(id=2, result=True) + notify_line(), 0.0)
    job = only(client.events_received(), NewJob)[0].job
    client.submit(job, SHARE, 0.0)
    assert len(sent(client)[0]["params"]) == 5


@pytest.mark.parametrize("pipelined", [True, False])
def test_without_a_configure_answer_it_goes_on_after_three_seconds(pipelined):
    client = session_client(pipelined=pipelined)
    assert client.next_deadline() == 3.0
    if not pipelined:
        client.tick(3.0)
    client.receive_data(line(id=2, result=[[], "0badcafe", 4]), 1.0)
    client.receive_data(line(id=3, result=True), 1.0)
    client.tick(2.9)
    assert client.ready is not pipelined
    client.tick(3.0)
    assert client.ready
    assert client.version_mask == 0
    assert not client.rolling


def test_a_late_configure_answer_still_counts():
    client = session_client()
    client.receive_data(line(id=2, result=[[], "0badcafe", 4]) + line(id=3, result=True), 1.0)
    client.tick(3.0)
    client.events_received()
    client.receive_data(line(id=1, result={"version-rolling": True, "version-rolling.mask": "1fffe000"}), 4.0)
    assert client.events_received() == [VersionMaskChanged(MASK)]
    assert client.rolling


@pytest.mark.parametrize("reply", [{"result": None, "error": [-3, "no", None]}, {"result": None}, {"result": True}])
def test_a_refused_configure_means_no_rolling(reply):
    client = session_client()
    client.receive_data(line(id=1, **reply), 0.0)
    client.receive_data(line(id=2, result=[[], "0badcafe", 4]) + line(id=3, result=True), 0.0)
    assert client.ready
    assert not client.rolling


def test_an_odd_mask_is_cut_to_what_we_asked_and_can_do():
    client = session_client(version_mask=0x00C00000)
    client.receive_data(handshake_replies(mask="5fffe000"), 0.0)
    assert client.version_mask == 0x00C00000


def test_no_answer_to_subscribe_or_authorize_fails_after_thirty_seconds():
    for replies, missing in ((b"", "subscribe"), (line(id=2, result=[[], "00", 4]), "authorize")):
        client = session_client()
        client.receive_data(replies, 0.0)
        client.tick(29.9)
        assert client.failure is None
        client.tick(30.0)
        assert client.failure is not None
        assert client.failure.kind is FailureKind.HANDSHAKE_TIMEOUT
        assert missing in client.failure.reason


def test_a_refused_worker_is_named_without_the_password():
    client = session_client(password="hunter2")
    client.receive_data(line(id=3, result=False, error=[24, "bad password hunter2", None]), 0.0)
    assert client.failure == Failed(FailureKind.UNAUTHORIZED, "bad password ***")


def test_the_password_is_in_no_repr_and_no_error():
    client = session_client(password="hunter2")
    assert "hunter2" not in repr(client)
    with pytest.raises(ValueError) as caught:
        StratumClient(worker="w", password="hunter2" * 200)
    assert "hunter2" not in str(caught.value)


def test_a_refused_subscribe_fails():
    client = session_client()
    client.receive_data(line(id=2, result=None, error=[20, "full", None]), 0.0)
    assert client.failure == Failed(FailureKind.SUBSCRIBE_REFUSED, "full")


def test_resuming_tells_whether_the_extranonce_is_the_same():
    for first, resumed in (("0badcafe", True), ("deadbeef", False)):
        client = session_client(session_id="cafe01", previous_extranonce1=bytes.fromhex("0badcafe"))
        assert sent(client)[1]["params"] == ["shedload/0.1", "cafe01"]
        client.receive_data(handshake_replies(first=first), 0.0)
        assert only(client.events_received(), Ready)[0].resumed is resumed


def test_a_pool_that_refuses_a_session_is_asked_once_more_without():
    client = session_client(session_id="old")
    sent(client)
    client.receive_data(line(id=2, result=None, error=[20, "no session", None]), 0.0)
    assert sent(client) == [{"id": 4, "method": "mining.subscribe", "params": []}]
    client.receive_data(line(id=4, result=None, error=[20, "no", None]), 0.0)
    assert client.failure.kind is FailureKind.SUBSCRIBE_REFUSED


def test_suggestion_is_a_request_with_an_integer_and_any_answer_will_do():
    client = session_client(suggest_difficulty=1024.7)
    sent(client)
    client.receive_data(handshake_replies(), 0.0)
    assert sent(client) == [{"id": 4, "method": "mining.suggest_difficulty", "params": [1024]}]
    client.receive_data(line(id=4, result=None, error=[-3, "Method not found", None]), 0.0)
    client.receive_data(line(id=4, method="mining.set_difficulty", params=[512]), 0.0)
    assert client.failure is None
    assert client.difficulty == 512
    assert sent(client) == []


def test_extranonce_subscribe_is_asked_where_configure_did_not_grant_it():
    client = session_client(extranonce_subscribe=True)
    sent(client)
    client.receive_data(handshake_replies(), 0.0)
    assert sent(client)[0]["method"] == "mining.extranonce.subscribe"
    granted = session_client(extranonce_subscribe=True)
    granted.receive_data(line(id=1, result={"subscribe-extranonce": True}), 0.0)
    granted.receive_data(handshake_replies(), 0.0)
    assert len(sent(granted)) == 3


def test_unanswered_suggestions_do_not_pile_up():
    client = handshaken()
    for n in range(1000):
        client.suggest_difficulty(n + 1)
        client.data_to_send()
    assert len(client._asked) == module.MAX_ASKED


# --- jobs ---


def test_difficulty_counts_for_jobs_that_come_after_it():
    client, first = working()
    client.receive_data(notification("mining.set_difficulty", 512), 0.0)
    client.receive_data(notify_line(job_id="b", clean=False), 0.0)
    changed, job = client.events_received()
    assert changed == DifficultyChanged(512)
    assert (first.difficulty, job.job.difficulty) == (1, 512)
    assert client.jobs.state(first) is JobState.PAST
    assert not job.clean
    assert job.same_work


def test_extranonce_counts_from_the_next_notify_and_the_size_may_be_left_out():
    client, first = working()
    client.receive_data(notification("mining.set_extranonce", "aabb"), 0.0)
    client.receive_data(notify_line(), 0.0)
    changed, job = client.events_received()
    assert changed == ExtranonceChanged(b"\xaa\xbb", 4)
    assert (first.extranonce1.hex(), job.job.extranonce1.hex()) == ("0badcafe", "aabb")
    assert job.job.id == first.id, "a job sent again is no duplicate when the extranonce changed"
    assert not job.same_work


def test_a_new_mask_counts_at_once():
    client, _ = working()
    client.receive_data(notification("mining.set_version_mask", "00006000"), 0.0)
    client.receive_data(notify_line(), 0.0)
    changed, job = client.events_received()
    assert changed == VersionMaskChanged(0x6000)
    assert job.job.version_mask == 0x6000


def test_a_new_block_makes_jobs_stale_whatever_clean_says():
    client, first = working()
    client.receive_data(notify_line(job_id="b", prevhash="22" * 32, clean=False), 0.0)
    (event,) = client.events_received()
    assert event.clean
    assert client.jobs.state(first) is JobState.STALE


# --- shares ---


def test_a_share_is_sent_with_its_bits_and_its_answer_comes_back():
    client, job = working()
    token = client.submit(job, SHARE, 10.0)
    (message,) = sent(client)
    assert message == {
        "id": token,
        "method": "mining.submit",
        "params": ["rig.1", "sim1", "00000000", "64b8b000", "6257c2ec", "00002000"],
    }
    client.receive_data(line(id=token, result=True, error=None), 10.25)
    assert client.events_received() == [SubmitResult(token, True, None, "", job, SHARE, 0.25)]
    assert client.book.acknowledged == 1
    assert client.book.unanswered == 0


def test_a_refused_share_says_why():
    client, job = working()
    token = client.submit(job, SHARE, 0.0)
    client.receive_data(line(id=token, result=None, error=[21, "Stale", None]), 0.0)
    (result,) = client.events_received()
    assert (result.accepted, result.reason, result.text) == (False, RejectReason.STALE, "Stale")
    assert client.book.refused[RejectReason.STALE] == 1


def test_before_ready_nothing_is_submitted():
    client = session_client()
    _, job = working()
    client.data_to_send()
    assert client.submit(job, SHARE, 0.0) is None
    assert client.data_to_send() == b""


def test_an_unanswered_share_is_lost_after_two_minutes_and_its_late_answer_is_only_counted():
    client, job = working()
    token = client.submit(job, SHARE, 10.0)
    client.receive_data(notify_line(), 100.0)
    client.events_received()
    assert client.next_deadline() == 130.0
    client.tick(130.0)
    assert client.events_received() == [SubmitLost(token, LossCause.TIMEOUT, job, SHARE)]
    client.receive_data(line(id=token, result=True), 131.0)
    assert client.events_received() == []
    assert (client.unmatched_replies, client.book.lost, client.book.acknowledged) == (1, 1, 0)


def test_shares_on_the_way_are_unknown_when_the_connection_breaks():
    client, job = working()
    token = client.submit(job, SHARE, 0.0)
    client.receive_eof()
    assert client.events_received() == [
        SubmitLost(token, LossCause.DISCONNECTED, job, SHARE),
        Failed(FailureKind.CLOSED, "closed by the peer"),
    ]
    assert client.submit(job, SHARE, 0.0) is None
    assert client.next_deadline() is None


def test_waiting_shares_are_bounded():
    client, job = working()
    for _ in range(1100):
        client.submit(job, SHARE, 0.0)
        client.data_to_send()
    lost = only(client.events_received(), SubmitLost)
    assert len(lost) == 76
    assert {event.cause for event in lost} == {LossCause.CROWDED_OUT}


# --- the rest ---


def test_silence_ends_it_and_any_line_postpones_that():
    client, _ = working()
    client.receive_data(notification("mining.unheard_of"), 50.0)
    client.tick(169.9)
    assert client.failure is None
    client.receive_data(b'{"half', 169.9)
    client.tick(170.0)
    assert client.failure.kind is FailureKind.SILENCE


def test_small_talk():
    client = handshaken(user_agent="shedload/9", password="hunter2")
    client.receive_data(
        line(id=7, method="client.get_version", params=[])
        + line(id="p", method="mining.ping", params=[])
        + line(id=8, method="client.show_message", params=["maintenance\nat noon, hunter2"])
        + notification("client.show_message", "bye")
        + line(id=9, method="mining.new_thing", params=[])
        + notification("mining.set_goal", "x"),
        0.0,
    )
    assert sent(client) == [
        {"id": 7, "result": "shedload/9", "error": None},
        {"id": "p", "result": "pong", "error": None},
        {"id": 8, "result": True, "error": None},
        {"id": 9, "result": None, "error": [-3, "Method not found", None]},
    ]
    assert client.events_received() == [Message("maintenance?at noon, ***"), Message("bye")]


def test_before_start_there_is_no_deadline():
    client = StratumClient(worker="w")
    assert client.next_deadline() is None
    client.tick(1e9)
    assert client.failure is None
