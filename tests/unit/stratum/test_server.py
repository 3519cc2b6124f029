"""The pool's end: replies, the order of what is written, shares judged and answered, rigs of every kind."""

import json

import pytest

from shedload.stratum.admission import minimum_of_password, suggested
from shedload.stratum.events import (
    Answered,
    Authorized,
    DifficultySuggested,
    FailureKind,
    JobWanted,
    Joined,
    MaskAgreed,
    ShareJudged,
    Subscribed,
)
from shedload.stratum.jobs import encode_notify
from shedload.stratum.server import MAX_IN_FLIGHT, MAX_WORKERS, StratumServer
from shedload.stratum.shares import Verdict
from tests.support.stratum import MASK, line, notification, notify, sent, session_server, solutions

FIRST = bytes.fromhex("0badcafe")


def call(server, request_id, method, *params, now=0.0):
    """What the server answers to one request."""
    server.receive_data(line(id=request_id, method=method, params=list(params)), now)
    return sent(server)


def rolling_server(**options):
    """Joined by rig.1 with version rolling, at difficulty 1, on the invented session's job."""
    server = session_server(**options)
    call(server, 1, "mining.configure", ["version-rolling"], {"version-rolling.mask": "ffffffff"})
    call(server, 2, "mining.subscribe", "test/1")
    call(server, 3, "mining.authorize", "rig.1", "x")
    server.send_job(notify(), 0.0)
    sent(server)
    server.events_received()
    return server


def submit(server, share, request_id=4, now=0.0):
    return call(server, request_id, "mining.submit", *share.params(), now=now)


# --- handshake ---


def test_configure_grants_the_intersection():
    server = session_server()
    options = {
        "version-rolling.mask": "00c00000",
        "version-rolling.min-bit-count": "two",
        "minimum-difficulty.value": 8,
    }
    extensions = ["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info", "new-thing"]
    (reply,) = call(server, 1, "mining.configure", extensions, options)
    assert reply["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "00c00000",
        "minimum-difficulty": True,
        "subscribe-extranonce": True,
        "info": True,
        "new-thing": False,
    }
    assert server.minimum_difficulty == 8
    assert server.takes_extranonce
    assert server.events_received() == [MaskAgreed(0x00C00000)]


def test_configure_without_rolling_or_with_a_bad_mask():
    (reply,) = call(session_server(version_mask=0), 1, "mining.configure", ["version-rolling"], {})
    assert reply["result"] == {"version-rolling": False}
    (reply,) = call(session_server(), 1, "mining.configure", ["version-rolling"], {"version-rolling.mask": 5})
    assert isinstance(reply["result"]["version-rolling"], str)
    (reply,) = call(session_server(), 1, "mining.configure", ["version-rolling"])
    assert reply["result"]["version-rolling.mask"] == "1fffe000"
    (reply,) = call(session_server(), 1, "mining.configure", "version-rolling")
    assert reply["error"][0] == -1


@pytest.mark.parametrize("order", [["subscribe", "authorize"], ["authorize", "subscribe"]])
def test_any_order_joins_once(order):
    server = session_server()
    params = {"subscribe": ["agent/1"], "authorize": ["rig.1", "d=512"]}
    for n, what in enumerate([*order, *order]):
        (reply,) = call(server, n, f"mining.{what}", *params[what])
        assert reply["error"] is None
    events = server.events_received()
    assert events.count(Joined("rig.1")) == 1
    assert Subscribed("agent/1", FIRST, 4) in events
    assert Authorized("rig.1", 512) in events
    assert server.joined


def test_nothing_is_allotted_before_subscribe_and_a_full_house_refuses_politely():
    asked = []
    server = StratumServer(allot=asked.append)
    server.start(0.0)
    call(server, 1, "mining.authorize", "rig.1", "x")
    assert asked == []
    (reply,) = call(server, 2, "mining.subscribe", "a", "old-session")
    assert asked == ["old-session"]
    assert reply["error"][0] == 20
    assert server.failure.kind is FailureKind.FULL


@pytest.mark.parametrize("worker", ["", ".x", "_x", "a/b", "x" * 256, 5, None, "a\nb"])
def test_names_that_are_refused(worker):
    server = session_server()
    (reply,) = call(server, 1, "mining.authorize", worker, "x")
    assert reply["result"] is False
    assert server.failure is None
    assert server.workers == []


def test_the_owner_admits():
    server = session_server(admit=lambda worker, password: password == "right")
    assert call(server, 1, "mining.authorize", "w", "wrong")[0]["error"][0] == 24
    assert call(server, 2, "mining.authorize", "w", "right")[0]["result"] is True


