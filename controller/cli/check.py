"""`shedload check`: reads configuration and inventory, says everything that is wrong, and shows what was understood."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from controller.cli.screen import err, out, say_json
from controller.cli.words import power
from controller.config import ConfigProblems, Installation, describe, load_installation
from controller.daemon import driver_names, rig_problems
from controller.settings import NoMeter
from shedload.errors import ConfigError
from shedload.nameplate import nameplate

GOOD, WRONG = 0, 2


def check(path: Path, *, as_json: bool) -> int:
    """Check a configuration file; the exit code."""
    try:
        installation = load_installation(path, driver_names())
        if problems := asyncio.run(rig_problems(installation)):
            raise ConfigProblems(problems)
    except ConfigError as error:
        _show_problems(error, as_json=as_json)
        return WRONG
    if as_json:
        say_json({"ok": True, "warnings": installation.warnings, "config": describe(installation.config)})
    else:
        _show(path, installation)
    return GOOD


def _show_problems(error: ConfigError, *, as_json: bool) -> None:
    problems = error.problems if isinstance(error, ConfigProblems) else (error,)
    if as_json:
        rows = [{"where": item.where, "problem": item.problem, "remedy": item.remedy} for item in problems]
        say_json({"ok": False, "problems": rows})
        return
    console = err()
    for item in problems:
        console.print(Text.assemble((item.where, "bold"), ": ", item.problem), soft_wrap=True)
        if item.remedy:
            console.print(Text(f"    {item.remedy}", "green"), soft_wrap=True)
    count = len(problems)
    console.print(Text(f"{count} problem{'s' if count > 1 else ''}; nothing was started", "bold red"))


def _show(path: Path, installation: Installation) -> None:
    console = out()
    table = Table.grid(padding=(0, 2))
    for name, value in _understood(installation):
        table.add_row(Text(name, "bold"), value)
    console.print(table)
    console.print(_groups(installation))
    for advice in installation.warnings:
        console.print(Text.assemble(("advice ", "yellow"), advice))
    console.print(
        Text.assemble(("✓ ", "bold green"), f"{path} can be run: shedload run --config {path}"), soft_wrap=True
    )


def _understood(installation: Installation) -> list[tuple[str, str]]:
    config = installation.config
    site, meter = config.site, config.meter
    economics = config.economics.economics if config.economics is not None else None
    hashing = "unknown: no [economics], so prices decide nothing"
    if economics is not None:
        hashing = f"{economics.hashprice_per_ph_day:g} {site.currency} per PH/s and day"
    metered = "none: the rigs' own figures are added up"
    if not isinstance(meter, NoMeter):
        metered = f"{meter.source}, a reading counts for {meter.max_age_s:g} s"
    token = config.api.token_file or site.state_dir / "api.token"
    return [
        ("Site", f"{site.name}, {site.timezone}, {site.currency}"),
        ("Limit", f"{power(site.power_cap)}, of which {power(site.base_load)} beside the rigs"),
        ("Prices", _prices(config.price)),
        ("Hashing", hashing),
        ("Meter", metered),
        ("Pools", ", ".join(pool.url for pool in config.pools_by_priority) or "none for rigs that this daemon feeds"),
        ("Serves", f"http://{config.api.listen}/metrics, token in {token}"),
        ("State", str(site.state_dir)),
    ]


def _prices(price: Any) -> str:
    if price is None:
        return "none configured; they may come over MQTT"
    detail = getattr(price, "file", None) or getattr(price, "price_per_kwh", None)
    return f"{price.source}{f' {detail}' if detail is not None else ''}"


def _groups(installation: Installation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("group", "control", "feeder"):
        table.add_column(column)
    for column in ("rigs", "power"):
        table.add_column(column, justify="right")
    table.add_column("models", overflow="fold")
    for name, settings in installation.config.groups.items():
        slots = [slot for slot in installation.slots if slot.group == name]
        models = Counter(slot.model or "by the rig" for slot in slots)
        known = [plate.power for slot in slots if (plate := nameplate(slot.model)) is not None]
        table.add_row(
            name,
            settings.control.value,
            settings.feeder or "",
            str(len(slots)),
            power(sum(known)) if known else "",
            ", ".join(f"{count} {model}" for model, count in models.most_common(4)),
        )
    return table
