"""From the bytes of a reply to a value: strict JSON first, then the known faults of each firmware, by name.

A clean reply pays one strict parse and nothing else. A broken one is mended by the table `REPAIRS`, one entry for each
fault that was seen in the field; the result says which of them were needed, so that they can be counted. What no repair
understands is `Garbled`, never a guess.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from shedload.cgminer.scan import last_complete_record, value_end
from shedload.errors import Garbled

REPAIR_LIMIT = 64 * 1024
"""Bytes of a broken reply that are worth mending: old builds cut at 64 KiB, the largest recorded socket reply has
21 KiB."""
MOST_SIGNS = 20_000
"""Quotes, brackets, commas, colons and backslashes of a broken reply that is worth mending: each costs the event loop
a microsecond, and a peer may send nothing else. Recorded replies have at most 0.32 of them a byte, 6,000 in all."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A parsed reply and the names of the faults that had to be mended (none for a clean one)."""

    value: Any = field(repr=False)
    repairs: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """True if the end of the reply was lost: fit for telemetry, never for read-modify-write."""
        return TRUNCATED in self.repairs


class HtmlPage(Garbled):
    """A web page came instead of JSON: this firmware has no such CGI, so asking again is of no use."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Repair:
    """One fault of one kind of firmware; `mend` returns its text unchanged where the fault is absent."""

    name: str
    seen_in: str
    mend: Callable[[str], str]


def decode_json(raw: bytes) -> Repaired:
    """Parse a reply, tolerantly if need be.

    Raises HtmlPage for a web page and Garbled for whatever else means nothing.
    """
    try:
        return Repaired(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return _decode_broken(raw)


def _decode_broken(raw: bytes) -> Repaired:
    if not raw.strip(b"\0 \t\r\n"):
        raise Garbled("empty reply", raw)
    if len(raw) > REPAIR_LIMIT:
        raise Garbled(f"broken JSON of {len(raw)} bytes, too long to repair", raw)
    _refuse_plain_text(raw)
    if sum(map(raw.count, _SIGNS)) > MOST_SIGNS:
        raise Garbled(f"broken JSON of more than {MOST_SIGNS} signs, too intricate to repair", raw)
    text, applied = _decode_text(raw)
    value = _strict(text) if applied else None
    for repair in REPAIRS:
        if value is not None:
            return _finish(value, text, applied)
        mended = repair.mend(text)
        if mended != text:
            text = mended
            applied.append(repair.name)
            value = _strict(text)
    if value is None:
        raise Garbled("neither JSON nor one of the known broken forms of it", raw)
    return _finish(value, text, applied)


def _refuse_plain_text(raw: bytes) -> None:
    head = raw[:256].lstrip(b"\0 \t\r\n\xef\xbb\xbf").lower()
    if head.startswith(b"<"):
        raise HtmlPage("a web page instead of JSON", raw)
    if head.startswith(b"socket connect failed"):
        raise Garbled("the rig's web bridge could not reach its miner", raw)


def _decode_text(raw: bytes) -> tuple[str, list[str]]:
    applied: list[str] = []
    if b"\0" in raw:
        raw = raw.replace(b"\0", b"")
        applied.append(NUL_BYTES)
    try:
        return raw.decode(), applied
    except UnicodeDecodeError:
        applied.append(INVALID_UTF8)
        return raw.decode(errors="replace"), applied


def _strict(text: str) -> Any | None:
    """The value of a strict parse; None for a failure. A bare `null` is no reply either."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _finish(value: Any, text: str, applied: list[str]) -> Repaired:
    if _has_duplicate_keys(text):
        applied.append(DUPLICATE_KEYS)  # the strict parser keeps the last, as the field rule wants
    return Repaired(value, tuple(applied))


def _has_duplicate_keys(text: str) -> bool:
    found = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        result = dict(members)
        found = found or len(result) != len(members)
        return result

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return False  # the slow parser's limits (depth, digits) are not the reply's fault
    return found


_SIGNS = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\")

# The mends. Each is one pass of a pattern that never looks back (possessive), so the work is linear in the text.
# Strings are matched first and put back as they are: `}{` inside an Avalon text must stay.

_STRING = r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)'
_KEEP = f"(?P<keep>{_STRING})"


def _compile(fault: str) -> re.Pattern[str]:
    return re.compile(f"{_KEEP}|{fault}", re.DOTALL)


