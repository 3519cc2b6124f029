"""Faults by name: what each one spoils, and the switch that every layer of a simulated rig asks.

Connection faults are played by simulator/endpoint.py, lies by simulator/antminer.py, slowness by simulator/rig.py.
"""

from collections.abc import Iterable
from enum import StrEnum

from shedload.errors import ConfigError


class Fault(StrEnum):
    """Everything that can be wrong with a simulated rig on purpose."""

    OFFLINE = "offline"  # connections are refused
    HANG = "hang"  # connections are accepted and never answered
    DRIP = "drip"  # one byte a second
    GARBAGE = "garbage"  # answers that mean nothing
    ENDLESS_JSON = "endless_json"  # an answer that never ends
    TRUNCATED = "truncated"  # the answer stops half-way
    UNAUTHORIZED = "unauthorized"  # no credential is right, the socket denies every command
    REFUSE = "refuse"  # writes answer success and change nothing
    LIE = "lie"  # most chips stop; the firmware goes on reporting full hashrate and power
    LIE_ASLEEP = "lie_asleep"  # told to sleep, it says it sleeps and goes on hashing
    SLOW_BOOT = "slow_boot"  # ten times the usual time
    POWER_WRITE_WIPES_POOLS = "power_write_wipes_pools"  # a write of the configuration loses the pools


SLOW_BOOT_FACTOR = 10.0
LYING_HEALTH = 0.35
"""Share of the chips that still work under LIE."""


class FaultSwitch:
    """The faults of one rig that are on."""

    def __init__(self, active: Iterable[Fault] = ()) -> None:
        self._active = frozenset(active)

    def __contains__(self, fault: Fault) -> bool:
        return fault in self._active

    @property
    def active(self) -> frozenset[Fault]:
        """Those that are on."""
        return self._active

    def set(self, faults: Iterable[Fault]) -> None:
        """Have exactly these on."""
        self._active = frozenset(faults)


def fault_named(name: str, where: str) -> Fault:
    """The fault of a name; ConfigError names what would do."""
    try:
        return Fault(name)
    except ValueError:
        known = ", ".join(sorted(Fault))
        raise ConfigError(where, f"there is no fault {name!r}", f"use one of {known}") from None