def test_several_workers_on_one_connection_are_bounded():
    server = session_server()
    for n in range(MAX_WORKERS + 5):
        call(server, n, "mining.authorize", f"w{n}", "x")
    assert len(server.workers) == MAX_WORKERS


def test_strangers_have_fifteen_seconds_to_subscribe_and_sixty_to_authorize():
    server = session_server()
    assert server.next_deadline() == 15.0
    server.tick(14.9)
    assert server.failure is None
    server.tick(15.0)
    assert server.failure.kind is FailureKind.HANDSHAKE_TIMEOUT
    subscribed = session_server()
    call(subscribed, 1, "mining.subscribe")
    assert subscribed.next_deadline() == 60.0
    subscribed.tick(60.0)
    assert subscribed.failure.kind is FailureKind.HANDSHAKE_TIMEOUT
    assert rolling_server().next_deadline() is None


# --- what is written ---


def test_difficulty_and_extranonce_come_before_the_notify_in_one_write():
    server = rolling_server()
    server.set_difficulty(1024.0)
    server.set_extranonce(b"\xaa", 4)
    assert server.data_to_send() == b"", "both wait for a job: many rigs apply them at a notify only"
    job = server.send_job(notify(job_id="b"), 1.0)
    messages = sent(server)
    assert [message["method"] for message in messages] == [
        "mining.set_difficulty",
        "mining.set_extranonce",
        "mining.notify",
    ]
    assert json.dumps(messages[0]["params"]) == "[1024]"
    assert messages[1]["params"] == ["aa", 4]
    assert (job.difficulty, job.extranonce1) == (1024, b"\xaa")


def test_an_unchanged_difficulty_is_not_repeated():
    server = rolling_server()
    server.set_difficulty(1)
    server.send_job(notify(job_id="b"), 1.0)
    assert [message["method"] for message in sent(server)] == ["mining.notify"]


def test_version_bits_inside_the_mask_are_cleared_before_they_go_out():
    server = rolling_server()
    job = server.send_job(notify(version="20006004"), 0.0)
    assert sent(server)[0]["params"][5] == "20000004"
    assert job.rollable == MASK


def test_a_line_encoded_once_serves_every_rig_that_needs_no_bits_cleared():
    plain, rolling = session_server(), rolling_server()
    call(plain, 1, "mining.subscribe")
    call(plain, 2, "mining.authorize", "rig.2", "x")
    work = notify(job_id="b", version="20002000")
    for server in (plain, rolling):
        server.send_job(work, 0.0, encode_notify(work))
    assert sent(plain)[-1]["params"] == work.params()
    assert sent(rolling)[-1]["params"][5] == "20000000"


def test_a_new_mask_is_sent_at_once_and_old_bits_stay_good():
    server = rolling_server()
    server.set_version_mask(0x00006000)
    assert sent(server) == [{"id": None, "method": "mining.set_version_mask", "params": ["00006000"]}]
    assert submit(server, solutions()[0])[0]["result"] is True
    server.set_version_mask(0x00006000)
    assert sent(server) == []


def test_reconnect_message_and_version():
    server = rolling_server()
    server.send_reconnect()
    server.send_reconnect("pool.example", 3334, 5)
    server.send_message("hello")
    server.ask_version()
    assert [message["params"] for message in sent(server)] == [[], ["pool.example", 3334, 5], ["hello"], []]
    server.receive_data(line(id=1, result="cgminer/4.11\x1b", error=None), 0.0)
    assert server.events_received() == [Answered("cgminer/4.11?")]


# --- shares ---


def test_every_genuine_share_is_accepted_once():
    server = rolling_server()
    for n, share in enumerate(solutions()):
        assert submit(server, share, n) == [{"id": n, "result": True, "error": None}]
    assert submit(server, solutions()[3], "again") == [
        {"id": "again", "result": None, "error": [22, "Duplicate share", None]}
    ]
    verdicts = [event.judgement.verdict for event in server.events_received() if isinstance(event, ShareJudged)]
    assert verdicts == [Verdict.ACCEPTED] * 22 + [Verdict.DUPLICATE]


