"""The form pages of the two older generations: the S9 class and the S17 class."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qs

import orjson

from simulator import antminer_socket
from simulator.antminer import POOL_SLOTS, X17_SLEEP, Antminer, Configuration, PoolEntry
from simulator.models import NORMAL, SLEEP, Generation


def answer(rig: Antminer, name: str, method: str, body: bytes, now: float) -> bytes | None:
    """The body of a page, or None where there is no such page."""
    form = {key: values[-1] for key, values in parse_qs(body.decode(errors="replace"), keep_blank_values=True).items()}
    if name == "set_miner_conf":
        return _set_conf(rig, form, now) if method == "POST" else b""
    if name == "blink":
        return _blink(rig, form)
    if name in BRIDGED:
        return antminer_socket.web_bridge(rig, BRIDGED[name], now)
    page = READS.get(name)
    return None if page is None else page(rig)


def _set_conf(rig: Antminer, form: Mapping[str, str], now: float) -> bytes:
    pools = tuple(
        PoolEntry(*(form.get(f"_ant_pool{slot}{part}", "") for part in ("url", "user", "pw")))
        for slot in range(1, POOL_SLOTS + 1)
    )
    old = rig.configuration
    new = Configuration(pools, mode=_mode(rig, form), frequency=form.get("_ant_freq", old.frequency))
    rig.write(replace(new, fan_ctrl=form.get("_ant_fan_customize_switch") == "true"), now)
    return b"ok"


def _mode(rig: Antminer, form: Mapping[str, str]) -> int:
    asleep = rig.firmware.generation is Generation.X17 and form.get("_ant_work_mode") == str(X17_SLEEP)
    return SLEEP if asleep else NORMAL


def _blink(rig: Antminer, form: Mapping[str, str]) -> bytes:
    action = form.get("action")
    if action in {"startBlink", "stopBlink"}:
        rig.blinking = action == "startBlink"
    return orjson.dumps({"isBlinking": rig.blinking})


def _miner_conf(rig: Antminer) -> bytes:
    conf = rig.configuration
    mode = {"bitmain-work-mode": str(rig.mode_number())} if rig.firmware.generation is Generation.X17 else {}
    return orjson.dumps(
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
            "bitmain-voltage": "1950",
        }
        | mode
    )


def _system_info(rig: Antminer) -> bytes:
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
            "curtime": "",
            "uptime": "",
            "system_mode": "GNU/Linux",
            "system_kernel_version": rig.firmware.kernel,
            "system_filesystem_version": rig.firmware.filesystem,
            "bmminer_version": "2.0.0",
        }
    )


READS: Mapping[str, Callable[[Antminer], bytes]] = {"get_miner_conf": _miner_conf, "get_system_info": _system_info}
BRIDGED: Mapping[str, str] = {"miner_stats": "stats", "miner_summary": "summary", "miner_pools": "pools"}
