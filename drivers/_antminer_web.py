"""The web's replies of stock firmware to Samples, faults, pools and identities.

Firmware of 2023 and later gives the same shape on the socket when it is asked with `new_api`.
"""

from typing import Any

from drivers._antminer_sample import MAKE, BoardPlate, Sample, hottest, rate_scale
from drivers._fields import text, whole
from shedload.cgminer.values import number
from shedload.device import BoardReading, Fault, FaultCode, Identity
from shedload.errors import Garbled
from shedload.units import HashesPerSecond, Hertz, RevolutionsPerMinute, Seconds

MOST_BOARDS = 16
MOST_FANS = 16

_STATUS_FAULTS = {
    "rate": FaultCode.HASHRATE,
    "network": FaultCode.NETWORK,
    "fans": FaultCode.FAN,
    "temp": FaultCode.OVERHEAT,
}


def sample_web_stats(reply: Any, repairs: tuple[str, ...] = ()) -> Sample:
    """Read `stats.cgi` (or `stats` with new_api). Raises Garbled where it has no such shape."""
    rows = reply.get("STATS") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise Garbled("stats without STATS")
    info = reply.get("INFO")
    head = info if isinstance(info, dict) else {}
    sample = Sample(text(head.get("type")), text(head.get("CompileTime")), repairs=repairs)
    if not rows or not isinstance(rows[0], dict):
        sample.empty = True
        return sample
    data = rows[0]
    scale = rate_scale(data.get("rate_unit"))
    sample.hashrate = _rate(data.get("rate_5s"), scale)
    sample.hashrate_average = _rate(data.get("rate_avg"), scale)
    sample.hashrate_nominal = _rate(data.get("rate_ideal"), scale) or None
    elapsed = number(data.get("elapsed"))
    sample.uptime = None if elapsed is None else Seconds(elapsed)
    sample.fans_expected = whole(data.get("fan_num"))
    sample.fans = _fans(data.get("fan")) if sample.fans_expected != 0 else None
    for board in _boards(data.get("chain"), scale):
        sample.add(board)
    return sample


def board_plates(reply: Any) -> tuple[BoardPlate, ...]:
    """Serials and nominal rates of the boards, in their order."""
    return tuple(BoardPlate(board.serial, board.hashrate_nominal) for board in sample_web_stats(reply).boards)


def status_faults(summary: Any) -> tuple[Fault, ...]:
    """What `summary.cgi` lists under status as not well."""
    rows = summary.get("SUMMARY") if isinstance(summary, dict) else None
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    told = row.get("status")
    entries = [entry for entry in told[:MOST_FANS] if isinstance(entry, dict)] if isinstance(told, list) else []
    return tuple(_fault(entry) for entry in entries if str(entry.get("status", "s")).lower() != "s")


def power_supply_faults(stats: Any) -> tuple[Fault, ...]:
    """What `stats.cgi` says of the power supply, when it is not "ok"."""
    rows = stats.get("STATS") if isinstance(stats, dict) else None
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    supply = row.get("psu")
    status = str(supply.get("status", "ok")) if isinstance(supply, dict) else "ok"
    return () if status.lower() in {"ok", ""} else (Fault(FaultCode.POWER_SUPPLY, f"power supply: {status[:80]}"),)


def identity(info: Any) -> Identity:
    """Who `get_system_info.cgi` says it is. Raises Garbled where it says nothing."""
    if not isinstance(info, dict) or not ("minertype" in info or "macaddr" in info):
        raise Garbled("get_system_info without minertype and macaddr")
    mac = text(info.get("macaddr"))
    return Identity(
        MAKE,
        plain_model(text(info.get("minertype"))),
        text(info.get("system_filesystem_version")),
        text(info.get("serinum")),
        mac.lower() if mac else None,
        text(info.get("hostname")),
    )


def plain_model(told: str | None) -> str | None:
    """The model without the bracket that some builds append, such as " (vnish 1.2)"."""
    if not told:
        return None
    return told.split(" (", 1)[0].strip() if "(" in told else told.strip()


def web_pools(reply: Any) -> list[dict[str, Any]]:
    """The rows of `pools.cgi` under the names of the CGMiner API."""
    rows = reply.get("POOLS") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        raise Garbled("pools without POOLS")
    return [
        {
            "POOL": row.get("index"),
            "URL": row.get("url"),
            "User": row.get("user"),
            "Status": row.get("status"),
            "Priority": row.get("priority"),
            "Accepted": row.get("accepted"),
            "Rejected": row.get("rejected"),
            "Stale": row.get("stale"),
            "Difficulty Accepted": row.get("diffa"),
        }
        for row in rows
        if isinstance(row, dict)
    ]


def _boards(told: Any, scale: float) -> list[BoardReading]:
    rows = told[:MOST_BOARDS] if isinstance(told, list) else []
    return [_board(place, row, scale) for place, row in enumerate(rows) if isinstance(row, dict)]


def _board(place: int, row: dict[str, Any], scale: float) -> BoardReading:
    index = whole(row.get("index"))
    megahertz = number(row.get("freq_avg"))
    return BoardReading(
        place if index is None else index,
        _rate(row.get("rate_real"), scale),
        _rate(row.get("rate_ideal"), scale),
        None if megahertz is None else Hertz(megahertz * 1e6),
        whole(row.get("asic_num")),
        None,
        hottest(row.get("temp_pcb")),
        hottest(row.get("temp_chip")),
        whole(row.get("hw")),
        text(row.get("sn")),
    )


def _fans(told: Any) -> tuple[RevolutionsPerMinute, ...] | None:
    speeds = [number(item) for item in told[:MOST_FANS]] if isinstance(told, list) else []
    return tuple(RevolutionsPerMinute(speed) for speed in speeds if speed is not None) or None


def _fault(entry: dict[str, Any]) -> Fault:
    kind = str(entry.get("type", ""))[:20]
    code = entry.get("code")
    said = text(entry.get("msg"))
    return Fault(
        _STATUS_FAULTS.get(kind, FaultCode.OTHER),
        f"{kind}: {said}" if said else f"{kind} is not well",
        vendor_code=None if code is None else str(code)[:20],
    )


def _rate(told: Any, scale: float) -> HashesPerSecond | None:
    value = number(told)
    return None if value is None else HashesPerSecond(value * scale)
