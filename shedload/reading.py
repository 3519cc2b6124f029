"""One number out of what an instrument says: a bare number, or one field of a JSON document.

bytes of an HTTP answer or an MQTT message --read_number()--> float, still in the instrument's own unit
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from shedload.errors import Garbled

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
"""Plain decimal only: no thousands separators, no decimal comma, no NaN, no Infinity."""
LONGEST_NUMBER = 64
"""Characters; a double prints in 24."""
SHOWN = 60
"""Characters of foreign text that an error quotes."""


def read_number(raw: bytes, field: str | None) -> float:
    """The finite number at the dotted path `field` ("emeters.0.power"), or the whole of `raw`. Raises Garbled."""
    if field is None:
        return _bare(raw)
    value = _document(raw)
    for step in field.split("."):
        value = _enter(value, step, field)
    return _finite(value, f"field {field}")


def _bare(raw: bytes) -> float:
    """Some publishers put quotes around the number: JSON text is as good as plain text."""
    text = raw.strip().decode("utf-8", "replace")
    if text.startswith(("{", "[")):
        raise Garbled("a JSON document instead of a bare number: name the field", raw)
    return _finite(text.strip('"'), "the reading")


def _document(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Garbled(f"not JSON: {error.msg}", raw) from None


def _enter(value: Any, step: str, field: str) -> Any:
    if isinstance(value, Mapping) and step in value:
        return value[step]
    if isinstance(value, Sequence) and not isinstance(value, str) and step.isascii() and step.isdigit():
        place = int(step[:9])
        if place < len(value):
            return value[place]
    raise Garbled(f"no {step!r} on the way to the field {field}")


def _finite(value: Any, what: str) -> float:
    if isinstance(value, str):
        if len(value) > LONGEST_NUMBER or NUMBER.fullmatch(value) is None:
            raise Garbled(f"{what} is {value[:SHOWN]!r}, not a number")
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Garbled(f"{what} is {str(value)[:SHOWN]!r}, not a number")
    number = float(value)
    if not math.isfinite(number):
        raise Garbled(f"{what} is not finite")
    return number
