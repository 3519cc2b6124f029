"""One tolerant reader for each kind of value that CGMiner dialects print: numbers, lists, temperatures, times, words.

None always means that the rig did not say; zero is a measurement. These functions run a hundred times for each
reading of a rig, so the common shapes come first and cost little.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, cast

from shedload.units import Celsius, Seconds

UNSET: Final = 2**64 - 1
"""`Best Share` of a miner that has none yet; no real field comes near it."""


def number(value: object) -> float | None:
    """A number in the unit in which it is written, or None.

    Takes numbers and text with separators ("86,344.1"), a decimal prefix ("12.5K", "3.2kW") or a unit ("58.94W",
    "4052.00 RPM", "2.732%" as 2.732). nan, inf, 2^64-1, truth values and units that are not in the table are None.
    """
    kind = type(value)
    if kind is float or kind is int:
        return float(value) if -UNSET < value < UNSET else None  # type: ignore[arg-type, operator]
    if kind is not str or not value:
        return None
    try:
        result = float(value)  # type: ignore[arg-type]
    except ValueError:
        return _number_with_unit(value)  # type: ignore[arg-type]
    return result if -UNSET < result < UNSET and "_" not in value else None  # type: ignore[operator]


def dash_list(value: object) -> list[float]:
    """The numbers of "73-45-64-65", aware of signs ("-5--6-12" is -5, -6, 12); empty for anything else.

    Lists of numbers and single numbers (other firmware, the same field) are taken as well.
    """
    if type(value) is not str:
        items = value if isinstance(value, list) else [value]
        return [result for result in map(number, items) if result is not None]
    try:
        result = list(map(float, value.split("-")))
    except ValueError:
        return _signed_dash_list(value)
    return result if isfinite(sum(result)) else []


def temperature(value: object) -> Celsius | None:
    """Degrees, or None for the values that mean "no sensor" (-273, 0, 255) and for what no sensor can say."""
    found = number(value)
    return Celsius(found) if found and _COLDEST < found < _HOTTEST else None


def temperatures(value: object) -> list[Celsius]:
    """The readings of a dash list that come from sensors; empty if none does."""
    found = dash_list(value)
    if found and min(found) > 0.0 and max(found) < _HOTTEST:
        return cast("list[Celsius]", found)  # nothing to leave out
    return [Celsius(item) for item in found if item and _COLDEST < item < _HOTTEST]


def duration(value: object) -> Seconds | None:
    """Seconds, from a number or from "0:00:12" (hours first; days before them where there are four parts)."""
    if not isinstance(value, str) or ":" not in value:
        found = number(value)
        return None if found is None or found < 0 else Seconds(found)
    match = _CLOCK.fullmatch(value.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return Seconds(days * 86_400 + hours * 3_600 + minutes * 60 + seconds)


def share_age(value: object, now: float | None) -> Seconds | None:
    """Seconds since `Last Share Time`, which is an age ("0:00:12"), a time, or 0 for never (None).

    `now` is the rig's own clock (`Status.when` of the same reply): Avalon counts both from its start, and rigs' clocks
    may stand in 1970. A time in the future of that clock is None, beyond a few seconds of rounding.
    """
    if isinstance(value, str) and ":" in value:
        return duration(value)
    then = number(value)
    if not then or then < 0 or now is None or then > now + _CLOCK_SLACK:
        return None
    return Seconds(max(0.0, now - then))


def member(row: Mapping[str, Any], name: str) -> Any:
    """A field by its right name, also where the firmware misspells it; None if it is missing."""
    found = row.get(name)
    return row.get(_MISSPELT_NAMES.get(name, "")) if found is None else found


def word(value: object) -> str | None:
    """A word such as a pool's status, with the known misspellings put right; None for empty and unknown."""
    if not isinstance(value, str):
        return None
    text = value.strip()
    return _MISSPELT_WORDS.get(text, text) or None


_MISSPELT_NAMES = {"Pool Stale%": "Pool Stale%%", "Temperature": "Tenperature"}
"""Antminer stock firmware."""
_MISSPELT_WORDS = {"Deed": "Dead", "unknow": "", "unknown": ""}

_COLDEST: Final = -100.0
_HOTTEST: Final = 200.0
"""Between these is what a sensor on a board can say; 0, -273 and 255 stand for a missing one."""
_CLOCK_SLACK: Final = 5.0
"""Seconds. Both stamps are whole seconds of one clock; a reply is made in less than five."""

_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,6})?)", re.ASCII)
_DASHED = re.compile(r"-?\d+(?:\.\d+)?(?:--?\d+(?:\.\d+)?)*+", re.ASCII)
_DASHED_ITEM = re.compile(r"(?:^|-)(-?\d+(?:\.\d+)?)", re.ASCII)
_LONGEST_LIST: Final = 4096
"""Characters; the longest list seen has a temperature for each of some 400 chips."""
_LONGEST_NUMBER: Final = 40
_WITH_UNIT = re.compile(r"([-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?)\s*([A-Za-z%°/]*)", re.ASCII)
_SCALE: Mapping[str, float] = {
    **dict.fromkeys(("", "%", "W", "V", "A", "C", "°C", "RPM", "rpm", "Rpm", "MHz", "s", "S"), 1.0),
    **dict.fromkeys(("K", "k", "kW", "KW"), 1e3),
    **dict(zip("MGTPE", (1e6, 1e9, 1e12, 1e15, 1e18), strict=True)),
}


def _number_with_unit(text: str) -> float | None:
    text = text.strip()
    match = _WITH_UNIT.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    scale = _SCALE.get(match[2]) if match else None
    if match is None or scale is None:
        return None
    return float(match[1].replace(",", "")) * scale


def _signed_dash_list(text: str) -> list[float]:
    text = text.strip()
    if len(text) > _LONGEST_LIST or not _DASHED.fullmatch(text):
        return []
    return [float(item) for item in _DASHED_ITEM.findall(text)]
