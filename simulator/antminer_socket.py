"""The CGMiner socket of stock Antminer firmware: one request in, the bytes of its answer out.

Sits between simulator/endpoint.py (which owns the connection) and simulator/antminer.py.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from simulator.antminer import Antminer
from simulator.antminer_pages import SOCKET_SHAPES
from simulator.antminer_stats import pool_rows, shares_of, stats_row
from simulator.faults import Fault

MAX_REQUEST = 4095
"""cgminer does one recv of so many bytes and ignores the rest."""
DESCRIPTION = "cgminer 1.0.0"
API = "3.1"
BMMINER = "1.0.0"
JOINABLE = frozenset({"version", "config", "devs", "pools", "summary", "stats"})
# fmt: off  one a line would hide the next screen
KNOWN_CLOSED = frozenset(
    {
        "edevs",
        "devdetails",
        "estats",
        "dbgstats",
        "notify",
        "coin",
        "lcd",
        "asccount",
        "asc",
        "pgacount",
        "check",
        "privileged",
        "addpool",
        "switchpool",
        "enablepool",
        "disablepool",
        "removepool",
        "poolpriority",
        "poolquota",
        "save",
        "quit",
        "restart",
        "zero",
        "debug",
        "setconfig",
        "failover-only",
        "hotplug",
        "lockstats",
        "ascenable",
        "ascdisable",
        "ascidentify",
        "ascset",
        "usbstats",
    }
)
# fmt: on
"""Commands that exist in the program and belong to no group that anybody is in."""


def answer(rig: Antminer, request: bytes, now: float) -> bytes:
    """The bytes that go back before the connection closes."""
    command, new_api, problem = _parse(request[:MAX_REQUEST])
    if problem is not None:
        return _finish(rig, _error(rig, now, *problem))
    if new_api and rig.firmware.new_api and command in SOCKET_SHAPES:
        return SOCKET_SHAPES[command](rig, now) + b"\0"
    if "+" in command and rig.firmware.joins:
        members = dict.fromkeys(part for part in command.split("+") if part)
        return _finish(rig, {part: [_one(rig, part, now, joined=True)] for part in members} | {"id": 1})
    return _finish(rig, _one(rig, command, now))


def web_bridge(rig: Antminer, command: str, now: float) -> bytes:
    """What an old web page gets when it asks the miner through the socket."""
    return _finish(rig, _one(rig, command, now)).rstrip(b"\0")


def _parse(request: bytes) -> tuple[str, bool, tuple[int, str] | None]:
    text = request.decode(errors="replace").strip("\0\r\n ")
    if not text.startswith("{"):
        return text.split("|", 1)[0], False, None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return "", False, (23, "Invalid JSON")
    command = parsed.get("command")
    if not isinstance(command, str):
        return "", False, (24, "Missing JSON 'command'")
    return command, parsed.get("new_api") is True, None


def _one(rig: Antminer, command: str, now: float, *, joined: bool = False) -> dict[str, Any]:
    build = COMMANDS.get(command)
    if build is None and command not in KNOWN_CLOSED:
        return _error(rig, now, 14, "Invalid command")
    if build is None or not _allowed(rig, command):
        return _error(rig, now, 45, f"Access denied to '{command}' command")
    if joined and command not in JOINABLE:
        return _error(rig, now, 45, f"Access denied to '{command}' command")
    return build(rig, now)


def _allowed(rig: Antminer, command: str) -> bool:
    if Fault.UNAUTHORIZED in rig.faults:
        return False
    open_anyway = command == "config" and rig.firmware.config_open
    return open_anyway or command in rig.configuration.api_groups.split(":")[1:]


def _finish(rig: Antminer, reply: Mapping[str, Any]) -> bytes:
    data = orjson.dumps(reply)
    if rig.firmware.glued:
        data = re.sub(rb'("Type":"[^"]*"\}),(\{"STATS":)', rb"\1\2", data)
    if rig.firmware.scientific_total:
        data = re.sub(rb'"Total MH":(\d+\.\d+|\d\.?\d*e\d+)', _scientific, data)
    return data + b"\0"


def _scientific(found: re.Match[bytes]) -> bytes:
    value = float(found.group(1))
    return found.group(0) if value == 0 else b'"Total MH":' + f"{value:.10E}".encode()


def _status(rig: Antminer, now: float, code: int, message: str, letter: str = "S") -> list[dict[str, Any]]:
    return [{"STATUS": letter, "When": rig.when(now), "Code": code, "Msg": message, "Description": DESCRIPTION}]


def _error(rig: Antminer, now: float, code: int, message: str) -> dict[str, Any]:
    return {"STATUS": _status(rig, now, code, message, "E"), "id": 1}


def _version(rig: Antminer, now: float) -> dict[str, Any]:
    block = {
        "BMMiner": BMMINER,
        "API": API,
        "Miner": rig.firmware.miner,
        "CompileTime": rig.firmware.compile_time,
        "Type": rig.rig.model.name,
    }
    return {"STATUS": _status(rig, now, 22, "CGMiner versions"), "VERSION": [block], "id": 1}


def _summary(rig: Antminer, now: float) -> dict[str, Any]:
    told = rig.told(now)
    shares = shares_of(rig, told)
    minutes = max(told.elapsed / 60, 1 / 60)
    rows = {
        "Elapsed": int(told.elapsed),
        "GHS 5s": round(told.hashrate / 1e9, 2),
        "GHS av": round(told.hashrate_average / 1e9, 2),
        "GHS 30m": round(told.hashrate_average / 1e9 * 1.0004, 2),
        "Found Blocks": 0,
        "Getwork": shares.getworks,
        "Accepted": shares.accepted,
        "Rejected": shares.rejected,
        "Hardware Errors": told.hardware_errors,
        "Utility": round(shares.accepted / minutes, 2),
        "Discarded": shares.discarded,
        "Stale": shares.stale,
        "Get Failures": 0,
        "Local Work": shares.discarded + shares.getworks,
        "Remote Failures": 0,
        "Network Blocks": int(told.elapsed // 600),
        "Total MH": round(told.hashes / 1e6, 1),
        "Work Utility": round(told.shares / minutes, 2),
        "Difficulty Accepted": shares.accepted * rig.share_difficulty,
        "Difficulty Rejected": shares.rejected * rig.share_difficulty,
        "Difficulty Stale": shares.stale * rig.share_difficulty,
        "Best Share": shares.best,
        "Device Hardware%": 0.0,
        "Device Rejected%": 0.0,
        "Pool Rejected%": 0.0,
        "Pool Stale%": 0.0,
        "Last getwork": rig.when(now),
    }
    return {"STATUS": _status(rig, now, 11, "Summary"), "SUMMARY": [rows], "id": 1}


def _pools(rig: Antminer, now: float) -> dict[str, Any]:
    rows = pool_rows(rig, now)
    return {"STATUS": _status(rig, now, 7, f"{len(rows)} Pool(s)"), "POOLS": rows, "id": 1}


def _stats(rig: Antminer, now: float) -> dict[str, Any]:
    block = {
        "BMMiner": BMMINER,
        "Miner": "49.0.1.3" if rig.firmware.miner.startswith("uart") else rig.firmware.miner,
        "CompileTime": rig.firmware.compile_time,
        "Type": rig.rig.model.name,
    }
    return {"STATUS": _status(rig, now, 70, "CGMiner stats"), "STATS": [block, stats_row(rig, now)], "id": 1}


def _devs(rig: Antminer, now: float) -> dict[str, Any]:
    told = rig.told(now)
    shares = shares_of(rig, told)
    rated = rig.firmware.devs_rate
    last = rig.when(now - now % 5)
    row = {
        "ASC": 0,
        "Name": "BTM_SOC",
        "ID": 0,
        "Enabled": "Y",
        "Status": "Alive",
        rig.firmware.temperature_key: float(round(told.chip_temperature)) if rated else 0.0,
        "MHS av": round(told.hashrate_average / 1e9, 2) if rated else 0.0,
        "MHS 5s": round(told.hashrate / 1e9, 2) if rated else 0.0,
        "Accepted": shares.accepted,
        "Rejected": shares.rejected,
        "Hardware Errors": 0,
        "Utility": 0.0,
        "Last Share Pool": 0,
        "Last Share Time": last,
        "Total MH": 0.0,
        "Diff1 Work": 0,
        "Difficulty Accepted": int(shares.accepted * rig.share_difficulty),
        "Difficulty Rejected": int(shares.rejected * rig.share_difficulty),
        "Last Share Difficulty": last,
        "Last Valid Work": last,
        "Device Hardware%": 0.0,
        "Device Rejected%": 0.0,
        "Device Elapsed": int(told.elapsed),
    }
    return {"STATUS": _status(rig, now, 9, "1 ASC(s)"), "DEVS": [row], "id": 1}


def _config(rig: Antminer, now: float) -> dict[str, Any]:
    row = {
        "ASC Count": rig.rig.model.boards,
        "PGA Count": 0,
        "Pool Count": len(rig.configuration.pools),
        "Strategy": "Failover",
        "Log Interval": 5,
        "Device Code": "BTM_SOC",
        "OS": "Linux",
        "Failover-Only": True,
        "ScanTime": 60,
        "Queue": 1,
        "Expiry": 120,
    }
    return {"STATUS": _status(rig, now, 33, "CGMiner config"), "CONFIG": [row], "id": 1}


COMMANDS: Mapping[str, Callable[[Antminer, float], dict[str, Any]]] = {
    "version": _version,
    "summary": _summary,
    "pools": _pools,
    "stats": _stats,
    "devs": _devs,
    "config": _config,
}
