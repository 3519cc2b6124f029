"""The stage of the demonstration: a simulated farm in a process of its own, and the real daemon's configuration for it.

    package data --write--> folder: farm.toml, prices, shedload.toml --simulate--> where everything is --> Installation

Only loopback is used; addresses and ports are chosen free, so several demonstrations can run at once.
"""

import asyncio
import contextlib
import errno
import importlib.resources
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from controller.cli.trouble import Trouble
from controller.config import Installation, load_installation
from controller.daemon import driver_names

DATA = "simulator", "data"
FARM_FILE, PRICE_FILE = "demo-farm.toml", "se4-2024-04-08.csv"
DAY = datetime(2024, 4, 8, tzinfo=UTC)
"""The day of the prices: a dear morning, a cheap noon, a dear evening."""
ATTRIBUTION = "Prices: SE4, 8 April 2024; source: Energinet, energidataservice.dk, CC BY 4.0"
POWER_CAP_KW = 190
HASHPRICE = 45
"""EUR per PH/s and day: about what was paid in spring 2024 after costs, so that this day's prices matter."""
FILE_NETWORK, FILE_SCALE, FILE_SEED = "127.60.", "time_scale = 720 ", "seed = 1\n"
RIG_PORTS = (4028, 8080)
USUAL_PORT = 9477
REFUSAL = 16.5
"""Seconds until the driver is sure that a rig ignores a write: two tries, eight seconds of looking after each."""
FARM_STARTS_WITHIN = 30.0
FARM_ENDS_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the day passes and how closely the rigs are read; mono seconds."""

    slot: float
    poll: float
    deadline: float

    @property
    def scale(self) -> float:
        """Plant seconds in a second."""
        return 3600.0 / self.slot

    @property
    def stale(self) -> float:
        """Age at which a reading no longer counts: a rig is not read while a write to it is under way."""
        return REFUSAL + self.poll + self.deadline


@dataclass(frozen=True, slots=True)
class Stage:
    """What stands ready for the daemon."""

    folder: Path
    installation: Installation
    control: str  # URL of the farm's control page
    pace: Pace

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "shedload.toml"

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.folder / "daemon.log"

    @property
    def url(self) -> str:
        """Where the daemon answers."""
        return f"http://{self.installation.config.api.listen}"


@contextlib.asynccontextmanager
async def stage(folder: Path, pace: Pace, *, seed: int, port: int | None) -> AsyncIterator[Stage]:
    """Start the farm and write the daemon's configuration. Raises Trouble, ConfigError."""
    farm_file = _lay_out(folder, pace, seed)
    process = await _start_farm(farm_file, folder)
    try:
        where = await _where(process, folder)
        text = _config_text(where, pace, _free_port(port))
        _write(folder / "shedload.toml", text)
        installation = load_installation(folder / "shedload.toml", driver_names())
        yield Stage(folder, installation, str(where["control"]), pace)
    finally:
        await _end_farm(process)


def data(name: str) -> str:
    """A file that comes with the program."""
    package, place = DATA
    return (importlib.resources.files(package) / place / name).read_text("utf-8")


def free_network() -> str:
    """The start of loopback addresses that nobody uses, such as "127.83.". Raises Trouble."""
    for _ in range(50):
        network = f"127.{20 + secrets.randbelow(220)}."
        try:
            for port in RIG_PORTS:
                _try(f"{network}1.1", port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise Trouble(
                f"{network}1.1 cannot be used: {error.strerror}",
                "The demonstration gives every rig a loopback address of its own. Linux has them all; "
                "macOS has 127.0.0.1 only: use a Linux machine or container.",
            ) from None
        return network
    raise Trouble("no free loopback addresses were found", "Do other demonstrations run? End some.")


def _lay_out(folder: Path, pace: Pace, seed: int) -> Path:
    """Write what the farm and the daemon read, but for the daemon's own configuration; the farm's file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / PRICE_FILE, data(PRICE_FILE))
    _write(folder / "rig.password", "root\n")
    farm_file = folder / "farm.toml"
    _write(farm_file, _farm_text(free_network(), pace, seed))
    return farm_file


def _try(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found: int = probe.getsockname()[1]
    return found


def _free_port(wanted: int | None) -> int:
    """The port that was asked for; else the usual one while it is free, else any."""
    if wanted is not None:
        return wanted
    try:
        return _try("127.0.0.1", USUAL_PORT)
    except OSError:
        return _try("127.0.0.1", 0)


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _farm_text(network: str, pace: Pace, seed: int) -> str:
    text = data(FARM_FILE)
    for old, new in (
        (FILE_NETWORK, network),
        (FILE_SCALE, f"time_scale = {pace.scale!r} "),
        (FILE_SEED, f"seed = {seed}\n"),
    ):
        if old not in text:
            raise Trouble(f"{FARM_FILE} has no {old.strip()!r}", "The installation is damaged: install it anew.")
        text = text.replace(old, new)
    return text


async def _start_farm(farm_file: Path, folder: Path) -> asyncio.subprocess.Process:
    arguments = ["simulate", str(farm_file), "--inventory", str(folder / "slots.csv"), "--json", "--until-eof"]
    with (folder / "farm.log").open("w") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "controller", *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            start_new_session=True,  # Ctrl-C is for us: the farm ends when its input does
        )  # fmt: skip


async def _where(process: asyncio.subprocess.Process, folder: Path) -> dict[str, Any]:
    assert process.stdout is not None
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FARM_STARTS_WITHIN):
            line = await process.stdout.readline()
    if not line:
        told = (folder / "farm.log").read_text(errors="replace").strip()[-800:]
        raise Trouble("the simulated farm did not start", told or f"See {folder / 'farm.log'}.")
    found: dict[str, Any] = orjson.loads(line)
    return found


async def _end_farm(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(FARM_ENDS_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _config_text(where: dict[str, Any], pace: Pace, port: int) -> str:
    groups = "\n".join(f'[groups.{name}]\ncontrol = "auto"\n' for name in ("s21", "t21", "xp", "j", "s19"))
    return f"""\
# Written by `shedload demo`: a simulated farm on loopback. An hour of its day passes in {pace.slot:g} s.

[site]
name = "demo"
currency = "EUR"
timezone = "Europe/Stockholm"
power_cap_kw = {POWER_CAP_KW}
base_load_kw = 6
inventory = "slots.csv"
state_dir = "state"

[polling]
interval_s = {pace.poll}
rig_deadline_s = {pace.deadline}
stale_after_s = {pace.stale}
backoff_max_s = 10

[control]
interval_s = 1
allocate_interval_s = 1
confirm_within_s = 25
wake_within_s = 25
max_attempts = 2
canary_rigs = 10
canary_percent = 15

[price]
source = "csv"
file = "{PRICE_FILE}"
start_column = "hour_start_utc"
price_columns = ["se4_eur_per_mwh"]
unit = "MWh"
currency = "EUR"

[tariff]
loss_percent = 2
cooling_percent = 3

[economics]
hashprice_per_ph_day = {HASHPRICE}

[meter]
source = "http"
url = "{where["meter"]}"
field = "power_w"
interval_s = 0.5
max_age_s = 10

{groups}
[groups.serial]               # only watched: serial rigs of this age never pay for their power
control = "observe"

[credentials.antminer]
user = "root"
password_file = "rig.password"

[[pools]]                     # for the serial rigs, which the daemon feeds
url = "{where["pools"][0]}"
user = "wallet.sticks"

[api]
listen = "127.0.0.1:{port}"
"""
