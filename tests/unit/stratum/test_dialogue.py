"""Client and server talk without a socket; however the bytes are cut, both tell the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shedload.stratum.events import Joined, NewJob, Ready, ShareJudged, SubmitResult
from shedload.stratum.shares import Verdict
from tests.support.property import assert_split_invariant, splits
from tests.support.stratum import (
    MASK,
    exchange,
    handshake_replies,
    line,
    notification,
    notify,
    notify_line,
    session_client,
    session_server,
    solutions,
)

SHARES = [submit.share for submit in solutions()]

HANDSHAKE = (
    notification("mining.set_version_mask", "1fffe000")
    + handshake_replies()
    + notification("mining.set_difficulty", 1)
    + notify_line()
)
ANSWERS = (
    line(id=5, result=True, error=None)
    + b"\r\n"
    + line(id=4, result=None, error={"code": 22, "message": "dupe"})
    + notification("client.reconnect", "", "3334")
    + notify_line(job_id="b", clean=False).replace(b"\n", b"\r\n")
    + line(id=1, method="client.get_version", params=[])
)
SUBMITS = b"".join(
    line(id=4, method="mining.submit", params=submit.params()) for submit in [*solutions()[:3], solutions()[0]]
)
RIG_HANDSHAKE = (
    line(id=1, method="mining.configure", params=[["version-rolling"], {"version-rolling.mask": "ffffffff"}])
    + line(id=2, method="mining.subscribe", params=["test/1"])
    + b"\n"
    + line(id=3, method="mining.authorize", params=["rig.1", "d=1"])
)


def client_session(handshake, answers):
    """Everything observable of a client that submits two shares when its first job is there."""
    client = session_client(user_agent="test/1")
    for chunk in handshake:
        client.receive_data(chunk, 0.0)
    events = client.events_received()
    for share in SHARES[:2]:
        client.submit(client.jobs.active, share, 1.0)
    for chunk in answers:
        client.receive_data(chunk, 2.0)
    return events + client.events_received(), client.data_to_send(), client.failure


def server_session(handshake, submits):
    """Everything observable of a server that sends a job when the rig has joined."""
    server = session_server()
    for chunk in handshake:
        server.receive_data(chunk, 0.0)
    server.send_job(notify(), 0.0)
    for chunk in submits:
        server.receive_data(chunk, 1.0)
    return server.events_received(), server.data_to_send(), server.failure


def test_a_whole_session_from_configure_to_every_genuine_share():
    client, server = session_client(), session_server()
    exchange(client, server, 0.0)
    assert Joined("rig.1") in server.events_received()
    server.send_job(notify(), 0.0)
    exchange(client, server, 0.0)
    _mask, ready, _difficulty, job = client.events_received()
    assert isinstance(ready, Ready)
    assert isinstance(job, NewJob)
    assert (ready.version_mask, job.job.difficulty) == (MASK, 1)

    tokens = [client.submit(job.job, share, 1.0) for share in SHARES]
    exchange(client, server, 1.5)
    results = client.events_received()
    assert [event.token for event in results if isinstance(event, SubmitResult) and event.accepted] == tokens
    judged = [event for event in server.events_received() if isinstance(event, ShareJudged)]
    assert {event.judgement.verdict for event in judged} == {Verdict.ACCEPTED}
    assert [event.submit.share for event in judged] == SHARES
    assert (client.book.submitted, client.book.acknowledged, client.book.unanswered) == (22, 22, 0)


def test_new_extranonce_and_difficulty_travel_with_the_next_job():
    client, server = session_client(), session_server()
    exchange(client, server, 0.0)
    server.send_job(notify(), 0.0)
    exchange(client, server, 0.0)
    first = client.jobs.active
    server.set_extranonce(b"\x01\x02\x03", 4)
    server.set_difficulty(2**-20)
    ours = server.send_job(notify(clean=False), 1.0)
    exchange(client, server, 1.0)
    second = client.jobs.active
    assert (second.extranonce1, second.difficulty) == (ours.extranonce1, ours.difficulty) == (b"\x01\x02\x03", 2**-20)
    assert first.extranonce1.hex() == "0badcafe"


def test_the_client_tells_the_same_at_every_split_of_the_handshake():
    whole = assert_split_invariant(lambda chunks: client_session(chunks, [ANSWERS]), HANDSHAKE)
    assert sum(isinstance(event, SubmitResult) for event in whole[0]) == 2
    assert whole[2] is None


def test_the_client_tells_the_same_at_every_split_of_the_answers():
    assert_split_invariant(lambda chunks: client_session([HANDSHAKE], chunks), ANSWERS)


def test_the_server_tells_the_same_at_every_split_of_the_handshake():
    whole = assert_split_invariant(lambda chunks: server_session(chunks, [SUBMITS]), RIG_HANDSHAKE)
    verdicts = [event.judgement.verdict for event in whole[0] if isinstance(event, ShareJudged)]
    assert verdicts == [Verdict.ACCEPTED] * 3 + [Verdict.DUPLICATE]


def test_the_server_tells_the_same_at_every_split_of_the_submits():
    assert_split_invariant(lambda chunks: server_session([RIG_HANDSHAKE], chunks), SUBMITS)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_many_cuts_at_once_change_nothing(data):
    handshake, answers = data.draw(splits(HANDSHAKE)), data.draw(splits(ANSWERS))
    assert client_session(handshake, answers) == client_session([HANDSHAKE], [ANSWERS])
    rig, submits = data.draw(splits(RIG_HANDSHAKE)), data.draw(splits(SUBMITS))
    assert server_session(rig, submits) == server_session([RIG_HANDSHAKE], [SUBMITS])
