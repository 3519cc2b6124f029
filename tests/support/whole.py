"""The whole daemon and a simulated farm in one loop, over a network in memory: real drivers, meter and interface.

    async with whole(tmp_path, Wanted(...)) as site:
        await site.plant(3600)             # an hour of the plant's time
        assert site.status()["rigs"]...

In a virtual loop a day of prices passes in seconds and the same seed gives the same log; with `real=True` the same
site runs on real sockets of loopback addresses.
"""

import asyncio
import contextlib
import csv
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

import drivers
from controller.clock import Clock, ScaledClock
from controller.config import load_installation
from controller.daemon import Daemon, Options
from controller.plan import RigState
from controller.status import attention, rig_status, site_status
from controller.store_port import StorePort
from drivers.io import Io, network_connector
from shedload.device import RigName
from shedload.units import Watts
from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.rig import RigState as Truth
from tests.support.http import VirtualConnector
from tests.support.memory_store import MemoryStore

PRICES = Path(__file__).parents[1] / "vectors/prices/se3_se4_dayahead_hourly_2023_2024.csv"
STILL_DRAWN = 1.02
"""Instrument noise and the few per cent by which a machine differs from its nameplate."""


@dataclass(frozen=True)
class Wanted:
    """What a scenario is to be like. Times in plant seconds unless the configuration says otherwise."""

    s19: int = 6
    s21: int = 6
    scale: float = 60.0
    start: datetime = datetime(2023, 8, 24, tzinfo=UTC)
    cap_kw: float = 1000.0
    base_load_w: float = 2000.0
    price: str | None = None  # TOML of [price]; by default SE3 of the day that `start` lies in
    site: str = ""
    polling: str = "interval_s = 5\nstale_after_s = 20\nrig_deadline_s = 5\nbackoff_max_s = 20"
    control: str = "min_on_s = 600\nmin_off_s = 600\ncanary_percent = 100\ncanary_rigs = 1000"
    meter: bool = True
    groups: str = '[groups.hall]\ncontrol = "auto"'
    farm: str = ""
    latency_s: float = 0.0
    asleep: bool = False
    running: bool = True
    seed: int = 1
    network: str = "127.60"
    web_port: int = 80
    rpc_port: int = 4028
    meter_port: int = 18080


@dataclass
class Site:
    """A running site. `events` is everything that was logged, with the loop's time."""

    farm: Farm
    daemon: Daemon
    clock: Clock
    store: Any
    events: list[dict[str, Any]]
    cap: Watts
    over_cap: list[tuple[float, float]] = field(default_factory=list)  # plant second, watts of truth above the cap
    pools_before: Mapping[str, Any] = field(default_factory=dict)

    async def plant(self, seconds: float) -> None:
        """Let so much plant time pass."""
        await asyncio.sleep(seconds / self.clock.plant_rate)

    async def until(self, true: Callable[[], bool], within: float, what: str = "") -> float:
        """Wait until something is so; plant seconds that it took. Fails after `within` of them."""
        began = self.clock.plant()
        while not true():
            if self.clock.plant() - began > within:
                raise AssertionError(f"not within {within:g} plant seconds: {what or true}; {self.status()}")
            await asyncio.sleep(0.1)
        return self.clock.plant() - began

    def status(self) -> dict[str, Any]:
        """As the interface tells it."""
        return site_status(self.daemon.site)

    def rig(self, name: str) -> dict[str, Any]:
        """One rig as the interface tells it."""
        found = rig_status(self.daemon.site, RigName(name))
        assert found is not None
        return found

    def named(self, kind: str) -> set[str]:
        """Rigs that the status names for a kind of trouble."""
        return {row["rig"] for row in attention(self.daemon.site)[kind]}

    def states(self) -> dict[str, int]:
        """How many rigs are in each state, in the daemon's view."""
        return {name: count for name, count in self.status()["rigs"]["by_state"].items() if count}

    def truly(self, *states: Truth) -> set[str]:
        """Rigs whose body is in one of these states."""
        now = self.farm.clock.now()
        return {name for name, end in self.farm.rigs.items() if end.antminer.rig.read(now).state in states}

    def writes(self) -> dict[str, int]:
        """Writes of the configuration that each simulated rig has seen."""
        return {name: end.antminer.writes for name, end in self.farm.rigs.items()}

    def pools(self) -> dict[str, Any]:
        """The pools in each simulated rig's flash."""
        return {name: end.antminer.configuration.pools for name, end in self.farm.rigs.items()}

    def logged(self, event: str) -> list[dict[str, Any]]:
        """All log entries of one name."""
        return [entry for entry in self.events if entry["event"] == event]

    def all_in(self, state: RigState, but: frozenset[str] = frozenset()) -> bool:
        """Whether the daemon sees all rigs, some excepted, in one state."""
        return all(self.daemon.farm.state(name) is state for name in self.daemon.farm.records if name not in but)


@asynccontextmanager
async def farm_of(wanted: Wanted) -> AsyncIterator[Farm]:
    """The simulated farm alone; it lives on while daemons come and go."""
    farm = Farm(parse_farm(farm_text(wanted)), epoch=wanted.start.timestamp())
    await farm.start()
    try:
        yield farm
    finally:
        await farm.stop()


