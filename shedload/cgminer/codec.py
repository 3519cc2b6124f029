"""One request, one answer: the bytes of the CGMiner API on both sides of the wire, without any I/O.

A driver sends `encode_request(...)` in one write, feeds a `ReplyReader` until it is `complete` and takes `decode()`.
A server feeds what its one `recv` gave to `parse_request` and sends `encode_reply(...)`. The text form of the API is
in `text.py`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from shedload.cgminer.repair import Repaired, decode_json
from shedload.cgminer.scan import ValueEnd
from shedload.cgminer.text import decode_text, encode_text
from shedload.errors import Garbled, NoAnswer, ProtocolError

Form = Literal["json", "text"]
Parameter = str | int | float | Sequence[str | int | float]

DEFAULT_PORT: Final = 4028
MAX_REQUEST: Final = 4094
"""Bytes. The server does one recv of at most 4095 and puts a NUL behind them."""
MAX_REPLY: Final = 1 << 20
"""Bytes. The API has no limit of its own since 3.0; the largest recorded one has 21 KiB."""
POOL_VERBS: Final = frozenset({"addpool", "poolpriority", "poolquota"})
"""Their fields are split at commas with `\\` as escape; other verbs (ascset) split without escape."""

INVALID_JSON: Final = 23
MISSING_COMMAND: Final = 24


def encode_request(command: str, parameter: Parameter | None = None, *, form: Form = "json", **extra: Any) -> bytes:
    """The bytes of one request, to be sent in one write.

    A parameter that is a sequence is joined with commas, for pool verbs with the escapes of the API. `extra` are
    further members beside `command` (Antminer's `new_api=True` works only there). Raises ValueError, which never holds
    the parameter itself, for control characters, a field that cannot be sent and a request above MAX_REQUEST.
    """
    text = None if parameter is None else _join(command, parameter)
    if not command or _has_controls(command) or (text is not None and _has_controls(text)):
        raise ValueError("empty command, or a control character in a request")
    request = _encode_json(command, text, extra) if form == "json" else _encode_line(command, text, extra)
    if len(request) > MAX_REQUEST:
        raise ValueError(f"request {command!r} has {len(request)} bytes; a rig reads {MAX_REQUEST} at most")
    return request


class ReplyReader:
    """Collects one reply: ends at a NUL behind a closing byte, at a complete JSON value, or when the peer closes.

    Feed it until `complete`, then call `decode()`. After a deadline a driver may call `receive_eof()` and see whether
    what came can be used. `failure` holds the reason for which collecting stopped early, or an empty text.
    """

    __slots__ = ("_buffer", "_end", "_limit", "_nul_from", "_value", "_value_end", "complete", "failure")

    def __init__(self, limit: int = MAX_REPLY) -> None:
        self.complete = False
        self.failure = ""
        self._buffer = bytearray()
        self._limit = limit
        self._end = 0
        self._nul_from = 0
        self._value: Repaired | None = None
        self._value_end = ValueEnd()

    @property
    def raw(self) -> bytes:
        """What arrived: the reply itself once complete, all bytes so far before that."""
        return bytes(self._buffer[: self._end].strip(_BLANK) if self.complete else self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; what follows the end of the reply is dropped."""
        if self.complete or not data:
            return
        room = self._limit - len(self._buffer)
        self._buffer += data[:room]
        self._look_for_end()
        if not self.complete and len(data) > room:
            self._finish(len(self._buffer), f"reply larger than {self._limit} bytes")

    def receive_eof(self) -> None:
        """The peer closed, or its time is over: what is here is all there is."""
        if not self.complete:
            end = self._value_end.scan(self._buffer) if self._is_json() else None
            self._finish(len(self._buffer) if end is None else end)

    def decode(self) -> Repaired:
        """The value of a complete reply, JSON or text form alike.

        Raises NoAnswer if the peer closed without a byte (so does a rig whose api-allow does not name us), HtmlPage
        and Garbled for bytes that mean nothing.
        """
        if not self.complete:
            raise NoAnswer("the reply is not complete")
        if self.failure:
            raise Garbled(self.failure, self.raw)
        if not self._end:
            raise NoAnswer("closed without an answer; the rig may not allow this address")
        if self._value is None:
            self._value = decode_reply(self.raw)
        return self._value

    def _look_for_end(self) -> None:
        buffer = self._buffer
        ending = _END_OF_JSON if self._is_json() else _END_OF_TEXT
        if found := ending.search(buffer, max(0, self._nul_from - _TAIL)):
            self._finish_at_nul(found.end() - 1)
            return
        self._nul_from = len(buffer)
        if buffer[-1] in _CLOSING_OR_BLANK and self._is_json():
            end = self._value_end.scan(buffer)
            if end is not None:
                self._finish(end)

    def _finish_at_nul(self, nul: int) -> None:
        """Nearly every reply ends here. One strict parse proves it clean, and is the parse that `decode` needs."""
        end: int | None = None
        try:
            self._value = Repaired(orjson.loads(memoryview(self._buffer)[:nul]))
        except orjson.JSONDecodeError:
            end = self._value_end.scan(self._buffer[:nul]) if self._is_json() else None
        self._finish(nul if end is None else end)

    def _finish(self, end: int, failure: str = "") -> None:
        self._end = end
        self.failure = failure
        self.complete = True

    def _is_json(self) -> bool:
        return self._buffer[:_HEAD].lstrip(_BLANK).startswith(_JSON_STARTS)


def decode_reply(raw: bytes) -> Repaired:
    """The value of a whole reply, JSON or text form; raises HtmlPage or Garbled."""
    return Repaired(decode_text(raw)) if raw.lstrip(_BLANK).startswith(b"STATUS=") else decode_json(raw)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as a server reads it; the parameter is hidden from logs, since addpool carries passwords."""

    commands: tuple[str, ...]
    parameter: str | None = field(default=None, repr=False)
    form: Form = "json"
    joined: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class RequestError(ProtocolError):
    """A request that is answered with an error; `code` is the one that cgminer gives (23 or 24)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def parse_request(data: bytes) -> Request:
    """What the one recv of a server gave (later bytes are lost, as on the rig); raises RequestError."""
    data = data[: MAX_REQUEST + 1].partition(b"\0")[0].strip()
    if not data.startswith(b"{"):
        command, bar, rest = data.decode(errors="replace").partition("|")
        return _request(command, rest if bar else None, "text", {})
    try:
        members = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RequestError("Invalid JSON", INVALID_JSON) from None
    command = members.pop("command", None) or members.pop("cmd", None)
    if not isinstance(command, str):
        raise RequestError("Missing JSON 'command'", MISSING_COMMAND)
    return _request(command, _as_text(members.pop("parameter", None)), "json", members)


def encode_reply(value: Mapping[str, Any], *, form: Form = "json") -> bytes:
    """The bytes of a reply with the one NUL that ends it."""
    return (orjson.dumps(value) if form == "json" else encode_text(value)) + b"\0"


_BLANK = b"\0 \t\r\n"
_HEAD = 16
_JSON_STARTS = (b"{", b"[", b",")
_TAIL = 8
_END_OF_JSON = re.compile(rb"[}\]][\0 \t\r\n]{0,7}?\0")
_END_OF_TEXT = re.compile(rb"\|[\0 \t\r\n]{0,7}?\0")
"""A NUL ends the reply only behind a closing byte: some firmware has NULs inside values."""
_CLOSING_OR_BLANK = frozenset(b"}] \t\r\n")


def _join(command: str, parameter: Parameter) -> str:
    if isinstance(parameter, str | int | float):
        return str(parameter)
    fields = [str(item) for item in parameter]
    if command in POOL_VERBS:
        return ",".join(_escape(item) for item in fields)
    if any("," in item for item in fields[:-1]):
        raise ValueError(f"{command!r} has no escape for a comma inside a field")
    return ",".join(fields)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|")


def _has_controls(text: str) -> bool:
    return any(character < " " or character == "\x7f" for character in text)


def _encode_json(command: str, parameter: str | None, extra: Mapping[str, Any]) -> bytes:
    members: dict[str, Any] = {"command": command}
    if parameter is not None:
        members["parameter"] = parameter
    return orjson.dumps({**members, **extra})


def _encode_line(command: str, parameter: str | None, extra: Mapping[str, Any]) -> bytes:
    if extra or "|" in command or command.startswith("{"):
        raise ValueError("the text form carries a command and one parameter, nothing else")
    return (command if parameter is None else f"{command}|{parameter}").encode()


def _request(command: str, parameter: str | None, form: Form, extra: dict[str, Any]) -> Request:
    joined = "+" in command
    commands = dict.fromkeys(filter(None, (part.strip() for part in command.split("+"))))
    return Request(tuple(commands), None if joined else parameter, form, joined, extra)


def _as_text(parameter: object) -> str | None:
    """Strings and numbers become text as in cgminer; anything else counts as no parameter."""
    if isinstance(parameter, bool) or not isinstance(parameter, str | int | float):
        return None
    return str(parameter)
