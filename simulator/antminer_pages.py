"""The JSON that newer stock firmware answers to reads, on the web and, asked with "new_api", on the socket."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from simulator.antminer import Antminer
from simulator.antminer_stats import (
    board_errors,
    board_rates,
    chip_temperatures,
    pcb_temperatures,
    pic_temperatures,
    pool_rows,
    shares_of,
)
from simulator.rig import Reading, RigState


def _status(rig: Antminer, now: float, message: str) -> dict[str, Any]:
    return {"STATUS": "S", "when": rig.when(now), "Msg": message, "api_version": "1.0.0"}


def _info(rig: Antminer) -> dict[str, Any]:
    firmware = rig.firmware
    return {"miner_version": firmware.miner, "CompileTime": firmware.compile_time, "type": rig.rig.model.name}


def _rates(told: Reading) -> dict[str, Any]:
    return {
        "elapsed": int(told.elapsed),
        "rate_5s": round(told.hashrate / 1e9, 2),
        "rate_30m": round(told.hashrate_average / 1e9 * 1.0004, 2),
        "rate_avg": round(told.hashrate_average / 1e9, 2),
        "rate_ideal": round(told.hashrate_ideal / 1e9, 1),
        "rate_unit": "GH/s",
    }


def _summary(rig: Antminer, now: float) -> bytes:
    told = rig.told(now)
    status = [{"STATUS": "S", "When": rig.when(now), "Msg": "summary", "Code": 0, "Description": ""}]
    row = _rates(told) | {
        "hw_all": told.hardware_errors,
        "bestshare": shares_of(rig, told).best,
        "status": _health(told),
    }
    rows = [] if _silent(told) else [row]
    return orjson.dumps({"STATUS": status, "INFO": _info(rig), "SUMMARY": rows})


def _health(told: Reading) -> list[dict[str, Any]]:
    hot = told.state is RigState.OVERHEATED
    low = told.state is RigState.HASHING and told.hashrate < 0.8 * told.hashrate_ideal
    found = {"rate": "hash rate is low" if low else "", "network": "", "fans": "", "temp": "overheated" if hot else ""}
    return [
        {"type": kind, "status": "e" if text else "s", "code": 1 if text else 0, "msg": text}
        for kind, text in found.items()
    ]


def _stats(rig: Antminer, now: float) -> bytes:
    told = rig.told(now)
    model = rig.rig.model
    row = _rates(told) | {
        "chain_num": model.boards,
        "fan_num": len(told.fans),
        "fan": [int(speed) for speed in told.fans],
        "psu": {"index": 0, "status": "ok"},
        "hwp_total": 0.0006,
        "chain": _chains(rig, told, now),
    }
    rows = [] if _silent(told) else [row]
    return orjson.dumps({"STATUS": _status(rig, now, "stats"), "INFO": _info(rig), "STATS": rows})


def _chains(rig: Antminer, told: Reading, now: float) -> list[dict[str, Any]]:
    errors = board_errors(rig, told)
    return [
        {
            "index": board,
            "freq_avg": round(told.frequency / 1e6),
            "rate_ideal": round(told.hashrate_ideal / 1e9 / rig.rig.model.boards, 1),
            "rate_real": round(rate, 2),
            "asic_num": rig.rig.model.chips_per_board,
            "temp_pic": pic_temperatures(told, board),
            "temp_pcb": pcb_temperatures(told, board),
            "temp_chip": chip_temperatures(told, board),
            "hw": errors[board],
            "sn": f"{rig.identity.serial[:14]}{board:02d}N",
            "hwp": 0.0,
        }
        for board, rate in enumerate(board_rates(rig, told, now))
    ]


def _silent(told: Reading) -> bool:
    """The pages have nothing to list while no miner runs."""
    return told.state is RigState.ASLEEP


def _pools(rig: Antminer, now: float) -> bytes:
    return orjson.dumps(
        {"STATUS": _status(rig, now, "pools"), "INFO": _info(rig), "POOLS": [_web_pool(r) for r in pool_rows(rig, now)]}
    )


def _web_pool(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "index": row["POOL"],
        "url": row["URL"],
        "user": row["User"],
        "status": row["Status"],
        "priority": row["Priority"],
        "getworks": row["Getworks"],
        "accepted": row["Accepted"],
        "rejected": row["Rejected"],
        "discarded": row["Discarded"],
        "stale": row["Stale"],
        "diff": row["Diff"],
        "diff1": row["Diff1 Shares"],
        "diffa": int(row["Difficulty Accepted"]),
        "diffr": int(row["Difficulty Rejected"]),
        "diffs": int(row["Difficulty Stale"]),
        "lsdiff": int(row["Last Share Difficulty"]),
        "lstime": row["Last Share Time"],
    }


def _system_info(rig: Antminer, _now: float) -> bytes:
    return orjson.dumps(
        {
            "minertype": rig.rig.model.name,
            "nettype": "DHCP",
            "netdevice": "eth0",
            "macaddr": rig.identity.mac,
            "hostname": rig.identity.hostname,
            "ipaddress": rig.identity.address,
            "netmask": "255.0.0.0",
            "gateway": "",
            "dnsservers": "",
            "system_mode": "GNU/Linux",
            "system_kernel_version": rig.firmware.kernel,
            "system_filesystem_version": rig.firmware.filesystem,
            "firmware_type": "Release",
            "serinum": rig.identity.serial,
        }
    )


def _network_info(rig: Antminer, _now: float) -> bytes:
    blank = dict.fromkeys(("conf_ipaddress", "conf_netmask", "conf_gateway", "conf_dnsservers"), "")
    return orjson.dumps(
        {
            "nettype": "DHCP",
            "netdevice": "eth0",
            "macaddr": rig.identity.mac,
            "ipaddress": rig.identity.address,
            "netmask": "255.0.0.0",
            "conf_nettype": "DHCP",
            "conf_hostname": rig.identity.hostname,
        }
        | blank
    )


def _miner_type(rig: Antminer, _now: float) -> bytes:
    return orjson.dumps(
        {"miner_type": rig.rig.model.name, "subtype": "AMLCtrl_BHB42XXX", "fw_version": rig.firmware.filesystem}
    )


def _miner_conf(rig: Antminer, _now: float) -> bytes:
    conf = rig.configuration
    data = orjson.dumps(
        {
            "pools": [{"url": pool.url, "user": pool.user, "pass": pool.password} for pool in conf.pools],
            "api-listen": True,
            "api-network": True,
            "api-groups": conf.api_groups,
            "api-allow": conf.api_allow,
            "bitmain-fan-ctrl": conf.fan_ctrl,
            "bitmain-fan-pwm": conf.fan_pwm,
            "bitmain-use-vil": True,
            "bitmain-freq": conf.frequency,
            "bitmain-voltage": "1320",
            "bitmain-ccdelay": "0",
            "bitmain-pwth": "0",
            "bitmain-work-mode": str(conf.mode),
            "bitmain-hashrate-percent": "100",
            "bitmain-freq-level": str(conf.level),
        }
    )
    if rig.firmware.missing_fan_ctrl:
        return data.replace(b'"bitmain-fan-ctrl":false', b'"bitmain-fan-ctrl" : ')
    return data


def _blink_status(rig: Antminer, _now: float) -> bytes:
    return orjson.dumps({"blink": rig.blinking})


READS: Mapping[str, Callable[[Antminer, float], bytes]] = {
    "get_system_info": _system_info,
    "get_network_info": _network_info,
    "miner_type": _miner_type,
    "summary": _summary,
    "stats": _stats,
    "pools": _pools,
    "get_miner_conf": _miner_conf,
    "get_blink_status": _blink_status,
}
"""Pages by the name of their CGI."""
SOCKET_SHAPES: Mapping[str, Callable[[Antminer, float], bytes]] = {
    "summary": _summary,
    "stats": _stats,
    "pools": _pools,
}
"""Those that the socket also has."""
