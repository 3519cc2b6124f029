"""What was measured of each rig, kept across restarts: its power and hashrate in the normal mode.

store --recall--> Farm        Farm --changed, a few at a time--> store
"""

from typing import Any

from controller.farm import Farm
from controller.store_port import StorePort
from shedload.device import RigName

NORMAL = "normal/"
"""Prefix of the fact that tells what a rig draws and hashes."""
WORTH_WRITING = 0.01
"""Relative change that is worth a write; allocation takes 2 % for noise."""
AT_ONCE = 1000
"""Facts written at a time, so that a large site's first readings do not fill one transaction."""


def recall(farm: Farm, store: StorePort) -> dict[RigName, tuple[float, float]]:
    """Hand the farm what is known; returns it, as the start for `changed`."""
    known: dict[RigName, tuple[float, float]] = {}
    for key, value in store.facts(NORMAL).items():
        match value:
            case [int() | float() as power, int() | float() as rate]:
                rig = RigName(key.removeprefix(NORMAL))
                farm.restore_normal(rig, float(power), float(rate))
                known[rig] = (float(power), float(rate))
    return known


def changed(farm: Farm, known: dict[RigName, tuple[float, float]]) -> dict[RigName, tuple[float, float]]:
    """What has changed enough to be written, at most so many rigs."""
    found: dict[RigName, tuple[float, float]] = {}
    for rig in farm.records:
        now = farm.normal(rig)
        if now is not None and _differs(known.get(rig), now):
            found[rig] = (float(now[0]), float(now[1]))
            if len(found) >= AT_ONCE:
                break
    return found


def facts(figures: dict[RigName, tuple[float, float]]) -> dict[str, Any]:
    """As they are stored."""
    return {NORMAL + rig: [round(power, 1), rate] for rig, (power, rate) in figures.items()}


def _differs(before: tuple[float, float] | None, now: tuple[float, float]) -> bool:
    if before is None:
        return True
    return any(abs(new - old) > WORTH_WRITING * old for old, new in zip(before, now, strict=True))
