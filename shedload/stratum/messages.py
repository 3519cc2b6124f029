"""Stratum V1 messages: one JSON object per line, read with guards and told apart by the presence of `method`.

Second step of both state machines. A line that is no message raises ProtocolError; a message whose content is
wrong is for the state machine to judge, so parameters are handed on as they came.
"""

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shedload.errors import ProtocolError
from shedload.stratum.lines import clean_text, show_bytes

RequestId = int | str | float

TO_POOL_LIMIT = 1000
"""ckpool drops a client whose line exceeds 1024 bytes; stay clear of it."""

_MAX_DIGITS = 40
"""Longest integer taken from a peer: twice a 64-bit number. Python itself would only stop at 4300 digits."""

_MAX_BRACKETS = 200
"""An honest message opens fewer than ten brackets; this bounds nesting without walking the text."""

HEX8 = re.compile(r"[0-9a-fA-F]{8}")
HEX_SHORT = re.compile(r"[0-9a-fA-F]{1,8}")
HEX = re.compile(r"(?:[0-9a-fA-F]{2})*")


class RejectReason(StrEnum):
    """Why a pool refused; closed, so that a peer's texts never become labels."""

    STALE = "stale"
    JOB_NOT_FOUND = "job_not_found"
    DUPLICATE = "duplicate"
    LOW_DIFFICULTY = "low_difficulty"
    BAD_VERSION = "bad_version"
    BAD_NTIME = "bad_ntime"
    UNAUTHORIZED = "unauthorized"
    NOT_SUBSCRIBED = "not_subscribed"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Request:
    """Expects a response. `params` is None where the peer sent something that is no list."""

    id: RequestId
    method: str
    params: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Notification:
    """A request with id null or none: never answered."""

    method: str
    params: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Response:
    """Answer to a request; `id` is None where the server forgot it. Missing members are None."""

    id: RequestId | None
    result: Any
    error: Any
    reject_reason: Any = None


Message = Request | Notification | Response


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a response says: accepted, or why not. `text` is the peer's, bounded and printable."""

    accepted: bool
    reason: RejectReason | None = None
    code: int | None = None
    text: str = ""


