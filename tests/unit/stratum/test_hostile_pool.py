"""Everything a hostile or clumsy pool was seen or feared to do: the client survives, refuses or fails with a reason."""

import pytest

from shedload.stratum.client import MAX_UNUSABLE
from shedload.stratum.events import (
    DifficultyChanged,
    Failed,
    FailureKind,
    NewJob,
    Ready,
    ReconnectAsked,
    SubmitResult,
    Unusable,
)
from shedload.stratum.jobs import MAX_JOBS
from tests.support.stratum import (
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
DIGEST = "11" * 32


def told(*lines, client=None):
    """Events of a ready client that gets these lines."""
    client = client or handshaken()
    for text in lines:
        client.receive_data(text, 0.0)
    return client.events_received()


def jobs_of(events):
    return [event.job for event in events if isinstance(event, NewJob)]


def test_replies_out_of_order():
    client = session_client()
    for reply in reversed(handshake_replies().splitlines(keepends=True)):
        client.receive_data(reply, 0.0)
    assert client.ready


def test_replies_to_submits_out_of_order():
    client = handshaken()
    (job,) = jobs_of(told(notify_line(), client=client))
    tokens = [client.submit(job, SHARE, 0.0) for _ in range(3)]
    events = told(*(line(id=token, result=token != tokens[1]) for token in reversed(tokens)), client=client)
    assert [(event.token, event.accepted) for event in events] == [
        (tokens[2], True),
        (tokens[1], False),
        (tokens[0], True),
    ]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_notify_in_the_middle_of_the_handshake(place):
    client = session_client()
    lines = handshake_replies().splitlines(keepends=True)
    lines[place:place] = [
        notification("mining.set_version_mask", "1fffe000"),
        notification("mining.set_difficulty", 64),
        notify_line(),
        notification("mining.set_difficulty", 128),
    ]
    events = told(*lines, client=client)
    kinds = [type(event) for event in events]
    assert kinds.index(Ready) < kinds.index(NewJob)
    (job,) = jobs_of(events)
    assert job.difficulty == 64, "the one in force when it came"
    assert job.extranonce1.hex() == "0badcafe"
    assert client.version_mask == 0x1FFFE000


def test_a_held_job_keeps_that_an_earlier_one_was_clean():
    client = session_client()
    events = told(
        notify_line(job_id="a", clean=True), notify_line(job_id="b", clean=False), handshake_replies(), client=client
    )
    assert [(event.job.id, event.clean) for event in events if isinstance(event, NewJob)] == [("b", True)]


def test_notify_every_100_ms_for_an_hour():
    client = handshaken()
    for n in range(36_000 // 20):  # one in twenty: the table is full long before
        client.receive_data(notify_line(job_id=f"{n}", clean=False), n * 2.0)
        client.events_received()
    assert len(client.jobs) == MAX_JOBS


def test_clean_on_every_job():
    events = told(*(notify_line(job_id=str(n)) for n in range(10)))
    assert [event.clean for event in events] == [True] * 10


def test_a_coinbase_of_40_kb_is_too_long_a_line():
    client = handshaken()
    (event,) = told(notify_line(coinb2="ab" * 40_000), client=client)
    assert event.kind is FailureKind.OVERRUN


def test_a_coinbase_of_20_kb_is_taken_and_one_of_25_kb_is_not():
    assert jobs_of(told(notify_line(coinb2="ab" * 20_000)))
    assert isinstance(told(notify_line(coinb2="ab" * 25_000))[0], Unusable)


@pytest.mark.parametrize(("count", "good"), [(0, True), (1, True), (14, True), (32, True), (33, False)])
def test_branches(count, good):
    assert bool(jobs_of(told(notify_line(branches=[DIGEST] * count)))) is good


@pytest.mark.parametrize(
    "changes",
    [
        {"coinb1": "abc"},
        {"prevhash": "0" * 63},
        {"nbits": "00000000"},
        {"nbits": "04923456"},
        {"ntime": None},
        {"branches": {"a": 1}},
        {"job_id": ["x"]},
    ],
)
def test_senseless_jobs_are_told_and_the_old_job_goes_on(changes):
    client = handshaken()
    first, event = told(notify_line(), notify_line(**changes), client=client)
    assert isinstance(event, Unusable)
    assert event.method == "mining.notify"
    assert client.jobs.active is first.job
    assert client.failure is None


def test_upper_case_hex():
    (job,) = jobs_of(told(notify_line(prevhash="AB" * 32, coinb1="CD", nbits="1705AE3A")))
    assert job.notify.coinb1 == b"\xcd"


@pytest.mark.parametrize("value", [0, -1, "NaN", "abc", "", None, True, [], {}, "-5"])
def test_senseless_difficulties_change_nothing(value):
    client = handshaken()
    (event,) = told(notification("mining.set_difficulty", value), client=client)
    assert isinstance(event, Unusable)
    assert client.difficulty == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [(b'"1024"', 1024), (b"1024.0", 1024), (b"16383.75", 16383.75), (b"1e300", 2**63), (b"1e-300", 1e-9)],
)
def test_odd_difficulties_are_read_and_clamped(text, value):
    assert told(b'{"method":"mining.set_difficulty","params":[' + text + b"]}\n") == [DifficultyChanged(value)]


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"-Infinity", b"9" * 5000])
def test_numbers_that_are_no_json_end_the_connection(text):
    (event,) = told(b'{"method":"mining.set_difficulty","params":[' + text + b"]}\n")
    assert event.kind is FailureKind.PROTOCOL


