"""Pools on a rig: rows of the CGMiner API to readings, and what is checked before a pool is written to a rig."""

from collections.abc import Iterable, Mapping
from typing import Any

from drivers._fields import whole
from shedload.cgminer.values import number, word
from shedload.device import PoolReading, PoolStatus, PoolTarget
from shedload.errors import Refused

MOST_POOLS = 64
"""Rows that are read; real rigs have three to ten."""
LONGEST_FIELD = 255
"""Bytes of a URL, user or password. C parsers on rigs have overflowed on longer ones (CVE-2018-10058)."""
SCHEMES = ("stratum+tcp://", "stratum+ssl://", "stratum+tls://", "stratum2+tcp://", "http://", "https://")

_STATUS = {
    "Alive": PoolStatus.ALIVE,
    "Dead": PoolStatus.DEAD,
    "Disabled": PoolStatus.DISABLED,
    "Rejecting": PoolStatus.REJECTING,
}


def pool_readings(rows: Iterable[Mapping[str, Any]]) -> tuple[PoolReading, ...]:
    """The configured pools of a POOLS section; places without a URL are no pools and are left out."""
    return tuple(
        _reading(place, row)
        for place, row in enumerate(rows)
        if place < MOST_POOLS and isinstance(row.get("URL"), str) and row["URL"]
    )


def check_targets(pools: tuple[PoolTarget, ...], most: int) -> None:
    """Refuse what must not be sent to a rig. The errors name the place, never a password."""
    if not 0 < len(pools) <= most:
        raise Refused(f"{len(pools)} pools given; this rig takes 1 to {most}")
    if len({(pool.url, pool.user) for pool in pools}) < len(pools):
        raise Refused("the same pool and user are given twice")
    for place, pool in enumerate(pools):
        _check_target(place, pool)


def _check_target(place: int, pool: PoolTarget) -> None:
    if not pool.url.startswith(SCHEMES) or pool.url.endswith("://"):
        raise Refused(f"pool {place}: the URL must start with one of {', '.join(SCHEMES)}")
    if not pool.user:
        raise Refused(f"pool {place}: no user")
    for name, text in (("url", pool.url), ("user", pool.user), ("password", pool.password)):
        if len(text) > LONGEST_FIELD:
            raise Refused(f"pool {place}: {name} is longer than {LONGEST_FIELD} characters")
        if not text.isascii() or not text.isprintable() or any(c in text for c in _UNSAFE[name]):
            raise Refused(f"pool {place}: {name} has characters that rigs do not take")


_UNSAFE = {"url": ' "\\,|<>', "user": ' "\\|<>', "password": '"'}
"""Quotes and backslashes break the configuration files of rigs, bars the text form of the API."""


def _reading(place: int, row: Mapping[str, Any]) -> PoolReading:
    get = row.get
    active = get("Stratum Active")
    index = get("POOL")
    return PoolReading(
        index if type(index) is int else place,
        str(get("URL"))[:LONGEST_FIELD],
        str(get("User") or "")[:LONGEST_FIELD],
        _STATUS.get(word(get("Status")) or "", PoolStatus.UNKNOWN),
        active if type(active) is bool else None,
        whole(get("Priority")),
        whole(get("Accepted")),
        whole(get("Rejected")),
        whole(get("Stale")),
        number(get("Difficulty Accepted")),
        whole(get("Get Failures")),
        whole(get("Remote Failures")),
    )
