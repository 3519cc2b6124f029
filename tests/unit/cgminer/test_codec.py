import json
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shedload.cgminer import scan
from shedload.cgminer.codec import (
    INVALID_JSON,
    MAX_REQUEST,
    MISSING_COMMAND,
    ReplyReader,
    RequestError,
    decode_reply,
    encode_reply,
    encode_request,
    parse_request,
)
from shedload.errors import Garbled, NoAnswer

CAPTURES = Path(__file__).parents[2] / "captures"


def recorded_replies():
    for path in sorted(CAPTURES.glob("*/*.json")):
        for key, value in json.loads(path.read_text())["responses"].items():
            if key.startswith("rpc:") and isinstance(value, dict):
                yield pytest.param(value, id=f"{path.stem}-{key}")


def read(data: bytes, size: int, eof: bool = True) -> ReplyReader:
    reader = ReplyReader()
    for start in range(0, len(data), size):
        reader.receive_data(data[start : start + size])
        if reader.complete:
            break
    if eof:
        reader.receive_eof()
    return reader


class TestRequests:
    def test_json_form(self):
        assert encode_request("summary") == b'{"command":"summary"}'
        assert encode_request("ascset", "0,reboot,0") == b'{"command":"ascset","parameter":"0,reboot,0"}'

    def test_text_form(self):
        assert encode_request("summary", form="text") == b"summary"
        assert encode_request("ascset", (0, "reboot", 0), form="text") == b"ascset|0,reboot,0"

    def test_new_api_stands_at_the_top_level(self):
        assert orjson.loads(encode_request("stats", new_api=True)) == {"command": "stats", "new_api": True}

    def test_pool_verbs_escape_their_fields(self):
        request = orjson.loads(encode_request("addpool", ("stratum+tcp://p:3333", "a,b", "p|w\\d")))
        assert request["parameter"] == "stratum+tcp://p:3333,a\\,b,p\\|w\\\\d"

    def test_ascset_keeps_commas_of_the_last_field_and_refuses_others(self):
        assert encode_request("ascset", (0, "ip", "s,10.0.0.2"), form="text") == b"ascset|0,ip,s,10.0.0.2"
        with pytest.raises(ValueError, match="no escape"):
            encode_request("ascset", (0, "a,b", "c"))

    @pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "\x7f", "\x1b[2J"])
    def test_control_characters_are_refused_without_repeating_them(self, bad):
        with pytest.raises(ValueError) as refusal:
            encode_request("addpool", ("url", "user", "secret" + bad))
        assert "secret" not in str(refusal.value)
        with pytest.raises(ValueError):
            encode_request(bad)

    def test_a_request_that_one_recv_cannot_hold_is_refused(self):
        frame = len(b'{"command":"save","parameter":""}')
        assert len(encode_request("save", "x" * (MAX_REQUEST - frame))) == MAX_REQUEST
        with pytest.raises(ValueError, match="4095"):
            encode_request("save", "x" * (MAX_REQUEST - frame + 1))

    @pytest.mark.parametrize("command", ["{x", "a|b", ""])
    def test_commands_that_the_text_form_cannot_carry(self, command):
        with pytest.raises(ValueError):
            encode_request(command, form="text")

    def test_extra_members_do_not_fit_the_text_form(self):
        with pytest.raises(ValueError):
            encode_request("stats", form="text", new_api=True)


class TestServerSide:
    def test_json_request_with_trailing_newline_or_nul(self):
        for tail in (b"", b"\n", b"\0"):
            request = parse_request(b'{"command":"ascset","parameter":"0,help","x":1}' + tail)
            assert (request.commands, request.parameter, request.form) == (("ascset",), "0,help", "json")
            assert request.extra == {"x": 1}

    def test_text_request(self):
        request = parse_request(b"addpool|url,user,pa|ss\n")
        assert (request.commands, request.parameter, request.form) == (("addpool",), "url,user,pa|ss", "text")
        assert "pa|ss" not in repr(request)

    def test_numbers_become_text(self):
        assert parse_request(b'{"command":"asc","parameter":0}').parameter == "0"
        assert parse_request(b'{"command":"asc","parameter":true}').parameter is None

    def test_joined_commands_run_once_and_lose_the_parameter(self):
        request = parse_request(b'{"command":"summary+ +pools+summary","parameter":"7"}')
        assert (request.commands, request.joined, request.parameter) == (("summary", "pools"), True, None)

    def test_whatsminer_spelling(self):
        assert parse_request(b'{"cmd":"get_version"}').commands == ("get_version",)

    @pytest.mark.parametrize(
        ("data", "code"),
        [(b'{"command":', INVALID_JSON), (b"{}", MISSING_COMMAND), (b'{"command":5}', MISSING_COMMAND)],
    )
    def test_errors_carry_the_code_of_cgminer(self, data, code):
        with pytest.raises(RequestError) as error:
            parse_request(data)
        assert error.value.code == code

    def test_what_is_beyond_one_recv_is_lost(self):
        assert parse_request(b"x" * 5000).commands == ("x" * 4095,)

    @given(st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=40))
    def test_a_parameter_survives_the_way_there(self, parameter):
        assert parse_request(encode_request("save", parameter)).parameter == parameter

    @given(st.binary(max_size=200))
    def test_any_bytes_give_a_request_or_a_request_error(self, data):
        for request in (data, b"{" + data):
            code = None
            try:
                parse_request(request)
            except RequestError as error:
                code = error.code
            assert code in (None, INVALID_JSON, MISSING_COMMAND)


