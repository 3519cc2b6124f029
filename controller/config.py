"""Reads the configuration: text in, frozen settings out, or every problem at once, each with file, line and remedy.

    shedload.toml --tomllib--> table --pydantic--> Config --checks--> Config | ConfigProblems
    slots.csv named in it --inventory--> slots ----------^

Nothing else in the program opens shedload.toml.
"""

import json
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.config_checks import advice_on_slots, check_config, check_slots, warnings_of
from controller.config_problems import ConfigProblems, Locator, explain
from controller.inventory import Slot, read_inventory, spec_of
from controller.settings import Config
from controller.text_file import read_text
from controller.toml_lines import TomlLines
from shedload.device import RigSpec
from shedload.errors import ConfigError

__all__ = ["Config", "ConfigProblems", "Installation", "describe", "load", "load_installation", "warnings_of"]

MAX_CONFIG_BYTES = 1024 * 1024
"""Rigs live in the inventory, so a configuration has some hundred lines; a larger file is the wrong file."""


@dataclass(frozen=True, slots=True)
class Installation:
    """All that the operator wrote: the configuration, the slots of the inventory, and advice on both."""

    config: Config
    slots: tuple[Slot, ...]
    warnings: tuple[str, ...] = ()

    def specs(self) -> tuple[RigSpec, ...]:
        """What drivers need to open the rigs, secrets read now. Raises ConfigError."""
        credentials = {name: settings.credential() for name, settings in self.config.credentials.items()}
        return tuple(spec_of(slot, credentials) for slot in self.slots)


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file. Raises ConfigProblems, a ConfigError that lists everything wrong."""
    return _load(Path(path), environ)[0]


def load_installation(path: Path, drivers: Collection[str], environ: Mapping[str, str] | None = None) -> Installation:
    """Read and check the configuration and the inventory that it names; `drivers` are the names that exist.

    Raises ConfigProblems.
    """
    config, locator = _load(Path(path), environ)
    slots = read_inventory(
        config.site.inventory,
        drivers=drivers,
        groups={name: group.feeder for name, group in config.groups.items()},
        feeders=config.feeders,
        credentials=config.credentials,
    )
    if problems := check_slots(config, slots, locator):
        raise ConfigProblems(problems)
    return Installation(config, slots, (*warnings_of(config), *advice_on_slots(config, slots)))


def describe(config: Config) -> dict[str, Any]:
    """The settings in force, defaults filled in and secrets masked, ready for JSON."""
    return config.model_dump(mode="json", exclude_none=True)


def _load(path: Path, environ: Mapping[str, str] | None) -> tuple[Config, Locator]:
    text = _read(path)
    table = _parse(path, text)
    locator = Locator(path, table, TomlLines(text))
    context = {"folder": path.absolute().parent, "environ": os.environ if environ is None else environ}
    try:
        config = Config.model_validate_json(_as_json(path, table), context=context)
    except ValidationError as error:
        # from None: the chained text would quote values, secrets among them
        raise ConfigProblems(explain(error, locator)) from None
    if problems := check_config(config, locator):
        raise ConfigProblems(problems)
    return config, locator


def _read(path: Path) -> str:
    try:
        return read_text(
            path,
            limit=MAX_CONFIG_BYTES,
            missing="name the configuration file, or start from an example",
            too_large="rigs belong into the inventory",
        )
    except ConfigError as error:
        raise ConfigProblems([error]) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(path, text, str(error)) from None
    except (RecursionError, ValueError):
        raise _one(str(path), "is not TOML that can be read", "no setting needs deep nesting or huge numbers") from None


def _not_toml(path: Path, text: str, message: str) -> ConfigProblems:
    """The parser puts the place behind the message, as "(at line 3, column 8)" or "(at end of document)"."""
    reason, _, place = message.rpartition(" (at ")
    where = f"{path}:{text.count(chr(10)) + 1}"
    if place.startswith("line "):
        line, _, column = place.rstrip(")").removeprefix("line ").partition(", column ")
        where = f"{path}:{line}:{column}"
    return _one(where, f"is not TOML: {reason or message}", "text stands in quotes, a table's name in [brackets]")


def _as_json(path: Path, table: dict[str, Any]) -> str:
    """JSON is what pydantic reads strictly and yet finds paths, times and enumerations in."""
    try:
        return json.dumps(table, default=str)
    except (ValueError, RecursionError):
        raise _one(str(path), "holds a value too large to read", "no setting needs more than 20 digits") from None


def _one(where: str, problem: str, remedy: str) -> ConfigProblems:
    return ConfigProblems([ConfigError(where, problem, remedy)])
