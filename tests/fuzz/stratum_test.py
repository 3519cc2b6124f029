"""Foreign bytes against both ends of Stratum: nothing raises, everything stays bounded, cuts change nothing."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shedload.errors import ProtocolError
from shedload.stratum.endpoint import MAX_OUTPUT
from shedload.stratum.jobs import MAX_JOBS, parse_notify
from shedload.stratum.lines import FROM_POOL_LIMIT
from shedload.stratum.messages import Response, outcome, parse
from shedload.stratum.session import granted_mask, judge_reconnect, parse_subscription
from shedload.stratum.shares import parse_submit
from tests.support.property import damaged, splits
from tests.support.stratum import (
    NOTIFY,
    handshake_replies,
    handshaken,
    notification,
    notify,
    notify_line,
    session_client,
    session_server,
    solutions,
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["", "00", "1fffe000", "ab" * 32, "1705ae3a", "mining.notify", "0badcafe", 1e300, 2**64, -1]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
to_client = st.sampled_from(
    [
        "mining.notify",
        "mining.set_difficulty",
        "mining.set_extranonce",
        "mining.set_version_mask",
        "mining.ping",
        "client.reconnect",
        "client.show_message",
        "client.get_version",
        "x",
    ]
)
to_server = st.sampled_from(
    [
        "mining.configure",
        "mining.subscribe",
        "mining.authorize",
        "mining.submit",
        "mining.suggest_difficulty",
        "mining.suggest_target",
        "mining.extranonce.subscribe",
        "mining.ping",
        "x",
    ]
)
almost_notify = st.tuples(st.integers(0, 8), values).map(lambda p: [*NOTIFY[: p[0]], p[1], *NOTIFY[p[0] + 1 :]])
SUBMIT = solutions()[0].params()
almost_submit = st.tuples(st.integers(0, 5), values).map(lambda p: [*SUBMIT[: p[0]], p[1], *SUBMIT[p[0] + 1 :]])


def messages(methods: st.SearchStrategy[str], params: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    ids = st.one_of(st.integers(0, 6), scalars)
    request = st.fixed_dictionaries({"id": ids, "method": methods, "params": params | values})
    response = st.fixed_dictionaries({"id": ids}, optional={"result": values, "error": values, "reject-reason": values})
    return st.one_of(request, response).map(lambda message: json.dumps(message).encode() + b"\n")


pool_streams = st.lists(messages(to_client, almost_notify), max_size=8).map(b"".join)
rig_streams = st.lists(messages(to_server, almost_submit), max_size=8).map(b"".join)


def run_client(chunks: list[bytes], ready: bool) -> tuple[Any, ...]:
    client = handshaken() if ready else session_client()
    for chunk in chunks:
        client.receive_data(chunk, 0.0)
    deadline = client.next_deadline()
    client.tick(1e6)
    assert deadline is None or client.failure is not None
    assert len(client.jobs) <= MAX_JOBS
    return client.events_received(), client.data_to_send(), deadline


def run_server(chunks: list[bytes]) -> tuple[Any, ...]:
    server = session_server()
    for chunk in chunks:
        server.receive_data(chunk, 0.0)
    if server.failure is None and server.joined:
        server.send_job(notify(), 0.0)
    server.tick(1e6)
    output = server.data_to_send()
    assert len(output) < 2 * MAX_OUTPUT
    return server.events_received(), output, server.failure


@settings(deadline=None)
@given(st.data(), st.booleans())
def test_any_pool(data, ready):
    stream = data.draw(pool_streams)
    assert run_client(data.draw(splits(stream)), ready) == run_client([stream], ready)


@settings(deadline=None)
@given(st.data())
def test_any_rig(data):
    stream = data.draw(rig_streams)
    assert run_server(data.draw(splits(stream))) == run_server([stream])


@settings(deadline=None)
@given(damaged(handshake_replies() + notification("mining.set_difficulty", 8) + notify_line()))
def test_damaged_sessions_of_a_pool(stream):
    run_client([stream], ready=False)


@settings(deadline=None)
@given(st.data())
def test_damaged_sessions_of_a_rig(data):
    lines = session_client().data_to_send() + notification("mining.submit", *SUBMIT)
    run_server([data.draw(damaged(lines))])


@given(st.binary(max_size=400))
def test_any_bytes(data):
    run_client([data], ready=True)
    run_server([data])
    assert len(data) < FROM_POOL_LIMIT


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | values.map(lambda v: json.dumps(v).encode()))
def test_parse_raises_nothing_but_protocol_errors(line):
    try:
        message = parse(line)
    except ProtocolError as error:
        words = str(error)
    else:
        words = outcome(message).text if isinstance(message, Response) else ""
    assert len(words) < 250


@given(st.lists(values, max_size=10).map(tuple) | st.none())
def test_readers_of_parameters_raise_nothing_but_value_errors(params):
    for read in (parse_notify, parse_submit, lambda p: parse_subscription(list(p or ())), granted_mask):
        words = ""
        try:
            read(params)
        except ValueError as error:
            words = str(error)
        assert len(words) < 250
    assert judge_reconnect(params, "pool.example", frozenset()).why