_LEADING_COMMA = re.compile(r'\s*+,(?=\s*+")')
_CONTROL = re.compile(r"[\x00-\x1f]++")
_ANY_STRING = re.compile(_STRING, re.DOTALL)
_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')
_GLUED = _compile(r"\}\s*+(?=\{)")
_STRAY_AFTER = _compile(r"(?P<open>[\[{])\s*+,(?:\s*+,)*+")
_STRAY_BEFORE = _compile(r",(?:\s*+,)*+(?:\s*+(?P<close>[\]}]))?+")
_MISSING_VALUE = _compile(r":\s*+(?=[,}\]])")
_NOT_A_NUMBER = _compile(r"(?<![\w.])[-+]?(?i:nan|inf(?:inity)?)(?:\([^()]{0,40}\))?(?!\w)")
_VALUE_THEN_QUOTE = re.compile(rf'({_STRING}|[}}\]]|[\w.+-]++)(\s*+(?="))?', re.DOTALL)
_PAIR = rf"{_STRING}\s*+:\s*+(?:{_STRING}|[\w.+-]++)\s*+"
_MEMBER_LIST = _compile(rf"\[\s*+(?P<pairs>{_PAIR}(?:,\s*+{_PAIR})*+)\]")


def _replace(pattern: re.Pattern[str], text: str, new: Callable[[re.Match[str]], str]) -> str:
    return pattern.sub(lambda match: match[0] if match["keep"] is not None else new(match), text)


def _give_leading_brace(text: str) -> str:
    return _LEADING_COMMA.sub("{", text, count=1) if text.lstrip()[:1] == "," else text


def _drop_control_characters(text: str) -> str:
    """Only inside strings: a line end between tokens is no fault."""
    if not _CONTROL.search(text):
        return text
    return _ANY_STRING.sub(lambda match: _CONTROL.sub("", match[0]), text)


def _drop_illegal_escapes(text: str) -> str:
    return _ESCAPE.sub(lambda match: match[0] if match[1] else "", text)


def _separate_glued_objects(text: str) -> str:
    return _replace(_GLUED, text, lambda _: "},")


def _drop_stray_commas(text: str) -> str:
    text = _replace(_STRAY_AFTER, text, lambda match: match["open"])
    return _replace(_STRAY_BEFORE, text, lambda match: match["close"] or ",")


def _null_for_missing_values(text: str) -> str:
    return _replace(_MISSING_VALUE, text, lambda _: ":null")


def _null_for_bare_nan(text: str) -> str:
    return _replace(_NOT_A_NUMBER, text, lambda _: "null")


def _insert_missing_commas(text: str) -> str:
    return _VALUE_THEN_QUOTE.sub(lambda match: match[0] if match[2] is None else match[1] + ",", text)


def _objects_for_member_lists(text: str) -> str:
    return _replace(_MEMBER_LIST, text, lambda match: f"[{{{match['pairs']}}}]")


def _cut_after_first_value(text: str) -> str:
    encoded = text.encode()
    end = value_end(encoded)
    return text if end is None or not encoded[end:].strip() else encoded[:end].decode()


def _keep_complete_records(text: str) -> str:
    encoded = text.encode()
    found = last_complete_record(encoded)
    return text if found is None else encoded[: found[0]].decode() + found[1]


NUL_BYTES = "nul_bytes"
INVALID_UTF8 = "invalid_utf8"
DUPLICATE_KEYS = "duplicate_keys"
TRUNCATED = "truncated"

REPAIRS: tuple[Repair, ...] = (
    Repair("leading_comma", 'Avalon: a reply that is only `,"id":1}`', _give_leading_brace),
    Repair("illegal_escape", "Whatsminer: `\\'` around the firmware version", _drop_illegal_escapes),
    Repair("control_characters", "Whatsminer, Avalon: line ends inside values", _drop_control_characters),
    Repair("trailing_bytes", 'S9k: `"}` after the last brace', _cut_after_first_value),
    Repair("glued_objects", "bmminer of S9, L3+, D3, T9; VolcMiner: `}{` in STATS", _separate_glued_objects),
    Repair("missing_value", 'Antminer get_miner_conf.cgi: `"bitmain-fan-ctrl" : ,`', _null_for_missing_values),
    Repair("stray_comma", "older bmminer, Whatsminer: `[,{` `,}` `,]`", _drop_stray_commas),
    Repair("bare_nan", "Avalon at boot, Whatsminer: nan, inf, -nan", _null_for_bare_nan),
    Repair("member_list", 'Whatsminer API 2.0.4: `["329":"text"]`', _objects_for_member_lists),
    Repair("missing_comma", 'btminer around 2023-01-06: `""temp0"`', _insert_missing_commas),
    Repair(TRUNCATED, "huge error lists; slow readers: no closing brace", _keep_complete_records),
)
"""In the order in which they are tried; `nul_bytes` and `invalid_utf8` come before, `duplicate_keys` is noted after."""