def test_a_constant_id_is_answered_in_the_order_of_the_submits():
    server = rolling_server()
    good, bad = solutions()[0].params(), ["rig.1", "nobody's", "00000000", "64b8b000", "00000000"]
    text = b"".join(line(params=params, id=4, method="mining.submit") for params in (good, bad, good))
    server.receive_data(text, 0.0)
    assert [(reply["id"], reply["result"], (reply["error"] or [0])[0]) for reply in sent(server)] == [
        (4, True, 0),
        (4, None, 21),
        (4, None, 22),
    ]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({1: "nobody's"}, 21),
        ({0: "other"}, 24),
        ({2: "000000"}, 20),
        ({2: "0000000000"}, 20),
        ({3: "64b8afff"}, 21),
        ({3: "ffffffff"}, 21),
        ({4: "00000000"}, 23),
        ({5: "80000000"}, 23),
        ({5: "00004000"}, 23),
        ({4: "0x1_0000"}, 20),
        ({4: None}, 20),
    ],
)
def test_refusals_have_the_codes_of_the_field(changes, code):
    server = rolling_server()
    params = solutions()[0].params()
    for at, value in changes.items():
        params[at] = value
    (reply,) = call(server, 9, "mining.submit", *params)
    assert (reply["id"], reply["result"], reply["error"][0]) == (9, None, code)
    assert server.failure is None


def test_shares_before_the_handshake_are_refused_without_dropping():
    server = session_server()
    assert submit(server, solutions()[0])[0]["error"][:2] == [25, "Not subscribed"]
    call(server, 1, "mining.subscribe")
    assert submit(server, solutions()[0])[0]["error"][:2] == [24, "Unauthorized worker"]
    assert server.failure is None


def test_a_share_is_judged_by_the_difficulty_of_its_job_or_a_lower_one_since():
    hard = next(share for share in solutions() if share.share.nonce == 0x105E3DE0)  # difficulty 26
    server = rolling_server(difficulty=16)
    assert submit(server, solutions()[0])[0]["error"][0] == 23
    server.set_difficulty(64)
    server.send_job(notify(job_id="b", clean=False), 0.0)
    assert submit(server, hard)[-1]["result"] is True, "the job was sent at 16"
    server.set_difficulty(1)
    assert submit(server, solutions()[0])[0]["result"] is True, "a decrease is the rig's to use"


def test_past_jobs_are_paid_stale_ones_are_not_and_the_grace_is_the_owners():
    server = rolling_server(stale_grace=5.0)
    server.send_job(notify(job_id="b", clean=False), 1.0)
    assert submit(server, solutions()[0], now=2.0)[-1]["result"] is True
    server.send_job(notify(job_id="c", prevhash="22" * 32), 10.0)
    assert submit(server, solutions()[1], now=14.9)[-1]["result"] is True
    assert submit(server, solutions()[2], now=15.0)[-1]["error"][:2] == [21, "Stale"]
    judged = server.events_received()[-1]
    assert judged.judgement.state == "stale"


def test_shares_of_other_workers_where_names_are_not_checked():
    server = rolling_server(check_worker=False)
    share = solutions("somebody.else")[0]
    assert submit(server, share)[0]["result"] is True


def test_duplicates_are_found_across_a_resumed_session():
    before = rolling_server()
    submit(before, solutions()[0])
    after = session_server()
    allotment = after._allot(None)
    after._allot = lambda _session: type(allotment)(FIRST, 4, "cafe01", before.seen)
    call(after, 1, "mining.configure", ["version-rolling"], {})
    call(after, 2, "mining.subscribe", "a", "cafe01")
    call(after, 3, "mining.authorize", "rig.1", "x")
    after.send_job(notify(), 0.0)
    sent(after)
    assert submit(after, solutions()[0])[0]["error"][0] == 22


def test_an_owner_may_answer_by_hand_late_oddly_or_not_at_all():
    server = rolling_server(auto_reply=False)
    for n, share in enumerate(solutions()[:3]):
        assert submit(server, share, n) == []
    first, second, _never = [event for event in server.events_received() if isinstance(event, ShareJudged)]
    server.answer(second, error={"code": 22, "message": "dupe"})
    server.answer(first)
    server.send_raw(b'{"id":2,"error":"Stale"}\n')
    assert sent(server) == [
        {"id": 1, "result": None, "error": {"code": 22, "message": "dupe"}},
        {"id": 0, "result": True, "error": None},
        {"id": 2, "error": "Stale"},
    ]


def test_submits_in_flight_are_bounded():
    server = rolling_server(auto_reply=False)
    for n in range(MAX_IN_FLIGHT + 1):
        submit(server, solutions()[0], n)
    assert server.failure.kind is FailureKind.FLOOD


def test_the_ladder_of_those_who_send_only_invalid_shares():
    server = rolling_server()
    bad = ["rig.1", "sim1", "00000000", "64b8b000", "00000000"]
    call(server, 1, "mining.submit", *bad, now=100.0)
    assert server.next_deadline() == 160.0
    server.tick(160.0)
    assert server.events_received()[-1] == JobWanted()
    server.tick(220.0)
    assert sent(server)[0]["method"] == "client.reconnect"
    server.tick(280.0)
    assert server.failure.kind is FailureKind.INVALID_SHARES


