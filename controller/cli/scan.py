"""`shedload scan`: finds rigs on a network, read-only, and writes them down as an inventory that observes them."""

import asyncio
import csv
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from controller.cli.screen import err, out, say_json
from controller.cli.trouble import WRONG, Trouble
from controller.cli.words import DASH, plain
from controller.config import load
from controller.daemon import identifying
from controller.discover import LARGE, Found, Progress, addresses_of, discover
from controller.inventory import COLUMNS
from shedload.device import Credential
from shedload.nameplate import nameplate
from shedload.units import KILO

SHOWN = 20
"""Rows of the table that grows on a terminal; the whole table stands there at the end."""
GROUP = "found"
FOUND, NOTHING = 0, 1
FORMULA = "=+-@"
"""What a spreadsheet takes for the beginning of a formula."""
MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-]?[0-9A-Fa-f]{2}){5}")
RESULT_COLUMNS = ("address", "driver", "make", "model", "firmware", "serial", "mac", "note")


def scan(
    ranges: Sequence[str],
    *,
    exclude: Sequence[str],
    config: Path | None,
    credentials: Sequence[str],
    ports: tuple[int, int],
    concurrency: int,
    yes: bool,
    as_json: bool,
    csv_file: Path | None,
    inventory: Path | None,
) -> int:
    """Scan; the exit code. Raises Trouble, ConfigError."""
    addresses = addresses_of(ranges, exclude)
    if len(addresses) > LARGE and not yes:
        raise Trouble(f"{len(addresses)} addresses are more than a /20", "Give --yes if that is meant.", WRONG)
    if inventory is not None and inventory.exists():
        raise Trouble(f"{inventory} exists and is not overwritten", "Name another file, or move that one.", WRONG)
    _check_folders(csv_file, inventory)
    named = _credentials(config, credentials)
    console = out()
    shown = console.is_terminal and not as_json
    found = asyncio.run(_scan(addresses, list(named.values()), ports, concurrency, table=shown, quiet=as_json))
    if as_json:
        say_json([_row(item) for item in found])
    elif shown:
        console.print(_table(found))
    if csv_file is not None:
        _write_csv(csv_file, RESULT_COLUMNS, [_row(item) for item in found])
    if inventory is not None:
        _write_inventory(inventory, found, ports, next(iter(named), ""), starter=config is None)
    err().print(Text(f"{len(found)} machines at {len(addresses)} addresses; nothing was written to any of them"))
    return FOUND if found else NOTHING


def _check_folders(*files: Path | None) -> None:
    """Say before a long scan that its results would have no place."""
    for file in files:
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            raise Trouble(f"{file} cannot be written", "Name a file in a folder that exists.", WRONG)


def _credentials(config: Path | None, names: Sequence[str]) -> dict[str, Credential]:
    """The credentials of the configuration that were named; none is ever tried unasked."""
    if not names:
        return {}
    if config is None:
        raise Trouble("--credential names one of a configuration", "Give --config too.", WRONG)
    known = load(config).credentials
    if missing := [name for name in names if name not in known]:
        raise Trouble(f"there is no credential {missing[0]!r}", f"Known: {', '.join(known) or 'none'}.", WRONG)
    return {name: known[name].credential() for name in names}


