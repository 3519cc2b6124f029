"""Just enough HTTP/1.1 for the web server of a rig: requests out of bytes, answers into bytes, no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 16 * 1024
MAX_BODY = 256 * 1024
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    keep: bool


class BadRequest(Exception):
    """What came is no HTTP that a rig understands."""


class RequestReader:
    """Collects bytes and gives the requests that are complete. Raises BadRequest."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Request]:
        """Take what arrived."""
        self._buffer += data
        while (request := self._next()) is not None:
            yield request

    def _next(self) -> Request | None:
        head, found, rest = self._buffer.partition(END_OF_HEAD)
        if not found:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequest("the head is too long")
            return None
        method, path, headers, version = _parse_head(head)
        length = _body_length(headers)
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        return Request(method, path, headers, rest[:length], keep)


def render(status: int, headers: Mapping[str, str], length: int, *, keep: bool) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Server: lighttpd/1.4.32", f"Content-Length: {length}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    lines.append(f"Connection: {'keep-alive' if keep else 'close'}")
    return "\r\n".join(lines).encode("latin-1") + END_OF_HEAD


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str], str]:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/"):
        raise BadRequest("the request line is wrong")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest("a header has no colon")
        headers[name.strip().lower()] = value.strip()
    return parts[0], parts[1], headers, parts[2]


def _body_length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not text.isdigit() or int(text) > MAX_BODY:
        raise BadRequest("the body is of no length that a rig takes")
    return int(text)