def test_difficulty_of_infinity_written_as_json():
    (event,) = told(b'{"method":"mining.set_difficulty","params":[1e400]}\n')
    assert isinstance(event, Unusable)


def test_difficulty_without_parameters():
    assert all(
        isinstance(event, Unusable)
        for event in told(
            b'{"method":"mining.set_difficulty"}\n',
            b'{"method":"mining.set_difficulty","params":{"x":1}}\n',
            b'{"method":"mining.set_version_mask","params":[]}\n',
            b'{"method":"mining.set_extranonce"}\n',
            b'{"method":"mining.notify"}\n',
        )
    )


def test_job_id_as_a_number():
    (job,) = jobs_of(told(notify_line(job_id=42)))
    assert job.id == "42"


@pytest.mark.parametrize(("size", "good"), [(0, False), (1, True), (3, True), (9, True), (64, False)])
def test_extranonce2_sizes(size, good):
    client = session_client()
    client.receive_data(handshake_replies(size=size), 0.0)
    assert client.ready is good
    if not good:
        assert client.failure.kind is FailureKind.SUBSCRIBE_REFUSED


@pytest.mark.parametrize(("first", "good"), [("", True), ("ab" * 9, True), ("ab" * 64, False), ("abc", False)])
def test_extranonce1_lengths(first, good):
    client = session_client()
    client.receive_data(handshake_replies(first=first), 0.0)
    assert client.ready is good


@pytest.mark.parametrize("result", [None, True, [], [1], [[], None, None], {"a": 1}, "text", 7])
def test_senseless_subscriptions(result):
    client = session_client()
    client.receive_data(line(id=2, result=result, error=None), 0.0)
    assert client.failure.kind is FailureKind.SUBSCRIBE_REFUSED


def test_set_extranonce_that_cannot_be_mined_with_changes_nothing():
    client = handshaken()
    before = client.extranonce
    events = told(
        notification("mining.set_extranonce", "ab" * 64, 4),
        notification("mining.set_extranonce", "ab", 0),
        client=client,
    )
    assert [type(event) for event in events] == [Unusable, Unusable]
    assert client.extranonce == before


def test_reconnect_loops_are_events_and_nothing_else():
    events = told(*[notification("client.reconnect", "evil.example", 3333)] * 5, notification("client.reconnect"))
    assert all(isinstance(event, ReconnectAsked) for event in events)
    assert [event.allowed for event in events] == [False] * 5 + [True]