@asynccontextmanager
async def daemon_of(
    folder: Path,
    wanted: Wanted,
    farm: Farm,
    *,
    store: StorePort | None = None,
    clock: Clock | None = None,
    options: Options | None = None,
    real: bool = False,
) -> AsyncIterator[Site]:
    """A daemon on a farm, running until the block ends."""
    path = write_installation(folder, wanted, farm)
    clock = clock or ScaledClock(wanted.start, wanted.scale)
    store = store or MemoryStore(clock)
    connector = network_connector if real else VirtualConnector
    with logged() as events:
        async with Io(mono=clock.mono, connector=connector) as io:
            installation = load_installation(path, drivers.names(), environ={})
            daemon = Daemon(installation, store, io, clock, options or Options(simulated=True))
            site = Site(farm, daemon, clock, store, events, installation.config.site.power_cap)
            site.pools_before = site.pools()
            run = asyncio.create_task(daemon.run())
            watch = asyncio.create_task(_watch(site))
            started = asyncio.create_task(daemon.started.wait())
            try:
                await asyncio.wait({run, started}, return_when=asyncio.FIRST_COMPLETED)
                if run.done():
                    await run
                yield site
                assert not run.done(), "the daemon ended by itself"
            finally:
                started.cancel()
                watch.cancel()
                daemon.stop()
                await run
                with contextlib.suppress(asyncio.CancelledError):
                    await watch


@asynccontextmanager
async def whole(folder: Path, wanted: Wanted | None = None, **more: Any) -> AsyncIterator[Site]:
    """Farm and daemon together."""
    wanted = wanted or Wanted()
    async with farm_of(wanted) as farm, daemon_of(folder, wanted, farm, **more) as site:
        yield site


def farm_text(wanted: Wanted) -> str:
    """The farm file."""
    asleep, running = str(wanted.asleep).lower(), str(wanted.running).lower()
    groups = "".join(
        f"""
[[groups]]
model = "{model}"
count = {count}
first_address = "{wanted.network}.{number}.1"
name = "{name}"
group = "hall"
asleep = {asleep}
running = {running}
"""
        for number, (name, model, count) in enumerate(
            (("s19", "S19j Pro", wanted.s19), ("s21", "S21", wanted.s21)), 1
        )
        if count
    )  # fmt: skip
    return f"""
[farm]
time_scale = {wanted.scale}
seed = {wanted.seed}
web_port = {wanted.web_port}
rpc_port = {wanted.rpc_port}
latency_s = {wanted.latency_s}
[meter]
address = "{wanted.network}.9.1"
port = {wanted.meter_port}
base_load_w = {wanted.base_load_w}
[[pools]]
url = "stratum+tcp://pool.example:3333"
[[pools]]
url = "stratum+tcp://backup.example:443"
{groups}
{wanted.farm}
"""


def write_installation(folder: Path, wanted: Wanted, farm: Farm) -> Path:
    """Configuration, inventory and prices as files; the path of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    farm.write_inventory(folder / "slots.csv")
    price = wanted.price
    if price is None:
        _write_day(folder / "prices.csv", wanted.start)
        price = (
            'source = "csv"\nfile = "prices.csv"\nstart_column = "start"\nprice_columns = ["price"]\n'
            'unit = "MWh"\ncurrency = "EUR"\nresolution_minutes = 60'
        )
    meter = (
        f'[meter]\nsource = "http"\nurl = "http://{wanted.network}.9.1:{wanted.meter_port}/meter"\nfield = "power_w"\n'
        "interval_s = 1\nmax_age_s = 10"
    )
    (folder / "state").mkdir(exist_ok=True)
    path = folder / "shedload.toml"
    path.touch(mode=0o600)
    path.write_text(
        f"""
[site]
name = "test"
currency = "EUR"
timezone = "Europe/Stockholm"
power_cap_kw = {wanted.cap_kw}
base_load_kw = {wanted.base_load_w / 1000}
ramp_up_kw_per_min = {wanted.cap_kw}
inventory = "slots.csv"
state_dir = "state"
{wanted.site}
[polling]
{wanted.polling}
[control]
interval_s = 5
allocate_interval_s = 2
confirm_within_s = 60
wake_within_s = 60
{wanted.control}
[price]
{price}
[economics]
hashprice_per_ph_day = 42
{meter if wanted.meter else ""}
{wanted.groups}
[credentials.antminer]
user = "root"
password = "root"
[api]
listen = "127.0.0.1:0"
"""
    )
    return path


@contextlib.contextmanager
def logged() -> Any:
    """Everything that structlog is told meanwhile, with the loop's time."""
    events: list[dict[str, Any]] = []

    def take(_logger: Any, level: str, entry: Any) -> Any:
        events.append({"at": round(asyncio.get_running_loop().time(), 6), "level": level, **entry})
        raise structlog.DropEvent

    processors = structlog.get_config()["processors"]
    before = processors.copy()
    processors[:] = [take]
    try:
        yield events
    finally:
        processors[:] = before


def _write_day(path: Path, start: datetime) -> None:
    day = start.astimezone(UTC).date().isoformat()
    with PRICES.open(newline="") as source, path.open("w") as file:
        file.write("start,price\n")
        for row in csv.DictReader(source):
            if row["hour_start_utc"] >= day:
                file.write(f"{row['hour_start_utc']},{row['se3_eur_per_mwh']}\n")
            if row["hour_start_utc"] > f"{day}T23":
                break


async def _watch(site: Site) -> None:
    """Look at the truth every plant second or, where time runs fast, four times a second."""
    while True:
        over = site.farm.meter.true_power() - site.cap
        if over > 0:
            site.over_cap.append((site.clock.plant(), over))
        await asyncio.sleep(max(0.25, 1.0 / site.clock.plant_rate))
