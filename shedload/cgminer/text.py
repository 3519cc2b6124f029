"""The text form of the CGMiner API: `STATUS=S,When=..,Code=..|SUMMARY,Elapsed=..|`, mapped to and from the JSON shape.

Values stay text on the way in: `shedload.cgminer.parse` reads numbers out of text anyway.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shedload.errors import Garbled

_SECTION_OF_RECORD = {"POOL": "POOLS", "ASC": "DEVS", "PGA": "DEVS"}
"""Records whose JSON section has another name than the record itself."""
_RECORD_OF_SECTION = {"POOLS": "POOL", "DEVS": "ASC"}
_MAX_RECORDS = 10_000
"""A reply of 1 MiB holds some thousands of records; more is not a miner."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = re.compile(r"[|,=\\]")
_RECORD = re.compile(r"(?:[^\\|]++|\\.)++", re.DOTALL)
_FIELD = re.compile(r"(?:[^\\,]++|\\.)++", re.DOTALL)
_NAME = re.compile(r"(?:[^\\=]++|\\.)*+", re.DOTALL)


def decode_text(raw: bytes) -> dict[str, list[dict[str, str]]]:
    """Sections by their JSON names, each a list of rows; raises Garbled for what has no sections."""
    text = raw.replace(b"\0", b"").decode(errors="replace").strip()
    sections: dict[str, list[dict[str, str]]] = {}
    for count, record in enumerate(_records(text)):
        if count >= _MAX_RECORDS:
            raise Garbled(f"text reply with more than {_MAX_RECORDS} records", raw)
        name, row = _row(record)
        sections.setdefault(_SECTION_OF_RECORD.get(name, name), []).append(row)
    if not sections:
        raise Garbled("empty text reply", raw)
    return sections


def encode_text(value: Mapping[str, Any]) -> bytes:
    """The text form of a reply in JSON shape (without the final NUL); `id` is left out as cgminer does."""
    records = [
        _encode_record(section, row)
        for section, rows in value.items()
        if section != "id"
        for row in (rows if isinstance(rows, list) else [rows])
    ]
    return "".join(f"{record}|" for record in records).encode()


def _records(text: str) -> Iterator[str]:
    if "\\" not in text:
        return (part for part in text.split("|") if part)
    return (match[0] for match in _RECORD.finditer(text))


def _row(record: str) -> tuple[str, dict[str, str]]:
    """Name of the section and the fields; the first field is a bare name (SUMMARY) or name and index (POOL=0)."""
    fields = record.split(",") if "\\" not in record else [match[0] for match in _FIELD.finditer(record)]
    row: dict[str, str] = {}
    for item in fields:
        key, value = _split(item)
        if value is not None:
            row[key] = value
    return _split(fields[0])[0] if fields else "", row


def _split(text: str) -> tuple[str, str | None]:
    if "\\" not in text:
        name, equals, rest = text.partition("=")
        return name.strip(), rest if equals else None
    match = _NAME.match(text)
    end = match.end() if match else len(text)
    value = _unescape(text[end + 1 :]) if text[end : end + 1] == "=" else None
    return _unescape(text[:end]).strip(), value


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _encode_record(section: str, row: object) -> str:
    if not isinstance(row, Mapping):
        return f"{section}={_escape(row)}"
    name = _RECORD_OF_SECTION.get(section, section)
    fields = [f"{_escape(key)}={_escape(value)}" for key, value in row.items()]
    return ",".join(fields if next(iter(row), None) == name else [name, *fields])


def _escape(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _SPECIAL.sub(lambda match: f"\\{match[0]}", text)
