"""What is made of long replies, and that what a rig says is bounded and harmless before anybody keeps it."""

import json

import pytest

from drivers._ask import decode_value
from drivers._pools import LONGEST_FIELD, pool_readings
from shedload.cgminer.repair import REPAIR_LIMIT
from shedload.errors import Garbled, Unauthorized

LONG = {"STATS": [{}, {"x": ["y" * 1000] * 100}]}


@pytest.mark.parametrize("end", [b"", b"\0", b"\n\0", b"\0\0 \n"], ids=repr)
def test_long_clean_reply_is_read_however_it_ends(end):
    raw = json.dumps(LONG).encode() + end
    assert len(raw) > REPAIR_LIMIT
    assert decode_value(raw) == (LONG, ())


@pytest.mark.parametrize("unit", [b"\0", b"x\0", b"[", b"{}", b'"'], ids=repr)
def test_long_broken_reply_is_not_looked_through(unit):
    with pytest.raises(Garbled, match="too long to repair"):
        decode_value(b"{" + unit * (REPAIR_LIMIT // len(unit) + 1))


def test_what_a_pool_row_says_is_cut():
    row = {"URL": "stratum+tcp://" + "a" * 10_000, "User": "u" * 10_000}
    (found,) = pool_readings([row])
    assert len(found.url) == len(found.user) == LONGEST_FIELD


def test_an_error_that_quotes_a_rig_is_one_printable_line():
    error = Unauthorized("E 45: \x1b[2J\r\nforged line\u202e\0" + "x" * 1000)
    assert error.detail.isprintable()
    assert len(error.detail) == 300
    assert str(error) == error.detail
