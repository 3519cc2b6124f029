"""Messages: told apart by `method`, guarded against odd JSON, refusals read in every shape the field has."""

import json

import pytest

from shedload.errors import ProtocolError
from shedload.stratum.messages import (
    Notification,
    RejectReason,
    Request,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_response,
    outcome,
    parse,
    parse_hex,
    parse_hex32,
    wire_difficulty,
)


def test_three_shapes():
    assert parse(b'{"id":1,"method":"m","params":[1]}') == Request(1, "m", (1,))
    assert parse(b'{"id":null,"method":"m","params":[]}') == Notification("m", ())
    assert parse(b'{"id":7,"result":true,"error":null}') == Response(7, True, None)


def test_missing_members_and_strange_ones():
    assert parse(b'{"method":"mining.set_difficulty","params":[8]}') == Notification("mining.set_difficulty", (8,))
    assert parse(b'{"id":1,"result":{}}') == Response(1, {}, None)
    assert parse(b'{"jsonrpc":"2.0","id":1,"error":null,"result":true}') == Response(1, True, None)
    assert parse(b'{"id":1,"method":"m"}') == Request(1, "m", ())
    assert parse(b'{"id":1,"method":"m","params":{"a":1}}') == Request(1, "m", None)


def test_method_decides_not_the_id():
    assert isinstance(parse(b'{"id":4,"method":"mining.set_difficulty","params":[1],"result":null}'), Request)


@pytest.mark.parametrize("request_id", [1, "abc", 2.5, -3, 10**30])
def test_ids_go_back_as_they_came(request_id):
    request = parse(json.dumps({"id": request_id, "method": "m", "params": []}).encode())
    assert json.loads(encode_response(request.id, result=True))["id"] == request_id


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":1,"result":true}{"id":2,"result":true}',
        b'{"id":1,"result":true},',
        b"GET / HTTP/1.1",
        b"[1,2]",
        b"{",
        b"{}",
        b'{"id":1}',
        b'{"id":true,"result":true}',
        b'{"id":[1],"result":true}',
        b'{"id":1e400,"result":true}',
        b'{"id":1,"method":5}',
        b'{"id":1,"result":NaN}',
        b'{"id":1,"result":-Infinity}',
        b'{"id":1,"result":' + b"9" * 5000 + b"}",
        b'{"id":1,"result":' + b"[" * 60000 + b"}",
        b'{"id":1,"result":' + b"[" * 150 + b"]" * 150 + b"}" * 100,
    ],
)
def test_what_is_no_message_is_a_protocol_error(text):
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_broken_utf8_inside_a_text_is_survived():
    assert parse(b'{"method":"client.show_message","params":["caf\xe9"]}') == Notification(
        "client.show_message", ("caf\ufffd",)
    )


SHAPES = [
    ('{"id":1,"result":true,"error":null}', None, ""),
    ('{"id":1,"result":true}', None, ""),
    ('{"id":1,"result":1,"error":null}', None, ""),
    ('{"id":1,"result":"true"}', None, ""),
    ('{"id":1,"result":null,"error":[21,"Job not found",null]}', RejectReason.JOB_NOT_FOUND, "Job not found"),
    ('{"id":1,"result":false,"error":[21,"Stale",null]}', RejectReason.STALE, "Stale"),
    ('{"id":1,"result":null,"error":[20,"Malformed Share r6"]}', RejectReason.MALFORMED, "Malformed Share r6"),
    ('{"id":1,"result":null,"error":{"code":22,"message":"dupe"}}', RejectReason.DUPLICATE, "dupe"),
    ('{"id":1,"result":null,"error":"Stale"}', RejectReason.STALE, "Stale"),
    (
        '{"id":1,"result":false,"error":null,"reject-reason":"Above target"}',
        RejectReason.LOW_DIFFICULTY,
        "Above target",
    ),
    ('{"id":1,"result":null,"error":null}', RejectReason.OTHER, "unknown"),
    ('{"id":1,"result":false}', RejectReason.OTHER, "unknown"),
    ('{"id":1,"error":[]}', RejectReason.OTHER, "unknown"),
    ('{"id":1,"error":[23]}', RejectReason.LOW_DIFFICULTY, "unknown"),
    ('{"id":1,"error":{}}', RejectReason.OTHER, "unknown"),
    ('{"id":1,"error":7}', RejectReason.OTHER, "unknown"),
    ('{"id":1,"result":"yes"}', RejectReason.OTHER, "unknown"),
]


