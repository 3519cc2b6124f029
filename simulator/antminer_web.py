"""The web interface of stock Antminer firmware: one HTTP request in, one answer out.

Digest authentication stands before every page. The newer generation speaks JSON both ways; the older two take forms and
hand the socket's own answers through (simulator/antminer_forms.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from simulator import antminer_forms
from simulator.antminer import LEVELS, Antminer, Configuration, PoolEntry
from simulator.antminer_pages import READS
from simulator.faults import Fault
from simulator.models import NORMAL, SLEEP, Generation
from simulator.rig import RigState

HTML = "text/html"
JSON = "application/json"
TEXT = "text/plain"
MODES = {str(mode) for mode in range(4)}


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An answer; `drop` means that the connection is closed instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False


class Rejected(Exception):
    """A configuration that the firmware will not take."""


def answer(rig: Antminer, method: str, path: str, headers: Mapping[str, str], body: bytes, now: float) -> HttpReply:
    """Answer one request; `headers` have lower-case names."""
    authorization = headers.get("authorization")
    refusal = rig.gate.refusal(method, path, authorization)
    if Fault.UNAUTHORIZED in rig.faults:
        refusal = rig.gate.challenge()
    if refusal is not None:
        if authorization is None and rig.drops_challenge():
            return HttpReply(drop=True)
        return HttpReply(401, {"WWW-Authenticate": refusal, "Content-Type": HTML}, b"<h1>401 - Unauthorized</h1>")
    page = path.partition("?")[0]
    if page == "/":
        return HttpReply(200, {"Content-Type": HTML}, b"<html><title>Ant Miner</title></html>")
    if not page.startswith("/cgi-bin/") or not page.endswith(".cgi"):
        return _not_found()
    return _cgi(rig, page.removeprefix("/cgi-bin/").removesuffix(".cgi"), method, body, now)


def _cgi(rig: Antminer, name: str, method: str, body: bytes, now: float) -> HttpReply:
    if name == "reboot":
        rig.reboot(now)
        return HttpReply(drop=True)
    if rig.firmware.generation is not Generation.NEW:
        text = antminer_forms.answer(rig, name, method, body, now)
        return _not_found() if text is None else HttpReply(200, {"Content-Type": TEXT}, text)
    if name in POSTS and (method == "POST" or name not in READS):
        return _reply(POSTS[name](rig, body, now))
    if name == "log":
        return HttpReply(200, {"Content-Type": TEXT}, _log(rig, now))
    if name not in READS:
        return _not_found()
    if name == "get_miner_conf" and not rig.conf_readable(now):
        return HttpReply(500, {"Content-Type": HTML}, b"<h1>500 - Internal Server Error</h1>")
    return _reply(READS[name](rig, now))


def _reply(data: bytes) -> HttpReply:
    return HttpReply(200, {"Content-Type": JSON}, data)


def _not_found() -> HttpReply:
    return HttpReply(404, {"Content-Type": HTML}, b"<h1>404 - Not Found</h1>")


def _blink(rig: Antminer, body: bytes, _now: float) -> bytes:
    wanted = _object(body).get("blink")
    rig.blinking = wanted is True or wanted == "true"
    return orjson.dumps({"code": "B000" if rig.blinking else "B100"})


def _set_miner_conf(rig: Antminer, body: bytes, now: float) -> bytes:
    """Replace the configuration by the body: what the body leaves out is gone."""
    try:
        new = _configuration(rig, _object(body))
    except Rejected as error:
        return orjson.dumps({"stats": "error", "code": "M001", "msg": str(error)})
    rig.write(new, now)
    return orjson.dumps({"stats": "success", "code": "M000", "msg": "OK!"})


def _configuration(rig: Antminer, body: Mapping[str, Any]) -> Configuration:
    if not body:
        raise Rejected("Illegal request!")
    if rig.firmware.whole_configuration and (lacking := WHOLE - body.keys()):
        raise Rejected(f"{min(lacking)} is missing")
    old = rig.configuration
    return Configuration(
        pools=_pool_entries(body.get("pools", [])),
        mode=_mode(rig, body, old.mode),
        level=_level(body, old.level),
        fan_ctrl=body.get("bitmain-fan-ctrl") in {True, "true", "1"},
        fan_pwm=str(body.get("bitmain-fan-pwm", "100")),
        frequency=str(body.get("bitmain-freq", old.frequency)),
        api_groups=str(body.get("api-groups", old.api_groups)),
        api_allow=str(body.get("api-allow", old.api_allow)),
    )


def _mode(rig: Antminer, body: Mapping[str, Any], old: int) -> int:
    value = body.get(rig.firmware.mode_key)
    if value is None or (rig.firmware.text_modes and not isinstance(value, str)):
        return old
    if str(value) not in MODES:
        raise Rejected("miner mode is wrong")
    mode = int(value)
    return mode if mode == SLEEP or mode in rig.rig.model.modes else NORMAL


def _level(body: Mapping[str, Any], old: int) -> int:
    value = body.get("freq-level", "")
    if value in {"", None}:
        return old
    if not str(value).isdigit() or int(value) not in LEVELS:
        raise Rejected("frequency level is wrong")
    return int(value)


def _pool_entries(entries: Any) -> tuple[PoolEntry, ...]:
    if not isinstance(entries, list):
        raise Rejected("pools are wrong")
    rows = [entry for entry in entries if isinstance(entry, dict)]
    return tuple(
        PoolEntry(str(row.get("url", "")), str(row.get("user", "")), str(row.get("pass", ""))) for row in rows
    )  # fmt: skip


def _passwd(rig: Antminer, body: bytes, _now: float) -> bytes:
    asked = _object(body)
    if asked.get("curPwd") != rig.gate.password:
        return orjson.dumps({"stats": "error", "code": "P002", "msg": "Current password incorrect"})
    if not asked.get("newPwd") or asked["newPwd"] != asked.get("confirmPwd"):
        return orjson.dumps({"stats": "error", "code": "P003", "msg": "New password and confirmation do not match"})
    rig.gate.password = str(asked["newPwd"])
    return orjson.dumps({"stats": "success", "code": "P000", "msg": "OK!"})


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _log(rig: Antminer, now: float) -> bytes:
    told = rig.told(now)
    lines = [f"{rig.when(now)} driver-btm-api.c: miner type: {rig.rig.model.name}", f"state {told.state}"]
    if told.state is RigState.OVERHEATED:
        lines.append("ERROR_TEMP_TOO_HIGH: over max temp, stop mining")
    return ("\n".join(lines) + "\n").encode()


POSTS: Mapping[str, Callable[[Antminer, bytes, float], bytes]] = {
    "set_miner_conf": _set_miner_conf,
    "blink": _blink,
    "passwd": _passwd,
}
# fmt: off  one a line would hide the next screen
WHOLE = frozenset(
    {
        "pools",
        "api-listen",
        "api-network",
        "api-groups",
        "api-allow",
        "bitmain-fan-ctrl",
        "bitmain-fan-pwm",
        "bitmain-use-vil",
        "bitmain-freq",
        "bitmain-voltage",
        "bitmain-ccdelay",
        "bitmain-pwth",
        "bitmain-work-mode",
    }
)
# fmt: on
"""What 2025 firmware wants echoed in every write."""
