import json
import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shedload.cgminer import repair, scan, text
from shedload.cgminer.codec import ReplyReader
from shedload.cgminer.repair import REPAIR_LIMIT, REPAIRS, HtmlPage, decode_json
from shedload.errors import Garbled
from tests.support.property import assert_split_invariant, damaged

CAPTURES = Path(__file__).parents[2] / "captures"
VOLCMINER = json.loads((CAPTURES / "other/volcminer-d1-rpc-malformed.json").read_text())
S19 = json.loads((CAPTURES / "antminer/s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())["responses"]

SAMPLES = {
    "nul_bytes": (b'{"STATUS":"S\0","id":1}\0\0', {"STATUS": "S", "id": 1}),
    "invalid_utf8": (b'{"Msg":"pool \xaa"}', {"Msg": "pool \ufffd"}),
    "leading_comma": (b',"id":1}', {"id": 1}),
    "illegal_escape": (b"""{"Firmware Version":"\\'20200917.22.REL\\'"}""", {"Firmware Version": "'20200917.22.REL'"}),
    "control_characters": (
        b'{"Msg":"ASC 0 set info: \nPS[0 1]","When":5}',
        {"Msg": "ASC 0 set info: PS[0 1]", "When": 5},
    ),
    "trailing_bytes": (b'{"STATS":[{"a":1}],"id":1}"}', {"STATS": [{"a": 1}], "id": 1}),
    "glued_objects": (VOLCMINER["malformed_raw"]["rpc:stats"].encode(), None),
    "missing_value": (
        b'{"bitmain-fan-ctrl" : ,"bitmain-fan-pwm" : "100","x":}',
        {"bitmain-fan-ctrl": None, "bitmain-fan-pwm": "100", "x": None},
    ),
    "stray_comma": (b'{"STATS":[,{"a":1,},{"b":2},],}', {"STATS": [{"a": 1}, {"b": 2}]}),
    "bare_nan": (
        b'{"MHS av":nan,"a":-nan,"b":inf,"c":[NaN,-inf],"d":"nan"}',
        {"MHS av": None, "a": None, "b": None, "c": [None, None], "d": "nan"},
    ),
    "member_list": (b'{"error_code":["329":"text","330":"[x]"]}', {"error_code": [{"329": "text", "330": "[x]"}]}),
    "missing_comma": (
        b'{"Upfreq Complete":"1""temp0":67.5,"b":{"c":2}"d":[3] "e":true "f":4}',
        {"Upfreq Complete": "1", "temp0": 67.5, "b": {"c": 2}, "d": [3], "e": True, "f": 4},
    ),
    "truncated": (
        b'{"STATUS":[{"STATUS":"S"}],"POOLS":[{"POOL":0},{"POOL":1,"URL":"stra',
        {"STATUS": [{"STATUS": "S"}], "POOLS": [{"POOL": 0}]},
    ),
    "duplicate_keys": (b'{"a":1,"a":2}\0', {"a": 2}),
}


def test_every_repair_has_a_sample_and_says_where_it_was_seen():
    assert {entry.name for entry in REPAIRS} | {"nul_bytes", "invalid_utf8", "duplicate_keys"} == set(SAMPLES)
    assert all(entry.seen_in for entry in REPAIRS)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_each_fault_is_mended_and_named(name):
    raw, expected = SAMPLES[name]
    decoded = decode_json(raw)
    if expected is not None:
        assert decoded.value == expected
    assert name in decoded.repairs
    allowed = {name, "nul_bytes"} if name == "duplicate_keys" else {name}
    assert set(decoded.repairs) == allowed


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_reader_gives_the_same_however_the_line_cuts(name):
    def feed(chunks):
        reader = ReplyReader()
        for chunk in chunks:
            reader.receive_data(chunk)
        reader.receive_eof()
        decoded = reader.decode()
        return decoded.value, decoded.repairs

    assert_split_invariant(feed, SAMPLES[name][0])


def test_the_recorded_glued_reply_reads_as_its_source_says():
    value = decode_json(SAMPLES["glued_objects"][0]).value
    for path, expected in VOLCMINER["expected"]["malformed stats repaired"].items():
        found = value
        for part in path.strip("/").split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert found == expected


def test_faults_add_up():
    raw = b'{"STATS":[{"v":"\xaa"}{"MHS":nan,"a":1,"a":2,}],"id":1}"}\0'
    decoded = decode_json(raw)
    assert decoded.value == {"STATS": [{"v": "\ufffd"}, {"MHS": None, "a": 2}], "id": 1}
    assert decoded.repairs == (
        "nul_bytes", "invalid_utf8", "trailing_bytes", "glued_objects", "stray_comma", "bare_nan", "duplicate_keys",
    )  # fmt: skip


def test_strings_are_left_as_they_are():
    inside = '}{ ,} [,{ :, nan ["1":"2"] }"'
    decoded = decode_json(orjson.dumps({"MM ID0": inside})[:-1] + b",}")
    assert decoded.value == {"MM ID0": inside}
    assert decoded.repairs == ("stray_comma",)


def test_a_truncated_reply_is_partial_and_a_mended_one_is_not():
    assert decode_json(SAMPLES["truncated"][0]).partial
    assert not decode_json(SAMPLES["glued_objects"][0]).partial
    assert not decode_json(b"{}").partial


def test_a_reply_cut_in_its_first_record_is_garbled():
    with pytest.raises(Garbled):
        decode_json(b'{"STATUS":[{"STATUS":"S","When":17')


def test_every_cut_of_a_recorded_reply_gives_complete_records_or_garbled():
    whole = orjson.dumps(S19["rpc:pools"])
    full = S19["rpc:pools"]["POOLS"]
    for end in range(1, len(whole)):
        try:
            decoded = decode_json(whole[:end])
        except Garbled:
            continue
        assert decoded.partial
        rows = decoded.value.get("POOLS", [])
        assert rows == full[: len(rows)]


def test_web_pages_and_bridge_texts_are_told_apart():
    with pytest.raises(HtmlPage) as page:
        decode_json(b"\r\n<!DOCTYPE html><html>404</html>")
    assert not page.value.retryable
    with pytest.raises(Garbled, match="web bridge") as bridge:
        decode_json(b"Socket connect failed: Connection refused\n")
    assert bridge.value.retryable
    assert not isinstance(bridge.value, HtmlPage)


@pytest.mark.parametrize("raw", [b"", b"\0\0", b" \n", b"hello", b"\xff" * 20, b'"', b"{", b"[[[[", b"\\", b"null\0"])
def test_nonsense_is_garbled_and_keeps_its_bytes(raw):
    with pytest.raises(Garbled) as error:
        decode_json(raw)
    assert error.value.raw == raw


def test_clean_replies_never_see_a_repair(monkeypatch):
    monkeypatch.setattr(repair, "_decode_broken", lambda raw: pytest.fail("a clean reply was repaired"))
    for key, value in S19.items():
        if key.startswith("rpc:"):
            assert decode_json(orjson.dumps(value)).value == value


def test_the_value_stays_out_of_reprs():
    assert "secret" not in repr(decode_json(b'{"pass":"secret"}'))


class TestBounds:
    def test_long_garbage_is_not_repaired(self, monkeypatch):
        monkeypatch.setattr(repair, "_strict", lambda text: pytest.fail("too long to repair"))
        with pytest.raises(Garbled, match="too long"):
            decode_json(b"[" * (REPAIR_LIMIT + 1))

    def test_each_mend_runs_once_and_each_change_is_parsed_once(self, monkeypatch):
        calls = []

        def counted(entry):
            return repair.Repair(
                entry.name, entry.seen_in, lambda text: (calls.append(entry.name), entry.mend(text))[1]
            )

        parses = []
        strict = repair._strict
        monkeypatch.setattr(repair, "REPAIRS", tuple(map(counted, REPAIRS)))
        monkeypatch.setattr(repair, "_strict", lambda text: (parses.append(1), strict(text))[1])
        for unit in (b'"\\', b"[", b",", b'{"a":', b'["a":1,', b"}{", b"[],", b'[{"a":1},"', b"nan "):
            calls.clear()
            parses.clear()
            with pytest.raises(Garbled):
                decode_json(b"x" + unit * 500)
            assert calls == [entry.name for entry in REPAIRS]
            assert len(parses) <= len(REPAIRS) + 1

    @pytest.mark.parametrize("module", [repair, scan, text])
    def test_no_pattern_can_look_back(self, module):
        """Unbounded repeats must be possessive: then a match costs each byte once, whatever a peer sends."""
        patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern)]
        assert patterns
        for pattern in patterns:
            source = pattern.pattern
            for greedy in _backtracking_repeats(re._parser.parse(source, pattern.flags & ~re.UNICODE)):
                pytest.fail(f"{source!r} repeats {greedy} without bound and can backtrack")

    def test_deep_nesting_is_garbled_not_a_recursion_error(self):
        for raw in (b"[" * 60_000, b'{"a":' * 10_000, b"[" * 2000 + b"]" * 2000, b"[" * 900 + b",]" + b"]" * 899):
            try:
                decode_json(raw)
            except Garbled:
                continue