@pytest.mark.parametrize(("text", "reason", "words"), SHAPES)
def test_every_shape_of_an_answer(text, reason, words):
    response = parse(text.encode())
    assert isinstance(response, Response)
    answer = outcome(response)
    assert (answer.accepted, answer.reason, answer.text) == (reason is None, reason, words)


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (20, "Not supported.", RejectReason.UNSUPPORTED),
        (20, "unknown-work", RejectReason.JOB_NOT_FOUND),
        (20, "Invalid nonce2 length", RejectReason.MALFORMED),
        (21, "stale-work", RejectReason.STALE),
        (21, "time-too-old", RejectReason.BAD_NTIME),
        (21, "time-too-new", RejectReason.BAD_NTIME),
        (21, "stale-prevblk", RejectReason.STALE),
        (22, "Duplicate share", RejectReason.DUPLICATE),
        (23, "H-not-zero", RejectReason.LOW_DIFFICULTY),
        (23, "bad-version", RejectReason.BAD_VERSION),
        (24, "anything", RejectReason.UNAUTHORIZED),
        (25, "Not subscribed", RejectReason.NOT_SUBSCRIBED),
        (-32601, "Method not found", RejectReason.UNSUPPORTED),
        (None, "-1:params not found", RejectReason.MALFORMED),
        (None, "-3:method not found", RejectReason.UNSUPPORTED),
        (None, "Invalid JobID", RejectReason.JOB_NOT_FOUND),
        (None, "Ntime out of range", RejectReason.BAD_NTIME),
        (None, "No ntime", RejectReason.MALFORMED),
        (None, "No job_id", RejectReason.MALFORMED),
        (None, "Invalid array size", RejectReason.MALFORMED),
        (None, "Worker mismatch", RejectReason.UNAUTHORIZED),
        (None, "Invalid version mask", RejectReason.BAD_VERSION),
        (None, "Difficulty too low", RejectReason.LOW_DIFFICULTY),
        (None, "address not allowed", RejectReason.OTHER),
        (999, "?", RejectReason.OTHER),
    ],
)
def test_texts_of_the_field_fold_into_the_closed_set(code, text, reason):
    assert outcome(Response(1, None, [code, text, None] if code is not None else text)).reason is reason


def test_texts_of_a_pool_are_bounded_and_printable():
    text = outcome(Response(1, None, [20, "evil\n\x1b[2J" + "x" * 5000])).text
    assert len(text) == 120
    assert text.isprintable()


def test_lines_to_a_pool_stay_under_a_thousand_bytes_and_the_error_quotes_nothing():
    assert len(encode_request(1, "mining.authorize", ["w", "p"])) < 80
    with pytest.raises(ValueError, match="limit 1000") as caught:
        encode_request(1, "mining.authorize", ["w", "secret" * 200])
    assert "secret" not in str(caught.value)


def test_what_we_write():
    assert encode_request(2, "m", ["ü"]) == b'{"id":2,"method":"m","params":["\\u00fc"]}\n'
    assert encode_notification("m", []) == b'{"id":null,"method":"m","params":[]}\n'
    assert encode_error(3, 21, "Stale") == b'{"id":3,"result":null,"error":[21,"Stale",null]}\n'
    assert [str(wire_difficulty(value)) for value in (1024.0, 2, 0.5)] == ["1024", "2", "0.5"]


@pytest.mark.parametrize(
    "text", ["-1234567", "0x1_0000", "+1234567", "1234567", "123456789", "１2345678", "1234567\n", 7]
)
def test_hex32_is_strict(text):
    with pytest.raises(ValueError, match="hex digits"):
        parse_hex32(text)


def test_hex_of_either_case_and_short_numbers_where_allowed():
    assert parse_hex32("FFffFFff") == 0xFFFFFFFF
    assert parse_hex32("f", padded=False) == 15
    assert parse_hex("AbCd", 2) == b"\xab\xcd"
    for wrong in ("abc", "zz", "ab cd", "abcdef", None, 5):
        with pytest.raises(ValueError, match="bytes of hex"):
            parse_hex(wrong, 2)