async def _scan(
    addresses: Sequence[str],
    credentials: Sequence[Credential],
    ports: tuple[int, int],
    concurrency: int,
    *,
    table: bool,
    quiet: bool,
) -> list[Found]:
    """Every machine found, shown as it comes: in a growing table on a terminal, else as lines."""
    found: list[Found] = []
    bar = Bar(TextColumn("scanning"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err())
    task = bar.add_task("scan", total=len(addresses))

    def progress(state: Progress) -> None:
        bar.update(task, completed=state.done)

    def take(item: Found) -> None:
        found.append(item)
        if not table and not quiet:
            print("\t".join(str(value or "") for value in _row(item).values()), flush=True)

    view: AbstractContextManager[object] = nullcontext()
    if table:
        view = Live(console=out(), transient=True, get_renderable=lambda: Group(_table(found[-SHOWN:]), bar))
    elif sys.stderr.isatty():
        view = bar
    with view:
        async with identifying({"rpc_port": str(ports[0]), "web_port": str(ports[1])}) as identify:
            async for item in discover(
                addresses, identify, credentials=credentials, concurrency=concurrency, ports=ports, progress=progress
            ):
                take(item)
    return sorted(found, key=lambda item: tuple(map(int, item.address.split("."))))


def _row(found: Found) -> dict[str, str | None]:
    identity = asdict(found.identity)
    told = {name: None if identity[name] is None else plain(identity[name]) for name in RESULT_COLUMNS[2:-1]}
    return {"address": found.address, "driver": found.driver, **told, "note": plain(found.note)}


def _table(found: Iterable[Found]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("address", "driver", "model", "firmware", "serial", "note"):
        table.add_column(column, overflow="fold")
    for item in found:
        row = _row(item)
        style = "" if item.driver else "yellow"
        shown = [row[name] or DASH for name in ("address", "driver", "model", "firmware", "serial")]
        table.add_row(*shown, row["note"] or "", style=style)
    return table


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str | None]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)


def _write_inventory(
    path: Path, found: Sequence[Found], ports: tuple[int, int], credential: str, *, starter: bool
) -> None:
    """Slots of every machine that a driver understood; and, where there is no configuration yet, one that observes."""
    usual = (("rpc_port", ports[0], 4028), ("web_port", ports[1], 80))
    options = ";".join(f"{name}={port}" for name, port, plain_port in usual if port != plain_port)
    rows = [
        {
            "name": f"rig-{item.address.replace('.', '-')}",
            "group": GROUP,
            "driver": item.driver,
            "address": item.address,
            "credential": credential if item.identity.serial else "",
            "serial": _cell(item.identity.serial),
            "mac": item.identity.mac if MAC.fullmatch(item.identity.mac or "") else "",
            "model": _cell(item.identity.model),
            "options": options,
        }
        for item in found
        if item.driver is not None
    ]
    _write_csv(path, COLUMNS, rows)
    err().print(Text(f"{len(rows)} slots written to {path}: rename rigs and groups as you call them"), soft_wrap=True)
    config = path.parent / "shedload.toml"
    if starter and not config.exists():
        _write_starter(config, path, found)
        err().print(
            Text(f"{config} written: it only observes. Set your cap, price and hashprice in it"), soft_wrap=True
        )
    elif not starter:
        err().print(Text(f"Put [groups.{GROUP}] into your configuration and point site.inventory to the file"))


def _inert(value: str | None) -> str:
    """A cell that no spreadsheet takes for a formula: rigs choose their names themselves."""
    return f"'{value}" if value and value[0] in FORMULA else value or ""


def _cell(text: str | None) -> str:
    return re.sub(r"[^\w .()+/-]", "", text or "").lstrip(FORMULA)[:64]


def _write_starter(path: Path, inventory: Path, found: Sequence[Found]) -> None:
    known = [plate.power for item in found if (plate := nameplate(item.identity.model)) is not None]
    models = Counter(_cell(item.identity.model) for item in found if item.identity.model)
    listed = ", ".join(f"{count} {model}" for model, count in models.most_common(5))
    cap = max(1.0, round(sum(known) * 1.1 / KILO, 1))
    text = STARTER.format(inventory=json.dumps(inventory.name), cap=cap, group=GROUP, models=listed)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


STARTER = """\
# Written by `shedload scan`: a beginning that only observes. Check it with `shedload check`.

[site]
name = "site"
currency = "EUR"
timezone = "UTC"
power_cap_kw = {cap}          # a guess from nameplates: what may the site draw?
inventory = {inventory}
state_dir = "state"

[price]
source = "fixed"              # or "schedule", "csv"
price_per_kwh = 0.06          # an example: what does your next kWh cost?

[economics]
hashprice_per_ph_day = 42     # an example: what do you earn per PH/s and day?

[groups.{group}]              # {models}
control = "observe"           # "auto" lets the daemon command them

# [credentials.antminer]      # what stock firmware asks for before it obeys; then write antminer into the
# user = "root"               # column credential of the inventory
# password_file = "antminer.password"   # chmod 600
"""
