"""Which fields pyasic's get_data fills for a rig, and which of these our telemetry leaves empty.

A field counts as filled when it holds something the rig told. pyasic's sums and percentages, and what it knows of a
model without asking (expected boards, chips, fans), are no readings.
"""

from collections.abc import Callable
from typing import Any

from shedload.device import BoardReading, PoolReading, Telemetry

COUNTERPARTS: dict[str, Callable[[Telemetry], Any]] = {
    "serial_number": lambda told: told.identity and told.identity.serial,
    "mac": lambda told: told.identity and told.identity.mac,
    "hostname": lambda told: told.identity and told.identity.hostname,
    "fw_ver": lambda told: told.identity and told.identity.firmware,
    "api_ver": lambda told: told.identity and told.identity.rpc_version,
    "device_info": lambda told: told.identity and told.identity.make and told.identity.model,
    "raw_hashrate": lambda told: told.hashrate,
    "expected_hashrate": lambda told: told.hashrate_nominal,
    "env_temp": lambda told: told.inlet_temperature,
    "wattage": lambda told: told.power,
    "raw_wattage_limit": lambda told: told.power_limit,
    "fans": lambda told: told.fans,
    "hashboards": lambda told: told.boards,
    "pools": lambda told: told.pools,
    "config": lambda told: told.mode and told.pools,
    "fault_light": lambda told: told.locating,
    "errors": lambda told: told.faults or None,
    "is_mining": lambda told: told.activity,
    "uptime": lambda told: told.uptime,
}
BOARD: dict[str, Callable[[BoardReading], Any]] = {
    "slot": lambda board: board.index,
    "hashrate": lambda board: board.hashrate,
    "temp": lambda board: board.pcb_temperature,
    "chip_temp": lambda board: board.chip_temperature,
    "chips": lambda board: board.chips,
    "serial_number": lambda board: board.serial,
}
POOL: dict[str, Callable[[PoolReading], Any]] = {
    "url": lambda pool: pool.url,
    "user": lambda pool: pool.user,
    "accepted": lambda pool: pool.accepted,
    "rejected": lambda pool: pool.rejected,
    "active": lambda pool: pool.active,
    "alive": lambda pool: pool.status,
    "index": lambda pool: pool.index,
    "get_failures": lambda pool: pool.get_failures,
    "remote_failures": lambda pool: pool.remote_failures,
}
NOT_TOLD = frozenset(
    {"ip", "raw_datetime", "sticker_hashrate", "expected_hashboards", "expected_chips", "expected_fans"}
)
"""pyasic has these from its own tables or from the caller."""
NOT_TOLD_OF_BOARD = frozenset({"expected_chips", "missing", "tuned", "active"})


def missing_fields(data: Any, told: Telemetry) -> tuple[set[str], set[str]]:
    """What pyasic's MinerData fills, and what of it has no value in ours; names with a dot are of boards and pools."""
    filled, missing = set(), set()
    for name in type(data).model_fields:
        if name in NOT_TOLD or not _filled(getattr(data, name)):
            continue
        filled.add(name)
        if name not in COUNTERPARTS or not _filled(COUNTERPARTS[name](told)):
            missing.add(name)
    for kind, theirs, ours, table, skipped in (
        ("board", data.hashboards, told.boards or (), BOARD, NOT_TOLD_OF_BOARD),
        ("pool", data.pools, told.pools or (), POOL, frozenset[str]()),
    ):
        for row, own in zip(theirs, [*ours, *[None] * len(theirs)], strict=False):
            for name in type(row).model_fields:
                if name in skipped or not _filled(getattr(row, name)):
                    continue
                filled.add(f"{kind}.{name}")
                if own is None or name not in table or table[name](own) is None:
                    missing.add(f"{kind}.{name}")
    return filled, missing


def _filled(value: Any) -> bool:
    return value is not None and value not in ("", [], ())