class TestReplyReader:
    @pytest.mark.parametrize("value", list(recorded_replies()))
    @pytest.mark.parametrize("ending", [b"\0", b"", b"\n\0\0"])
    def test_recorded_replies_cut_anywhere_end_where_they_end(self, value, ending):
        data = encode_reply(value)[:-1] + ending
        for size in (1, 7, 1448, len(data)):
            reader = read(data, size, eof=False)
            assert reader.complete
            assert reader.raw == encode_reply(value)[:-1]
            assert reader.decode().value == value
            assert reader.decode().repairs == ()

    def test_a_nul_inside_a_value_does_not_end_the_reply(self):
        data = b'{"a":"x\0y","b":1}\0'
        for size in range(1, len(data) + 1):
            decoded = read(data, size).decode()
            assert decoded.value == {"a": "xy", "b": 1}
            assert decoded.repairs == ("nul_bytes",)

    def test_bytes_behind_the_value_are_dropped_wherever_the_cut_falls(self):
        data = b'{"a":[1]}"}\0'
        assert {read(data, size).raw for size in range(1, len(data) + 1)} == {b'{"a":[1]}'}

    def test_escapes_and_brackets_in_strings_do_not_end_it_early(self):
        value = {"a": 'q"}\\', "b": "]}{", "c": [["\\\\"]]}
        data = orjson.dumps(value)
        for size in range(1, len(data) + 1):
            reader = read(data, size, eof=False)
            assert reader.complete
            assert reader.decode().value == value

    def test_text_form_ends_at_its_nul_or_at_eof(self):
        data = b"STATUS=S,When=1,Code=11,Msg=a\\|b\\,c,Description=d|SUMMARY,Elapsed=5|\0"
        for size in (1, 5, 200):
            assert read(data, size, eof=False).decode().value == {
                "STATUS": [{"STATUS": "S", "When": "1", "Code": "11", "Msg": "a|b,c", "Description": "d"}],
                "SUMMARY": [{"Elapsed": "5"}],
            }
        assert read(data[:-2], 200).decode().value["SUMMARY"] == [{"Elapsed": "5"}]

    def test_closed_without_a_byte_is_no_answer(self):
        reader = read(b"", 1)
        with pytest.raises(NoAnswer, match="may not allow"):
            reader.decode()

    def test_decoding_before_the_end_is_no_answer(self):
        reader = ReplyReader()
        reader.receive_data(b'{"a":')
        with pytest.raises(NoAnswer):
            reader.decode()

    def test_endless_replies_stop_at_the_cap(self):
        for size in (1, 10, 300):
            reader = ReplyReader(limit=100)
            for _ in range(0, 300, size):
                reader.receive_data(b'{"a":"' + b"x" * (size - 6) if size > 6 else b"[")
            assert reader.complete
            assert len(reader.raw) <= 100
            with pytest.raises(Garbled, match="larger than 100 bytes"):
                reader.decode()

    def test_a_reply_that_just_fits_the_cap_is_taken(self):
        data = orjson.dumps({"a": "x" * 50})
        reader = ReplyReader(limit=len(data))
        reader.receive_data(data)
        assert reader.decode().value == {"a": "x" * 50}

    @settings(max_examples=300)
    @given(st.text('{}[]",:\\\0| a1\n', max_size=40).map(str.encode))
    def test_the_cut_never_changes_the_result(self, data):
        results = set()
        for size in range(1, len(data) + 1):
            reader = read(data, size)
            results.add((reader.raw, reader.complete, reader.failure))
        assert len(results) <= 1

    def test_a_dripping_peer_costs_linear_work(self, monkeypatch):
        """Closing bytes inside a long string, one by one: each is looked at once, not once for each later one."""
        looked_at = []

        class Counting:
            def __init__(self, pattern):
                self.pattern = pattern

            def match(self, buffer, position):
                looked_at.append(len(buffer) - position)
                return self.pattern.match(buffer, position)

        monkeypatch.setattr(scan, "_STRING_REST", Counting(scan._STRING_REST))
        reader = ReplyReader()
        reader.receive_data(b'{"a":"}')
        for _ in range(2000):
            reader.receive_data(b"}")
        assert len(looked_at) >= 2000
        assert sum(looked_at) <= 2 * 2000


def test_plain_text_and_html_are_garbled():
    for raw in (b"Socket connect failed: Connection refused\n", b"<html></html>"):
        with pytest.raises(Garbled):
            decode_reply(raw)


TEXT_REPLY = {
    "STATUS": [{"STATUS": "S", "When": 5, "Code": 7, "Msg": "1 Pool(s)", "Description": "a=b|c,d\\"}],
    "POOLS": [{"POOL": 0, "URL": "stratum+tcp://p:1"}, {"POOL": 1, "URL": "x,y"}],
    "id": 1,
}


class TestTextForm:
    def test_there_and_back(self):
        encoded = encode_reply(TEXT_REPLY, form="text")
        assert encoded.endswith(b"|\0")
        decoded = decode_reply(encoded).value
        expected = {
            name: [{k: str(v) for k, v in row.items()} for row in rows]
            for name, rows in TEXT_REPLY.items()
            if name != "id"
        }
        assert decoded == expected

    @given(st.binary(max_size=120))
    def test_any_bytes_give_sections_or_garbled(self, data):
        try:
            decoded = decode_reply(b"STATUS=" + data)
        except Garbled:
            return
        assert isinstance(decoded.value, dict)

    def test_too_many_records_are_garbled(self):
        with pytest.raises(Garbled, match="records"):
            decode_reply(b"STATUS=S|" + b"A=1|" * 20_000)
