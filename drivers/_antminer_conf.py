"""The configuration of a stock Antminer as a value: what it says, how it is written back, what else a write changed.

    get_miner_conf --> what it says --Change--> body of set_miner_conf --read back--> applied? disturbed?

A write replaces the whole configuration, so everything is echoed. Two members have other names when written
(`bitmain-work-mode` as `miner-mode`, `bitmain-freq-level` as `freq-level`); newer firmware takes the names it reads.
Both are sent, and every value keeps the type in which the firmware gave it; only modes are numbers, unless `text_modes`
is set.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from drivers._antminer_sample import Generation
from shedload.cgminer.values import number
from shedload.device import PoolTarget

MODE = "bitmain-work-mode"
LEVEL = "bitmain-freq-level"
MODE_WRITTEN = "miner-mode"
LEVEL_WRITTEN = "freq-level"
POOL_PLACES = 3

Conf = Mapping[str, Any]

_NEW_MODES = {0: "normal", 1: "sleep", 2: "high", 3: "low"}
_X17_MODES = {0: "normal", 254: "sleep"}


@dataclass(frozen=True, slots=True)
class Change:
    """What a write is to change; None leaves a thing as it is."""

    mode: str | None = None
    level: int | None = None
    pools: tuple[PoolTarget, ...] | None = None


def generation(conf: Conf) -> Generation:
    """Which of the three generations writes such a configuration."""
    if "bitmain-pwth" in conf:
        return Generation.NEW
    return Generation.X17 if MODE in conf else Generation.OLD


def mode_names(kind: Generation) -> Mapping[int, str]:
    """The work modes of a generation; the old one has none."""
    return {Generation.NEW: _NEW_MODES, Generation.X17: _X17_MODES, Generation.OLD: {}}[kind]


def mode(conf: Conf) -> str | None:
    """The work mode in our words; the firmware's number as text where we have no word; None where it has no value."""
    told = number(conf.get(MODE))
    if told is None:
        return None
    return mode_names(generation(conf)).get(int(told), str(int(told)))


def level(conf: Conf) -> int | None:
    """The frequency level in percent."""
    told = number(conf.get(LEVEL))
    return None if told is None else int(told)


def pools(conf: Conf) -> list[dict[str, Any]]:
    """Every place for a pool, as the firmware gave it."""
    told = conf.get("pools")
    return [dict(entry) for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []


def applied(conf: Conf, change: Change) -> bool:
    """True if the configuration is as the change wants it."""
    if change.mode is not None and mode(conf) != change.mode:
        return False
    if change.level is not None and level(conf) != change.level:
        return False
    return change.pools is None or _configured(pools(conf)) == _configured(_entries(change.pools))


def json_body(conf: Conf, change: Change, *, text_modes: bool = False) -> dict[str, Any]:
    """What the new generation is sent: the whole configuration with the change in it."""
    body = {name: value for name, value in conf.items() if name not in {MODE_WRITTEN, LEVEL_WRITTEN}}
    if body.get("bitmain-fan-ctrl", False) is None:
        body["bitmain-fan-ctrl"] = False  # one firmware gives no value; off is how rigs leave the factory
    body = {name: value for name, value in body.items() if value is not None}
    body[MODE_WRITTEN] = body[MODE] = _mode_value(conf, change, text_modes=text_modes)
    if LEVEL in conf:
        body[LEVEL_WRITTEN] = body[LEVEL] = _level_value(conf, change)
    body["pools"] = _written_pools(conf, change)
    return body


def form_body(conf: Conf, change: Change) -> str:
    """What the old generations are sent: a form with the pools and the settings that the form knows."""
    fields: list[tuple[str, Any]] = []
    for place, entry in enumerate(_written_pools(conf, change), start=1):
        fields += [(f"_ant_pool{place}{name}", entry.get(key, "")) for name, key in _FORM_POOL]
    fields += [(name, conf.get(key, default)) for name, key, default in _FORM]
    if generation(conf) is Generation.X17:
        fields.append(("_ant_work_mode", _mode_value(conf, change, text_modes=False)))
    return "&".join(f"{name}={quote(_form_text(value), safe='')}" for name, value in fields)


def disturbed(before: Conf, after: Conf, change: Change) -> list[str]:
    """Names of what is different although nobody asked for it; names only, since values may be secrets."""
    asked = {MODE_WRITTEN, LEVEL_WRITTEN, "pools"}
    asked |= {MODE} if change.mode is not None else set()
    asked |= {LEVEL} if change.level is not None else set()
    names = [
        name
        for name, value in before.items()
        if name not in asked and _plain(value) and _plain(value) != _plain(after.get(name))
    ]
    if change.pools is None and _configured(pools(before)) != _configured(pools(after)):
        names.append("pools")
    return names


def pools_evidence(before: Conf, after: Conf) -> str:
    """How the pools fared, without naming them."""
    count = sum(1 for url, _, _ in _configured(pools(after)) if url)
    same = _configured(pools(before)) == _configured(pools(after))
    return f"{'unchanged' if same else 'changed'} ({count})"


_FORM_POOL = (("url", "url"), ("user", "user"), ("pw", "pass"))
_FORM = (
    ("_ant_nobeeper", "bitmain-nobeeper", False),
    ("_ant_notempoverctrl", "bitmain-notempoverctrl", False),
    ("_ant_fan_customize_switch", "bitmain-fan-ctrl", False),
    ("_ant_fan_customize_value", "bitmain-fan-pwm", ""),
    ("_ant_freq", "bitmain-freq", ""),
    ("_ant_voltage", "bitmain-voltage", ""),
)


def _form_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mode_value(conf: Conf, change: Change, *, text_modes: bool) -> int | str:
    """The mode to write. Unknown counts as normal: a body without a mode would mean the same."""
    kind = generation(conf)
    told = number(conf.get(MODE))
    value = 0 if told is None else int(told)
    if change.mode is not None:
        value = next(code for code, name in mode_names(kind).items() if name == change.mode)
    return str(value) if text_modes else value


def _level_value(conf: Conf, change: Change) -> Any:
    told = conf.get(LEVEL)
    if change.level is None:
        return "" if told is None else told
    return change.level if isinstance(told, int) and not isinstance(told, bool) else str(change.level)


def _written_pools(conf: Conf, change: Change) -> list[dict[str, Any]]:
    """All places, each with all its fields: some firmware leaves fields of empty places out when it is read."""
    present = pools(conf)
    entries = [{**_EMPTY, **entry} for entry in present] if change.pools is None else _entries(change.pools)
    return entries + [dict(_EMPTY) for _ in range(len(entries), max(POOL_PLACES, len(present)))]


_EMPTY = {"url": "", "user": "", "pass": ""}


def _entries(targets: tuple[PoolTarget, ...]) -> list[dict[str, Any]]:
    return [{"url": pool.url, "user": pool.user, "pass": pool.password} for pool in targets]


def _configured(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Pools that are set, as plain text; empty places at the end count for nothing."""
    plain = [tuple(str(entry.get(name) or "") for name in ("url", "user", "pass")) for entry in entries]
    while plain and not plain[-1][0]:
        plain.pop()
    return plain  # type: ignore[return-value]


def _plain(value: Any) -> str:
    """A value without its type: firmware gives 100 back for "100" and "true" for true. Empty for a missing one."""
    return "" if value is None else str(value).strip().lower()
