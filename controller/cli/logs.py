"""Sets up logging: one JSON object a line, or colours on a terminal. The one place that decides how an event looks.

    log.info(event, **facts) --> level --> masks --> plain text --> not too often --> JSON | console --> stream

Instants are UTC with milliseconds. Values under secret names are masked, user and password in addresses too; whatever
rigs and pools said is made printable.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson
import structlog

BURST, WINDOW = 5, 60.0
"""One event of one rig or pool is written so often in so many seconds; what comes beyond is counted, told later."""
MAX_KEYS = 10_000
"""Pairs of event and rig or pool that are remembered for that: a hall's worth; the oldest are forgotten first."""
MAX_TEXT = 2000
"""Characters of one value."""
SECRET = re.compile(r"passw|token|secret|credential|authorization", re.IGNORECASE)
USER_IN_ADDRESS = re.compile(r"(\w+://)[^/@\s]*@")
MASK = "***"
LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Facts = MutableMapping[str, Any]


def set_up(stream: TextIO, level: str, style: Literal["json", "console"]) -> None:
    """Configure structlog and what libraries log by the standard module."""
    renderer = _console(stream) if style == "console" else _json
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp,
            _mask,
            _make_plain,
            RateLimit(time.monotonic),
            structlog.processors.format_exc_info if style == "json" else _keep,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: Lines(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [LibraryHandler()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


class Lines:
    """Writes lines; a reader that went away costs lines and never the daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = 0

    def msg(self, message: str) -> None:
        """Write one line."""
        try:
            self._stream.write(message + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += 1

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


class RateLimit:
    """Drops what one rig or pool repeats too often and tells later how much that was."""

    def __init__(self, mono: Callable[[], float], burst: int = BURST, window: float = WINDOW) -> None:
        self._mono = mono
        self._burst = burst
        self._window = window
        self._seen: OrderedDict[tuple[str, str], list[float]] = OrderedDict()  # start of the window, passed, dropped

    def __call__(self, _logger: Any, _method: str, facts: Facts) -> Facts:
        """The event, or DropEvent."""
        key = (str(facts.get("event")), str(facts.get("rig") or facts.get("pool") or ""))
        now = self._mono()
        entry = self._seen.get(key)
        if entry is None or now - entry[0] > self._window:
            dropped = int(entry[2]) if entry is not None else 0
            self._seen[key] = [now, 1, 0]
            self._seen.move_to_end(key)
            if len(self._seen) > MAX_KEYS:
                self._seen.popitem(last=False)
            return {**facts, "suppressed": dropped} if dropped else facts
        if entry[1] < self._burst:
            entry[1] += 1
            return facts
        entry[2] += 1
        raise structlog.DropEvent


class LibraryHandler(logging.Handler):
    """Brings what libraries log into the same stream."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        detail = record.getMessage()
        structlog.get_logger().log(
            record.levelno, "library", logger=record.name, detail=detail, exc_info=record.exc_info or None
        )


def _stamp(_logger: Any, _method: str, facts: Facts) -> Facts:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, **facts}


def _mask(_logger: Any, _method: str, facts: Facts) -> Facts:
    return {key: _masked(key, value) for key, value in facts.items()}


def _masked(key: str, value: Any) -> Any:
    if SECRET.search(key) and value is not None:
        return MASK
    if isinstance(value, str) and "@" in value:
        return USER_IN_ADDRESS.sub(rf"\1{MASK}@", value)
    if isinstance(value, Mapping):
        return {str(name): _masked(str(name), inner) for name, inner in value.items()}
    return value


def _make_plain(_logger: Any, _method: str, facts: Facts) -> Facts:
    return {key: _plain(value) for key, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "tb_frame"):
        return [_plain(inner) for inner in value] if all(isinstance(inner, str) for inner in value) else value
    if not isinstance(value, str):
        return value
    text = str(value)[:MAX_TEXT]
    return text if text.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _keep(_logger: Any, _method: str, facts: Facts) -> Facts:
    return facts


def _json(_logger: Any, _method: str, facts: Facts) -> str:
    return orjson.dumps(dict(facts), default=str).decode()


def _console(stream: TextIO) -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        # Local variables may hold passwords: a plain traceback shows lines of code only.
        exception_formatter=structlog.dev.plain_traceback,
    )
