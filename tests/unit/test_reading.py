"""Numbers out of what instruments say."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedload.errors import Garbled
from shedload.reading import read_number

SHELLY = b'{"emeters":[{"power":1234.5,"is_valid":true},{"power":-20,"is_valid":true}],"total":"  "}'
TASMOTA = b'{"Time":"2025-01-05T10:00:00","ENERGY":{"Power":"812","Voltage":231}}'


@pytest.mark.parametrize(
    ("raw", "value"),
    [(b"1234.5", 1234.5), (b" -7\r\n", -7.0), (b'"42"', 42.0), (b"1.5e3", 1500.0), (b"+.5", 0.5), (b"0", 0.0)],
)
def test_bare_numbers(raw: bytes, value: float) -> None:
    assert read_number(raw, None) == value


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        (SHELLY, "emeters.0.power", 1234.5),
        (SHELLY, "emeters.1.power", -20.0),
        (TASMOTA, "ENERGY.Power", 812.0),
        (b"[1,2]", "1", 2.0),
        (b'{"0":{"p":3}}', "0.p", 3.0),
    ],
)
def test_fields_of_json(raw: bytes, field: str, value: float) -> None:
    assert read_number(raw, field) == value


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b" ", b"NaN", b"nan", b"inf", b"-Infinity", b"1,5", b"1 234", b"0x10", b"12W", b"1e999", b"1_000"),
        *(b"--1", b"\xff\xfe1", b"unavailable", b"\xd9\xa1\xd9\xa2", b"1" * 65, b"[1]", b'{"power":1}', b"1\x00"),
    ],
)
def test_what_is_no_bare_number(raw: bytes) -> None:
    with pytest.raises(Garbled):
        read_number(raw, None)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        *((b"12", "power"), (b"<html>", "power"), (b'{"power":null}', "power"), (b'{"power":true}', "power")),
        *((b'{"power":NaN}', "power"), (b'{"power":1e999}', "power"), (b'{"power":{}}', "power")),
        *((SHELLY, "emeters.2.power"), (SHELLY, "emeters.-1.power"), (SHELLY, "emeters.power"), (SHELLY, "total")),
        *((SHELLY, "power"), (b'{"power":"1,5"}', "power"), (b'"power"', "0"), (b"[" * 5000, "0")),
    ],
)
def test_what_is_no_field(raw: bytes, field: str) -> None:
    with pytest.raises(Garbled):
        read_number(raw, field)


def test_the_error_quotes_little_of_what_came() -> None:
    with pytest.raises(Garbled) as caught:
        read_number(orjson.dumps({"power": "x" * 5000}), "power")
    assert len(caught.value.detail) < 120


@given(st.binary(max_size=200), st.sampled_from([None, "a", "a.0", "0"]))
def test_any_bytes_are_a_finite_number_or_garbled(raw: bytes, field: str | None) -> None:
    try:
        value = read_number(raw, field)
    except Garbled:
        return
    assert math.isfinite(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back(value: float) -> None:
    assert read_number(orjson.dumps({"a": [value]}), "a.0") == value
    assert read_number(repr(value).encode(), None) == value
