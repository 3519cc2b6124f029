"""Replies of a plain CGMiner or BFGMiner to telemetry.

The rate members are named after the log interval ("MHS 5s", "MHS 20s"); averages keep their value when nothing hashes,
so only the shortest window says whether a device works.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from drivers._fields import text, whole
from drivers._pools import pool_readings
from shedload.cgminer.parse import Reply
from shedload.cgminer.values import member, number, temperature, word
from shedload.device import Activity, BoardReading, Fault, FaultCode, Identity, Telemetry
from shedload.units import Celsius, HashesPerSecond, Seconds

MOST_DEVICES = 256
"""Rows that are read: a USB hub full of sticks, far above any rig."""
_WINDOW = re.compile(r"([KMGT])HS (\d+)s")
_SCALE = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SICK = frozenset({"Sick", "Dead", "NoStart"})


def telemetry(summary: Reply, pools: Reply | None, devs: Reply | None, identity: Identity | None) -> Telemetry:
    """Put a reading together; parts that the miner denies us stay None."""
    row = summary.row("SUMMARY")
    devices = [] if devs is None else devs.rows("DEVS")[:MOST_DEVICES]
    readings = None if pools is None else pool_readings(pools.rows("POOLS"))
    boards = tuple(_board(place, device) for place, device in enumerate(devices))
    hashrate = shortest_rate(row)
    elapsed = number(row.get("Elapsed"))
    hot = [board.chip_temperature for board in boards if board.chip_temperature is not None]
    return Telemetry(
        activity=_activity(hashrate),
        hashrate=hashrate,
        hashrate_average=_average(row),
        chip_temperature=max(hot) if hot else None,
        boards=boards or None,
        pools=readings,
        accepted=whole(row.get("Accepted")),
        rejected=whole(row.get("Rejected")),
        stale=whole(row.get("Stale")),
        hardware_errors=whole(row.get("Hardware Errors")),
        uptime=None if elapsed is None else Seconds(elapsed),
        faults=_faults(devices, boards),
        identity=identity,
        repairs=tuple(
            dict.fromkeys((*summary.repairs, *(pools.repairs if pools else ()), *(devs.repairs if devs else ())))
        ),
    )


def identity(version: Reply, devdetails: Reply | None) -> Identity:
    """Who answers: the program and its version, and the device's model where it tells."""
    row = version.row("VERSION")
    make, firmware = next(
        ((name, row[name]) for name in ("CGMiner", "BFGMiner", "Miner") if row.get(name)), (None, None)
    )
    details = devdetails.row("DEVDETAILS") if devdetails is not None else {}
    model = text(row.get("PROD")) or text(row.get("Type")) or text(details.get("Model")) or text(details.get("Name"))
    mac = text(row.get("MAC"))
    return Identity(
        make,
        model,
        None if firmware is None else text(str(firmware)),
        mac=mac.lower() if mac else None,
        rpc_version=text(row.get("API")),
    )


def shortest_rate(row: Mapping[str, Any]) -> HashesPerSecond | None:
    """The rate over the shortest window of seconds."""
    windows = [(int(found[2]), found[1], name) for name in row if (found := _WINDOW.fullmatch(name))]
    if not windows:
        return None
    _, prefix, name = min(windows)
    value = number(row[name])
    return None if value is None else HashesPerSecond(value * _SCALE[prefix])


def _average(row: Mapping[str, Any]) -> HashesPerSecond | None:
    for prefix, scale in _SCALE.items():
        value = number(row.get(f"{prefix}HS av"))
        if value is not None:
            return HashesPerSecond(value * scale)
    return None


def _board(place: int, row: Mapping[str, Any]) -> BoardReading:
    numbers = (whole(row.get(name)) for name in ("ASC", "PGA", "GPU"))
    index = next((found for found in numbers if found is not None), place)
    heat = temperature(member(row, "Temperature"))
    return BoardReading(
        index,
        hashrate=shortest_rate(row),
        chip_temperature=None if heat is None else Celsius(heat),
        hardware_errors=whole(row.get("Hardware Errors")),
    )


def _activity(hashrate: HashesPerSecond | None) -> Activity | None:
    if hashrate is None:
        return None
    return Activity.HASHING if hashrate > 0 else Activity.IDLE


def _faults(devices: Sequence[Mapping[str, Any]], boards: Sequence[BoardReading]) -> tuple[Fault, ...]:
    return tuple(
        Fault(FaultCode.BOARD, f"device is {str(row.get('Status'))[:20].lower()}", board.index)
        for row, board in zip(devices, boards, strict=True)
        if word(row.get("Status")) in _SICK or row.get("No Device") is True
    )