def _backtracking_repeats(tree):
    for operator, argument in tree:
        name = str(operator)
        if name in ("MAX_REPEAT", "MIN_REPEAT") and str(argument[1]) == "MAXREPEAT":
            yield argument[2]
        for part in _parts(argument):
            yield from _backtracking_repeats(part)


def _parts(argument):
    if isinstance(argument, re._parser.SubPattern):
        yield argument
    elif isinstance(argument, tuple | list):
        for item in argument:
            yield from _parts(item)


def decodes_or_garbled(raw):
    try:
        decoded = decode_json(raw)
    except Garbled:
        return
    orjson.dumps(decoded.value)


@settings(max_examples=400)
@given(st.text('{}[]",:\\\0 a1n-\n', max_size=60).map(str.encode) | st.binary(max_size=60))
def test_any_bytes_give_a_value_or_garbled(raw):
    decodes_or_garbled(raw)


@settings(max_examples=150)
@given(st.sampled_from([orjson.dumps(value) for value in S19.values()]).flatmap(damaged))
def test_damaged_recordings_give_a_value_or_garbled(raw):
    decodes_or_garbled(raw)


@pytest.mark.parametrize("unit", [b"{}", b'""', b"}{", b'"a":,', b":,", b'""a', b"[", b"\\"], ids=repr)
def test_signs_without_end_are_not_mended(unit):
    # each sign costs the event loop; what is refused at once cannot be used to hold up the other rigs
    with pytest.raises(Garbled, match="too intricate"):
        decode_json(b'{"STATS":[1,,' + unit * (60_000 // len(unit)) + b"]}")
