import json
from pathlib import Path

import pytest

from shedload.cgminer.codec import decode_reply
from shedload.cgminer.parse import Reply
from shedload.cgminer.repair import Repaired
from shedload.errors import Garbled, Refused, Unauthorized, Unsupported

CAPTURES = Path(__file__).parents[2] / "captures"


def reply(value):
    return Reply.of(Repaired(value))


def recorded():
    for path in sorted(CAPTURES.glob("*/*.json")):
        for key, value in json.loads(path.read_text())["responses"].items():
            if key.startswith("rpc:") and isinstance(value, dict) and "STATUS" in value:
                yield pytest.param(value, id=f"{path.stem}-{key}")


@pytest.mark.parametrize("value", list(recorded()))
def test_recorded_replies_have_a_status_and_sections(value):
    view = reply(value).raise_for_status()
    assert view.status.letter in ("S", "I")
    for name, section in value.items():
        if name != "STATUS" and isinstance(section, list):
            assert view.rows(name) == section
            assert view.row(name) == section[0]


class TestStatus:
    def test_list_of_one(self):
        status = reply(
            {"STATUS": [{"STATUS": "S", "When": 5, "Code": 11, "Msg": "Summary", "Description": "x"}]}
        ).status
        assert (status.letter, status.code, status.message, status.when, status.description) == (
            "S", 11, "Summary", 5.0, "x",
        )  # fmt: skip

    def test_object_without_code_and_with_small_when(self):
        status = reply({"STATUS": {"STATUS": "S", "when": 1766099123, "Msg": "stats", "api_version": "1.0.0"}}).status
        assert (status.letter, status.code, status.when) == ("S", None, 1766099123.0)

    def test_letter_with_its_fields_beside_it(self):
        status = reply({"STATUS": "S", "When": 1613790817, "Code": 131, "Msg": {"a": 1}, "Description": ""}).status
        assert (status.letter, status.code, status.message) == ("S", 131, {"a": 1})

    @pytest.mark.parametrize("text", ["BYE", "RESTART"])
    def test_word(self, text):
        status = reply({"STATUS": text, "id": 1}).status
        assert (status.letter, status.message) == ("S", text)

    @pytest.mark.parametrize("value", [{}, {"STATUS": []}, {"STATUS": 5}, {"STATUS": [None]}, {"STATUS": None}])
    def test_absent_or_senseless(self, value):
        assert reply(value).raise_for_status().status.letter == ""

    def test_text_form(self):
        view = Reply.of(decode_reply(b"STATUS=E,When=1,Code=14,Msg=Invalid command,Description=cgminer|\0"))
        with pytest.raises(Unsupported):
            view.raise_for_status()


class TestRefusals:
    @pytest.mark.parametrize(
        ("code", "message", "kind"),
        [
            (45, "Access denied to 'addpool' command", Unauthorized),
            (None, "Access denied to 'addpool' command", Unauthorized),
            (14, "Invalid command", Unsupported),
            (None, "Invalid command", Unsupported),
            (120, "ASC 0 set failed: bad value", Refused),
            (51, "Cannot disable last active pool", Refused),
        ],
    )
    def test_the_class_says_what_to_do(self, code, message, kind):
        members = {"STATUS": "E", "Msg": message} | ({} if code is None else {"Code": code})
        with pytest.raises(Refused) as error:
            reply({"STATUS": [members], "id": 1}).raise_for_status()
        assert type(error.value) is kind
        assert error.value.code == code
        assert message in error.value.detail

    def test_fatal_is_refused_and_warning_is_not(self):
        with pytest.raises(Refused):
            reply({"STATUS": [{"STATUS": "F", "Code": -1}]}).raise_for_status()
        for letter in "SIW":
            reply({"STATUS": [{"STATUS": letter, "Code": 118}]}).raise_for_status()

    def test_a_rejected_pool_does_not_leak_its_password(self):
        members = {"STATUS": "E", "Code": 53, "Msg": "Invalid addpool details 'url,user,hunter2'"}
        with pytest.raises(Refused) as error:
            reply({"STATUS": [members]}).raise_for_status()
        assert "hunter2" not in str(error.value)

    def test_reprs_hold_neither_value_nor_message(self):
        view = reply({"STATUS": "S", "Msg": "hunter2", "pass": "hunter2"})
        assert "hunter2" not in repr(view) + repr(view.status)


class TestSections:
    def test_sections_of_other_shapes(self):
        view = reply({"INFO": {"type": "x"}, "STATS": [], "BAD": "text", "MIXED": [None, {"a": 1}, 5]})
        assert view.rows("INFO") == [{"type": "x"}]
        assert view.rows("STATS") == view.rows("BAD") == view.rows("ABSENT") == []
        assert view.row("STATS") == {}
        assert view.rows("MIXED") == [{"a": 1}]

    def test_joined_reply_as_list_or_object(self):
        part = {"STATUS": [{"STATUS": "S"}], "SUMMARY": [{"Elapsed": 5}], "id": 1}
        for shape in ([part], part):
            joined = reply({"summary": shape, "id": 1}).joined("summary")
            assert joined.raise_for_status().row("SUMMARY") == {"Elapsed": 5}

    def test_a_part_can_be_refused_alone(self):
        joined = reply({"quit": [{"STATUS": [{"STATUS": "E", "Code": 45, "Msg": "x"}]}], "id": 1}).joined("quit")
        with pytest.raises(Unauthorized):
            joined.raise_for_status()

    def test_a_rig_that_cannot_join_says_so(self):
        with pytest.raises(Unsupported):
            reply({"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid command"}]}).joined("summary")
        with pytest.raises(Garbled, match="'summary'"):
            reply({"pools": [{}]}).joined("summary")


@pytest.mark.parametrize("value", [[], None, 5, "text"])
def test_a_reply_that_is_no_object_is_garbled(value):
    with pytest.raises(Garbled):
        reply(value)