def parse(line: bytes) -> Message:
    """Read one line; ProtocolError when it is not exactly one JSON object of a Stratum shape."""
    if not line.startswith(b"{"):
        raise ProtocolError(f"not a JSON object: {show_bytes(line)}")
    if line.count(b"[") + line.count(b"{") > _MAX_BRACKETS:
        raise ProtocolError("more than 200 brackets in one line")
    try:
        value = _DECODER.decode(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not one JSON object ({clean_text(str(error), 60)}): {show_bytes(line)}") from None
    return _classify(value)


def outcome(response: Response) -> Outcome:
    """Accepted iff the result is true (or 1, "true"); otherwise the first reason found, whatever the error's shape."""
    result = response.result
    if result is True or result == "true" or (type(result) is int and result == 1):
        return Outcome(accepted=True)
    code, raw = _code_and_text(response.error)
    if raw is None:
        raw = response.reject_reason
    text = clean_text(raw) if isinstance(raw, str) and raw else "unknown"
    return Outcome(accepted=False, reason=classify_reason(code, text), code=code, text=text)


def classify_reason(code: int | None, text: str) -> RejectReason:
    """Fold a code and a text into the closed set; the code leads, the text refines or stands in for it."""
    by_text = next((reason for words, reason in _BY_WORD if words.search(text.lower())), None)
    if code in _REFINED_BY_TEXT:
        allowed = _REFINED_BY_TEXT[code]
        return by_text if by_text in allowed else allowed[0]
    if code in _BY_CODE:
        return _BY_CODE[code]
    return by_text or RejectReason.OTHER


def encode_request(request_id: int, method: str, params: list[Any]) -> bytes:
    """Build a line for a pool; ValueError when it would exceed TO_POOL_LIMIT (the text never quotes the parameters)."""
    line = _encode({"id": request_id, "method": method, "params": params})
    if len(line) > TO_POOL_LIMIT:
        raise ValueError(f"{method} line of {len(line)} bytes, limit {TO_POOL_LIMIT}")
    return line


def encode_notification(method: str, params: list[Any]) -> bytes:
    """Build a line that expects no answer."""
    return _encode({"id": None, "method": method, "params": params})


def encode_response(request_id: RequestId | None, result: Any, error: Any = None) -> bytes:
    """Build the answer to a request; the id goes back exactly as it came."""
    return _encode({"id": request_id, "result": result, "error": error})


def encode_error(request_id: RequestId | None, code: int, text: str) -> bytes:
    """Build a refusal in the canonical shape `[code, text, null]`."""
    return encode_response(request_id, None, [code, text, None])


def parse_hex(value: object, max_bytes: int) -> bytes:
    """Read an even number of hex digits of either case; ValueError otherwise or when longer than `max_bytes`."""
    if not isinstance(value, str) or len(value) > 2 * max_bytes or not HEX.fullmatch(value):
        raise ValueError(f"not up to {max_bytes} bytes of hex")
    return bytes.fromhex(value)


def parse_hex32(value: object, *, padded: bool = True) -> int:
    """Read the big-endian integer of exactly 8 hex digits (1 to 8 unless `padded`); ValueError otherwise."""
    pattern = HEX8 if padded else HEX_SHORT
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError("not 8 hex digits" if padded else "not 1 to 8 hex digits")
    return int(value, 16)


def wire_difficulty(value: float) -> int | float:
    """Write a whole number without `.0`, at which a cgminer fork stumbles."""
    return int(value) if float(value).is_integer() else value


def is_int(value: object) -> bool:
    """Tell an integer from a bool, which JSON keeps apart and Python does not."""
    return type(value) is int


def _encode(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _classify(value: dict[str, Any]) -> Message:
    request_id = _checked_id(value.get("id"))
    if "method" not in value:
        if not {"result", "error", "reject-reason"} & value.keys():
            raise ProtocolError("neither method nor result")
        return Response(request_id, value.get("result"), value.get("error"), value.get("reject-reason"))
    method = value["method"]
    if not isinstance(method, str):
        raise ProtocolError("method is not a string")
    params = _params(value.get("params"))
    return Notification(method, params) if request_id is None else Request(request_id, method, params)


def _checked_id(value: Any) -> RequestId | None:
    if isinstance(value, bool) or not isinstance(value, int | str | float | None):
        raise ProtocolError("id is neither number nor string")
    if isinstance(value, float) and not math.isfinite(value):
        raise ProtocolError("id is not finite")  # 1e400 is JSON, but could not be sent back
    return value


def _params(value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else None


def _code_and_text(error: Any) -> tuple[int | None, Any]:
    """Take code and text out of `[code, text, ...]`, `{"code", "message"}` or a bare string."""
    if isinstance(error, list):
        code = error[0] if error and is_int(error[0]) else None
        return code, error[1] if len(error) > 1 else None
    if isinstance(error, dict):
        code = error.get("code")
        return (code if is_int(code) else None), error.get("message")
    return None, error if isinstance(error, str) else None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"integer of {len(digits)} digits")
    return int(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_bounded_int)

_BY_CODE = {
    22: RejectReason.DUPLICATE,
    24: RejectReason.UNAUTHORIZED,
    25: RejectReason.NOT_SUBSCRIBED,
    -1: RejectReason.MALFORMED,
    -3: RejectReason.UNSUPPORTED,
    -32601: RejectReason.UNSUPPORTED,
}

# Two codes are shared by several causes; the first one stands where the text says nothing more.
_REFINED_BY_TEXT: dict[int | None, tuple[RejectReason, ...]] = {
    21: (RejectReason.JOB_NOT_FOUND, RejectReason.STALE, RejectReason.BAD_NTIME),
    23: (RejectReason.LOW_DIFFICULTY, RejectReason.BAD_VERSION),
}

# In this order: "No job_id" is about the shape, "Invalid JobID" about the job, "Job not found" not about a method.
_BY_WORD: tuple[tuple[re.Pattern[str], RejectReason], ...] = (
    (re.compile(r"\bno (nonce|ntime|job|username)|\barray|params"), RejectReason.MALFORMED),
    (re.compile(r"stale"), RejectReason.STALE),
    (re.compile(r"duplicate"), RejectReason.DUPLICATE),
    (re.compile(r"version"), RejectReason.BAD_VERSION),
    (re.compile(r"time"), RejectReason.BAD_NTIME),
    (re.compile(r"job|unknown-work"), RejectReason.JOB_NOT_FOUND),
    (re.compile(r"\blow\b|above|target|high-hash|h-not-zero"), RejectReason.LOW_DIFFICULTY),
    (re.compile(r"unauthori[sz]ed|worker mismatch"), RejectReason.UNAUTHORIZED),
    (re.compile(r"subscribed"), RejectReason.NOT_SUBSCRIBED),
    (re.compile(r"not supported|not found"), RejectReason.UNSUPPORTED),
    (re.compile(r"invalid|malformed"), RejectReason.MALFORMED),
)