def test_half_lines_and_crlf():
    client = session_client()
    replies = handshake_replies().replace(b"\n", b"\r\n")
    for i in range(len(replies)):
        client.receive_data(replies[i : i + 1], 0.0)
    assert client.ready


def test_two_objects_in_one_line():
    (event,) = told(line(id=9, result=True)[:-1] + line(id=10, result=True))
    assert event.kind is FailureKind.PROTOCOL


def test_no_line_end_at_all():
    client = handshaken()
    for _ in range(70):
        client.receive_data(b"x" * 1024, 0.0)
    assert client.failure.kind is FailureKind.OVERRUN
    client.receive_data(b"x" * 10_000_000, 0.0)
    assert len(client._lines) == 0


def test_reply_twice():
    client = handshaken()
    (job,) = jobs_of(told(notify_line(), client=client))
    token = client.submit(job, SHARE, 0.0)
    events = told(line(id=token, result=True), line(id=token, result=False), client=client)
    assert [type(event) for event in events] == [SubmitResult]
    assert (client.book.acknowledged, client.unmatched_replies) == (1, 1)


@pytest.mark.parametrize("request_id", [None, 0, -1, 999, "x", "-4", "٣", 2.5, "9" * 900, 10**39])
def test_replies_to_nothing_are_counted(request_id):
    client = handshaken()
    assert told(line(id=request_id, result=True), client=client) == []
    assert client.unmatched_replies == 1


@pytest.mark.parametrize("form", [str, float])
def test_ids_as_text_or_float(form):
    client = handshaken()
    (job,) = jobs_of(told(notify_line(), client=client))
    token = client.submit(job, SHARE, 0.0)
    (result,) = told(line(id=form(token), result=True), client=client)
    assert result.token == token


def test_an_unchanged_job_is_the_same_work():
    first, second = told(notify_line(clean=False), notify_line(clean=False))
    assert (first.same_work, second.same_work) == (False, True)


def test_mask_zero():
    client = session_client()
    client.receive_data(handshake_replies(mask="00000000"), 0.0)
    (job,) = jobs_of(told(notify_line(), client=client))
    assert job.rollable == 0
    client.data_to_send()
    client.submit(job, SHARE.__class__(bytes(4), 1, 2), 0.0)
    assert sent(client)[0]["params"][5] == "00000000", "DATUM wants the sixth once rolling is agreed"


def test_mask_change_in_the_middle_of_a_job():
    client = handshaken()
    (job,) = jobs_of(told(notify_line(), client=client))
    told(notification("mining.set_version_mask", "00000000"), client=client)
    assert client.version_mask == 0
    client.data_to_send()
    client.submit(job, SHARE, 0.0)
    assert sent(client)[0]["params"][5] == "00002000", "bits of the old mask may still be on their way"


def test_masks_that_are_none():
    client = handshaken()
    for value in ("xyz", 5, None, "1fffe0000"):
        (event,) = told(notification("mining.set_version_mask", value), client=client)
        assert isinstance(event, Unusable)
    assert client.version_mask == 0x1FFFE000


def test_only_nonsense_ends_it():
    client = handshaken()
    events = told(*[notification("mining.set_difficulty", 0)] * (MAX_UNUSABLE + 5), client=client)
    assert len(events) == MAX_UNUSABLE + 1
    assert isinstance(events[-1], Failed)
    assert events[-1].kind is FailureKind.PROTOCOL


def test_a_pool_that_asks_and_never_reads():
    client = handshaken()
    for _ in range(100):
        client.receive_data(line(id="x" * 1000, method="mining.ping", params=[]) * 60, 0.0)
    assert client.failure.kind is FailureKind.FLOOD
    assert len(client.data_to_send()) < 300_000


def test_nothing_counts_after_the_failure():
    client = handshaken()
    told(b"garbage\n", client=client)
    assert told(notify_line(), client=client) == []
    client.receive_eof()
    client.tick(1e9)
    assert client.events_received() == []
    assert client.failure.kind is FailureKind.PROTOCOL