def test_one_good_share_steps_off_the_ladder():
    server = rolling_server()
    call(server, 1, "mining.submit", "rig.1", "sim1", "00000000", "64b8b000", "00000000", now=100.0)
    server.tick(160.0)
    submit(server, solutions()[0], now=170.0)
    assert server.next_deadline() is None


# --- wishes ---


@pytest.mark.parametrize(
    ("method", "params", "difficulty"),
    [
        ("mining.suggest_difficulty", [1024], 1024),
        ("mining.suggest_difficulty", [0.5], 0.5),
        ("mining.suggest_difficulty(42)", [], 42),
        ("mining.suggest_target", ["00000000ffff" + "0" * 52], 1),
    ],
)
def test_suggestions_are_told(method, params, difficulty):
    server = session_server()
    (reply,) = call(server, 5, method, *params)
    assert reply["result"] is True
    assert server.events_received() == [DifficultySuggested(difficulty)]


@pytest.mark.parametrize("params", [[0], [-1], ["x"], [[]], [None], []])
def test_senseless_suggestions_are_refused(params):
    server = session_server()
    assert call(server, 5, "mining.suggest_difficulty", *params)[0]["error"][0] == -1
    server.receive_data(notification("mining.suggest_difficulty", *params), 0.0)
    assert server.data_to_send() == b""
    with pytest.raises(ValueError):
        suggested("mining.suggest_target", "00" * 32)


@pytest.mark.parametrize(
    ("password", "difficulty"),
    [("x", None), ("", None), ("d=512", 512), ("x;md=2048", 2048), ("a,diff=0.5", 0.5), ("d=x,d=4", 4), ("d=-1", None)],
)
def test_minimum_difficulty_in_a_password(password, difficulty):
    assert minimum_of_password(password) == difficulty


# --- hostile and strange rigs ---


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\n", b"[]\n", b"{}\n", b"{\n"]
)
def test_probes_are_harmless(text):
    server = session_server()
    server.receive_data(text, 0.0)
    assert server.failure.kind is FailureKind.PROTOCOL
    assert server.allotment is None


def test_a_stranger_gets_a_kilobyte_and_a_rig_four():
    stranger = session_server()
    stranger.receive_data(b"{" + b" " * 1024, 0.0)
    assert stranger.failure.kind is FailureKind.OVERRUN
    rig = rolling_server()
    rig.receive_data(b"{" + b" " * 4000, 0.0)
    assert rig.failure is None
    rig.receive_data(b" " * 1_000_000, 0.0)
    assert rig.failure.kind is FailureKind.OVERRUN


def test_a_stranger_may_not_chat_for_ever():
    server = session_server()
    for n in range(400):
        call(server, n, "mining.ping")
    assert server.failure.kind is FailureKind.FLOOD


@pytest.mark.parametrize("method", ["eth_submitLogin", "login"])
def test_other_coins_are_dropped(method):
    server = session_server()
    call(server, 1, method, {"login": "x"})
    assert server.failure.kind is FailureKind.WRONG_PROTOCOL


@pytest.mark.parametrize(
    "method",
    [
        "mining.get_transactions",
        "mining.get_txnhashes",
        "mining.multi_version",
        "agent.get_capabilities",
        "mining.passthrough",
        "nonsense",
    ],
)
def test_unknown_methods_are_answered_and_the_rig_stays(method):
    server = rolling_server()
    assert call(server, 8, method, 1) == [{"id": 8, "result": None, "error": [-3, "Method not found", None]}]
    server.receive_data(notification(method), 0.0)
    assert server.data_to_send() == b""
    assert server.failure is None


def test_methods_that_want_no_answer_and_ping():
    server = rolling_server()
    assert call(server, 8, "mining.capabilities") == []
    assert call(server, 8, "pong") == []
    assert call(server, 8, "mining.ping")[0]["result"] == "pong"


def test_params_that_are_no_list():
    server = session_server()
    for method in ("configure", "subscribe", "authorize", "submit", "suggest_difficulty", "extranonce.subscribe"):
        server.receive_data(line(id=1, method=f"mining.{method}", params={"a": [1]}), 0.0)
    assert server.failure is None


def test_extranonce_subscribe():
    server = session_server()
    assert call(server, 1, "mining.extranonce.subscribe")[0]["result"] is True
    assert server.takes_extranonce
    refusing = session_server(allow_set_extranonce=False)
    assert call(refusing, 1, "mining.extranonce.subscribe")[0]["error"][:2] == [20, "Not supported."]
