"""Drivers: one module per machine family. A driver knows its machine, no price and no pool.

inventory row --driver name--> load() --module--> open(spec, io) --> Rig
"""

import importlib
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType
from typing import Protocol, cast

from drivers.io import Io
from shedload.device import API_VERSION, Rig, RigSpec
from shedload.errors import ConfigError

ENTRY_POINTS = "shedload.drivers"
"""Entry point group in which other distributions offer drivers; the entry names a module."""

_NO_DRIVERS = frozenset({"io", "meter_http"})
"""Modules beside the drivers: what all of them need, and a meter, which is no rig."""


class DriverModule(Protocol):
    """What a driver module offers."""

    api_version: int

    def open(self, spec: RigSpec, io: Io) -> Rig:
        """Make the rig; touches no network. Raises ConfigError where the row cannot be right."""
        ...


def names() -> tuple[str, ...]:
    """Every driver that can be loaded, sorted."""
    return tuple(sorted(set(_built_in()) | set(entry_points(group=ENTRY_POINTS).names)))


def load(name: str) -> DriverModule:
    """The driver module called `name`. Raises ConfigError when there is none or it was written for another border."""
    module = _find(name)
    version = getattr(module, "api_version", None)
    if version != API_VERSION or not callable(getattr(module, "open", None)):
        raise ConfigError(
            f"driver {name!r}",
            f"is written for version {version} of the driver border, this shedload has {API_VERSION}",
            "install a matching version of the driver",
        )
    return cast("DriverModule", module)


def _find(name: str) -> ModuleType:
    if name in _built_in():
        return importlib.import_module(f"drivers.{name}")
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        return cast("ModuleType", entry.load())
    raise ConfigError(f"driver {name!r}", "is not known", f"use one of: {', '.join(names())}")


def _built_in() -> tuple[str, ...]:
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in found if not name.startswith("_") and name not in _NO_DRIVERS)
