"""Reads what a pool answers to configure and subscribe, and judges where it may send us.

Used by `client`; nothing here keeps state.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any

from shedload.stratum.events import ReconnectAsked
from shedload.stratum.jobs import MAX_EXTRANONCE
from shedload.stratum.lines import clean_text
from shedload.stratum.messages import is_int, parse_hex, parse_hex32

MAX_SESSION_ID = 128
"""Characters of a session id that we would send back."""

MAX_REDIRECTS = 3
REDIRECT_WINDOW = 600.0
"""Redirects to follow within so many seconds."""

MAX_RECONNECT_WAIT = 600.0
"""Seconds; a pool that wants us away for longer is treated as asking for ten minutes."""


@dataclass(frozen=True, slots=True)
class Extranonce:
    """The pool's half of the extranonce and the length of ours."""

    first: bytes
    second_size: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """What mining.subscribe gave."""

    extranonce: Extranonce
    session_id: str | None


def parse_subscription(result: Any) -> Subscription:
    """Read `[[[name, id], ...], extranonce1, extranonce2_size]`; ValueError says what is wrong."""
    if not isinstance(result, list) or len(result) < 3:
        raise ValueError("subscription is no list of three")
    return Subscription(parse_extranonce(result[1], result[2]), _session_id(result[0]))


def parse_extranonce(first: Any, second_size: Any) -> Extranonce:
    """Read extranonce1 and extranonce2_size; ValueError where they cannot be mined with."""
    try:
        extranonce1 = parse_hex(first, MAX_EXTRANONCE)
    except ValueError as error:
        raise ValueError(f"extranonce1 is {error}") from None
    if not is_int(second_size) or not 1 <= second_size <= MAX_EXTRANONCE:
        raise ValueError(f"extranonce2 size is {clean_text(second_size, 20)}, not 1 to {MAX_EXTRANONCE}")
    return Extranonce(extranonce1, second_size)


def granted_mask(result: Any) -> int | None:
    """Return the mask in a configure reply; None where rolling was not granted; ValueError: granted, unreadable."""
    if not isinstance(result, dict) or result.get("version-rolling") is not True:
        return None
    return parse_hex32(result.get("version-rolling.mask"), padded=False)


def granted_extranonce(result: Any) -> bool:
    """True where a configure reply grants mining.set_extranonce."""
    return isinstance(result, dict) and result.get("subscribe-extranonce") is True


def judge_reconnect(params: tuple[Any, ...] | None, own_host: str, allowed_hosts: frozenset[str]) -> ReconnectAsked:
    """Apply the rule: the same host on any port, or a host the operator listed; never anything by likeness of names."""
    host, port, wait = (*(params or ()), None, None, None)[:3]
    name = clean_text(host, 253).rstrip(".").lower() if isinstance(host, str) else ""
    seconds = _seconds(wait)
    own = own_host.rstrip(".").lower()
    if host is not None and not isinstance(host, str):
        return ReconnectAsked("", None, seconds, allowed=False, why="host is no text")
    number = _port(port)
    if port is not None and port != "" and number is None:
        return ReconnectAsked(name or own, None, seconds, allowed=False, why="port is no port")
    if name in {"", own}:
        return ReconnectAsked(own, number, seconds, allowed=True, why="same host")
    if name in {allowed.rstrip(".").lower() for allowed in allowed_hosts}:
        return ReconnectAsked(name, number, seconds, allowed=True, why="listed by the operator")
    return ReconnectAsked(name, number, seconds, allowed=False, why="another host, not listed")


class RedirectBudget:
    """Counts redirects that were followed: three in ten minutes, then the pool is leading us in circles."""

    def __init__(self, limit: int = MAX_REDIRECTS, window: float = REDIRECT_WINDOW) -> None:
        self._window = window
        self._times: deque[float] = deque(maxlen=limit)

    def spend(self, now: float) -> bool:
        """Take one redirect; False where too many were taken lately. It outlives the connections it counts."""
        if len(self._times) == self._times.maxlen and now - self._times[0] < self._window:
            return False
        self._times.append(now)
        return True


def _session_id(subscriptions: Any) -> str | None:
    """Find the id beside "mining.notify"; the list's order is free, and a flat pair exists too."""
    if not isinstance(subscriptions, list):
        return None
    for pair in (*subscriptions, subscriptions):
        if isinstance(pair, list) and len(pair) >= 2 and pair[0] == "mining.notify":
            found = pair[1]
            return found if isinstance(found, str) and len(found) <= MAX_SESSION_ID else None
    return None


def _port(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    return value if is_int(value) and 0 < value < 65536 else None


def _seconds(value: Any) -> float:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(min(max(value, 0), MAX_RECONNECT_WAIT))
