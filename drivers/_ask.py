"""One question to the CGMiner socket: request bytes out, decoded reply in."""

from typing import Any

import orjson

from drivers._address import Endpoint
from drivers._tcp import exchange
from shedload.cgminer.codec import Parameter, ReplyReader, encode_request
from shedload.cgminer.repair import REPAIR_LIMIT, HtmlPage, Repaired
from shedload.errors import Garbled, Refused


def decode(raw: bytes) -> Repaired:
    """The value of a reply as it came off the wire. Raises Garbled."""
    value, repairs = decode_value(raw)
    return Repaired(value, repairs)


def decode_value(raw: bytes) -> tuple[Any, tuple[str, ...]]:
    """The same as a plain pair, for the hot path."""
    try:
        return orjson.loads(raw[:-1]), _NO_REPAIRS  # nearly every reply is clean JSON and one NUL
    except orjson.JSONDecodeError:
        if len(raw) > REPAIR_LIMIT:
            return _long(raw), _NO_REPAIRS
        reader = ReplyReader()
        reader.receive_data(raw)
        reader.receive_eof()
        decoded = reader.decode()
        return decoded.value, decoded.repairs


async def ask(
    endpoint: Endpoint, command: str, parameter: Parameter | None = None, *, deadline_s: float, **extra: Any
) -> Repaired:
    """Send one command and decode its reply. Raises RigError; Refused for a request that cannot be sent."""
    try:
        request = encode_request(command, parameter, **extra)
    except ValueError as error:
        raise Refused(f"{command} not sent: {error}") from None
    try:
        return decode(await exchange(endpoint, request, deadline_s=deadline_s))
    except HtmlPage as error:
        raise Garbled(f"{command}: {error.detail}", error.raw) from None


def _long(raw: bytes) -> Any:
    """A reply that is too long to mend, and to look through for its end: it is clean or it is nothing."""
    try:
        return orjson.loads(raw.strip(b"\0 \t\r\n"))
    except orjson.JSONDecodeError:
        raise Garbled(f"broken JSON of {len(raw)} bytes, too long to repair", raw) from None


_NO_REPAIRS: tuple[str, ...] = ()
