"""`shedload simulate`: a farm that does not exist, until Ctrl-C. One of the two commands that know the simulator."""

import asyncio
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table
from rich.text import Text

from controller.cli.screen import out
from controller.cli.trouble import FAILED, WRONG, Trouble
from shedload.errors import ConfigError
from simulator.farm import Farm
from simulator.farm_config import read_farm
from simulator.faults import Fault
from simulator.pool import Pool


def simulate(path: Path, *, inventory: Path | None, as_json: bool, until_eof: bool) -> None:
    """Run a farm until SIGTERM, Ctrl-C or (`until_eof`) the end of our input. Raises ConfigError, Trouble."""
    asyncio.run(_simulate(path, inventory, as_json=as_json, until_eof=until_eof))


async def _simulate(path: Path, inventory: Path | None, *, as_json: bool, until_eof: bool) -> None:
    farm = Farm(read_farm(path))
    end = _end(until_eof=until_eof)
    try:
        await farm.start()
    except OSError as error:
        raise _cannot_start(error) from None
    try:
        if inventory is not None:
            farm.write_inventory(inventory)
        where = _where(farm, inventory)
        if as_json:
            print(orjson.dumps(where).decode(), flush=True)
        else:
            _show(farm, where)
        await end.wait()
    finally:
        await farm.stop()


def _end(*, until_eof: bool) -> asyncio.Event:
    """Set when somebody wants us to stop; with `until_eof` also when the process that started us is gone."""
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end.set()

    if until_eof:
        loop.add_reader(0, look)
    return end


def _cannot_start(error: OSError) -> Exception:
    """Why a port cannot be had, in words."""
    if error.errno == errno.EADDRNOTAVAIL:
        remedy = "This system has 127.0.0.1 only; add the others, on macOS with: sudo ifconfig lo0 alias 127.1.0.1 up"
        return Trouble(f"the farm's loopback addresses are missing: {error}", remedy, FAILED)
    if error.errno == errno.EACCES:
        return Trouble(f"a port below 1024 needs privileges: {error}", "Set web_port = 8080 under [farm].", WRONG)
    if error.errno == errno.EADDRINUSE:
        return Trouble(
            f"an address is taken: {error}", "Does another simulated farm run? Change first_address.", FAILED
        )
    return ConfigError("farm", f"cannot start: {error}")


def _where(farm: Farm, inventory: Path | None) -> dict[str, Any]:
    """Addresses of everything, for programs."""
    meter, control = farm.meter_server, farm.control_server
    return {
        "simulated": True,
        "rigs": len(farm.rigs),
        "serial": [part.address for part in farm.parts if hasattr(part, "inventory_row") and hasattr(part, "address")],
        "meter": None if meter is None else f"{meter.url}/meter",
        "control": None if control is None else control.url,
        "pools": [f"stratum+tcp://{part.table.address}:{part.port}" for part in farm.parts if isinstance(part, Pool)],
        "inventory": None if inventory is None else str(inventory),
    }


def _show(farm: Farm, where: dict[str, Any]) -> None:
    console = out()
    console.print(Text.assemble(("SIMULATED ", "bold magenta"), f"{where['rigs']} network rigs, all on loopback"))
    console.print(_groups(farm))
    table = Table.grid(padding=(0, 2))
    for name in ("serial", "pools", "meter", "control", "inventory"):
        value = where[name]
        if value:
            table.add_row(Text(name, "bold"), ", ".join(value) if isinstance(value, list) else str(value))
    console.print(table)
    if where["control"]:
        rig = next(iter(farm.rigs), "NAME")
        console.print(
            f'\nBreak a rig:  curl -d \'{{"fault": "hang"}}\' {where["control"]}/rigs/{rig}/fault', soft_wrap=True
        )
        console.print(
            f"Mend it:      curl -d '{{\"fault\": null}}' {where['control']}/rigs/{rig}/fault", soft_wrap=True
        )
        console.print(f"Faults:       {', '.join(Fault)}")
    console.print("\nCtrl-C ends it." if sys.stdout.isatty() else "")


def _groups(farm: Farm) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("rigs", "model", "addresses"):
        table.add_column(column)
    groups: dict[str, list[Any]] = {}
    for placed in farm.placed:
        groups.setdefault(placed.name.rpartition("-")[0], []).append(placed)
    for rigs in groups.values():
        first, last = rigs[0], rigs[-1]
        names = first.name if first is last else f"{first.name} … {last.name.rpartition('-')[2]}"
        ports = f"web {first.endpoint.web_port}, socket {first.endpoint.socket_port}"
        model = first.endpoint.antminer.rig.model.name
        table.add_row(names, model, f"{first.endpoint.address} … {last.endpoint.address}  {ports}")
    return table
