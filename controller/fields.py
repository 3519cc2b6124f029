"""The kinds of values that a configuration is made of: names, paths, addresses; each refuses what would do harm later.

settings.py builds the sections of the file from these
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
"""Names of rigs, groups and the like: fit for logs, metric labels and topics; cannot start a spreadsheet formula."""

SERVICE_FOLDER = re.compile(r"\$\{([A-Z]+_DIRECTORY)\}(?:/(.+))?")
"""Folders that systemd hands a service: STATE, CONFIGURATION, CREDENTIALS, RUNTIME."""


class Section(BaseModel):
    """A table of the file: unknown keys, wrong types, infinite numbers and later changes are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_max_length=1000)


def fault(problem: str, remedy: str = "", key: str = "") -> PydanticCustomError:
    """Error for a validator to raise; `key` names the key inside the section when the section as a whole is judged."""
    return PydanticCustomError("setting", "{problem}", {"problem": problem, "remedy": remedy, "key": key})


def has_control_characters(text: str) -> bool:
    """True for text that would forge lines in logs or break out of commands to rigs."""
    return any(ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0 or sign in "\u2028\u2029" for sign in text)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    """Make a path absolute: ${NAME}/... in a folder of the service manager, else relative to the file's own folder."""
    context: Mapping[str, object] = info.context or {}
    text = _plain(str(path))
    if match := SERVICE_FOLDER.fullmatch(text):
        environ = context.get("environ", os.environ)
        folder = environ.get(match[1]) if isinstance(environ, Mapping) else None
        if not folder:
            raise fault(f"{match[1]} is not set", "the service manager sets it; write a plain path to run without one")
        return Path(folder, match[2] or "")
    base = context.get("folder")
    return (base if isinstance(base, Path) else Path.cwd()) / path.expanduser()


def _plain(text: str) -> str:
    if has_control_characters(text):
        raise fault("has control characters", "write it without line breaks and escape codes")
    return text


def _sendable(text: str) -> str:
    """Rigs split commands at commas and bars and unescape backslashes."""
    if any(sign in text for sign in ',|\\"'):
        raise fault("has a comma, bar, backslash or quote", "rigs and pools cannot be told such text")
    return _plain(text)


def _split(text: str, schemes: tuple[str, ...]) -> SplitResult:
    wanted = f"write it as {schemes[0]}://host:port"
    try:
        parts = urlsplit(_plain(text))
        port = parts.port
    except ValueError:
        raise fault("is not an address", wanted) from None
    if parts.scheme not in schemes:
        raise fault(f"does not start with {' or '.join(f'{scheme}://' for scheme in schemes)}", wanted)
    if parts.username is not None or parts.password is not None:
        raise fault("holds a user or password", "put them under their own keys")
    if not parts.hostname or port == 0 or any(sign.isspace() for sign in text):
        raise fault("is not an address", wanted)
    return parts


def _web_url(text: str) -> str:
    _split(text, ("http", "https"))
    return text


def _pool_url(text: str) -> str:
    if _split(_sendable(text), ("stratum+tcp", "stratum+ssl", "stratum+tls")).port is None:
        raise fault("names no port", "write it as stratum+tcp://host:3333")
    return text


def _listen(text: str) -> str:
    try:
        parts = urlsplit(f"//{_plain(text)}")
        complete = bool(parts.hostname) and parts.port is not None
    except ValueError:
        raise fault("is not host:port", 'write it as "127.0.0.1:9477"') from None
    if not complete or parts.path or parts.query or parts.username is not None:
        raise fault("is not host:port", 'write it as "127.0.0.1:9477"')
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise fault("is not a time zone", 'use a name of the IANA list such as "Asia/Almaty"') from None
    return text


def _topic(text: str) -> str:
    if any(sign in text for sign in "+#$") or text.startswith("/") or text.endswith("/"):
        raise fault("is not a plain MQTT topic", "write it without wildcards and without a slash at either end")
    return _plain(text)


Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
SendableText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_sendable)]
FilePath = Annotated[Path, AfterValidator(_resolve)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
PoolUrl = Annotated[str, AfterValidator(_pool_url)]
Listen = Annotated[str, AfterValidator(_listen)]
Zone = Annotated[str, AfterValidator(_zone)]
Topic = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_topic)]
Port = Annotated[int, Field(ge=1, le=65535)]
