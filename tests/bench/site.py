"""`daemon_1000_cpu` and `daemon_1000_rss`: the whole daemon, as `shedload run` starts it, over a farm of 1,000 rigs.

Everything is on: control in `auto` with a price and a cap, store on disk, site meter, MQTT where a broker is installed,
two serial rigs fed from a pool, `/metrics` and `/metrics/rigs` scraped every 15 s.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.pool import Pool
from tests.bench.machine import ROOT, BenchError, Child, Watch, cores, cpu_seconds, on_core, own_net, resident_mb
from tests.bench.table import LOAD_LIMIT, Row
from tests.support.mosquitto import mosquitto

MODELS = ("S19", "S19 Pro", "S19j Pro", "S19 XP", "S21")
RPC_PORT, WEB_PORT = 24128, 20180
SCRAPE_S = 15.0
"""Prometheus' usual interval in deploy/prometheus."""
STARTS_WITHIN_S = 30.0
CPU_MOST, RSS_MOST = 0.30, 400.0
ROWS = (("daemon_1000_cpu", "share of a core", "<= 0.3"), ("daemon_1000_rss", "MB", "<= 400"))
Answer = Callable[..., Awaitable[dict[str, Any]]]

CONFIG = """
[site]
name = "bench"
currency = "EUR"
timezone = "Europe/Berlin"
power_cap_kw = {cap_kw}
base_load_kw = 20
inventory = "slots.csv"
state_dir = "state"
[price]
source = "schedule"
[[price.rules]]
days = "mon-fri"
hours = "07:00-21:00"
price_per_kwh = 0.055
[[price.rules]]
price_per_kwh = 0.05
[economics]
hashprice_per_ph_day = 46
[meter]
source = "http"
url = "{meter}"
field = "power_w"
[groups.hall-a]
control = "auto"
[groups.hall-b]
control = "auto"
[groups.serial]
control = "auto"
[[pools]]
url = "{pool}"
user = "farm.bench"
[credentials.antminer]
user = "root"
password = "root"
[api]
listen = "127.0.0.1:{port}"
"""


def measure_site(*, rigs: int = 1000, warm_up: float = 35.0, window: float = 12.0, windows: int = 5) -> list[Row]:
    """Run both rows: the CPU share over all windows (slow tiers come in waves) and the largest resident memory."""
    target, beside = cores()
    with tempfile.TemporaryDirectory(prefix="shedload-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        load = stack.enter_context(
            Child("tests.bench.site:farm", {"rigs": rigs, "net": own_net(), "folder": name}, core=beside)
        )
        broker = stack.enter_context(_broker(folder, beside))
        port = _free_port()
        settings = folder / "shedload.toml"
        settings.touch(0o600)  # it holds a password
        settings.write_text(_config(load.ask(), port, rigs, broker))
        daemon = stack.enter_context(_daemon(folder, target))
        scraper = Scraper(port)
        scraper.wait_until_ready(daemon)
        before = scraper.readings()
        scraper.keep_on(warm_up)
        shares, memory, loads = [], [], []
        whole = Watch(daemon.pid)
        for _ in range(windows):
            process, beside_it = Watch(daemon.pid), Watch(load.pid)
            scraper.keep_on(window)
            shares.append(process.share())
            loads.append(beside_it.share())
            memory.append(resident_mb(daemon.pid))
        share, total = whole.share(), cpu_seconds(daemon.pid)
        after = scraper.readings()
        status = scraper.get("/api/v1/status")
    return _rows(
        rigs, (share, shares), memory, max(loads), _remarks(before, after, status, broker, total), target, beside
    )


def _rows(
    rigs: int,
    shares: tuple[float, list[float]],
    memory: list[float],
    load: float,
    remarks: str,
    target: int,
    beside: int,
) -> list[Row]:
    ran = f"daemon on core {target}; farm, pool, meter, broker and scraper on core {beside}; {rigs} rigs every 10 s"
    void = load > LOAD_LIMIT
    values = (shares[0], max(memory))
    spreads = (shares[1], memory)
    return [
        Row(
            name=name,
            value=value,
            unit=unit,
            reference=None,
            reference_value=None,
            ratio=None,
            must_reach=most,
            ok=value <= limit and not void,
            void=void,
            load=load,
            ran=ran,
            note=remarks,
            spread=f"{min(spread):.3g}-{max(spread):.3g}",
        )
        for (name, unit, most), value, limit, spread in zip(ROWS, values, (CPU_MOST, RSS_MOST), spreads, strict=True)
    ]


@contextlib.asynccontextmanager
async def farm(rigs: int, net: str, folder: str) -> AsyncIterator[Answer]:
    """Load: rigs, serial rigs, pool and meter; writes the inventory."""
    site = Farm(parse_farm(farm_text(rigs, net)))
    await site.start()
    site.write_inventory(Path(folder) / "slots.csv")
    pool = next(part for part in site.parts if isinstance(part, Pool))
    assert site.meter_server is not None
    where = {"meter": f"{site.meter_server.url}/meter", "pool": f"stratum+tcp://{pool.table.address}:{pool.port}"}

    async def answer() -> dict[str, Any]:
        return {**where, "power_w": site.rig_power()}

    try:
        yield answer
    finally:
        await site.stop()


def farm_text(rigs: int, net: str) -> str:
    """Five models in two halls, a pool, two serial rigs and a meter."""
    text = (
        f"[farm]\nrpc_port = {RPC_PORT}\nweb_port = {WEB_PORT}\n"
        f'[meter]\naddress = "{net}.255.1"\nbase_load_w = 20000\n'
        '[[pools]]\nurl = "stratum+tcp://pool.example.org:3333"\n'
        '[[pools]]\nurl = "stratum+tcp://backup.example.org:3333"\n'
        f'[pool]\naddress = "{net}.255.1"\n'
        '[[serial]]\nname = "stick-1"\nmodel = "icarus"\n[[serial]]\nname = "stick-2"\nmodel = "lancelot"\n'
    )
    for place, model in enumerate(MODELS):
        count = rigs // len(MODELS) + (place < rigs % len(MODELS))
        text += (
            f'[[groups]]\nmodel = "{model}"\ncount = {count}\nfirst_address = "{net}.{place + 1}.1"\n'
            f'name = "rig{place}"\ngroup = "hall-{"ab"[place % 2]}"\n'
        )
    return text


class Scraper:
    """Prometheus' part: scrapes both surfaces at its interval, with the little processor time that fetching takes."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._due = 0.0

    def wait_until_ready(self, daemon: "subprocess.Popen[bytes]") -> None:
        """Raises BenchError where the daemon ends or does not answer."""
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until:
            if daemon.poll() is not None:
                raise BenchError(f"the daemon ended with exit code {daemon.returncode}")
            with contextlib.suppress(OSError):
                self._fetch("/-/healthy")
                return
            time.sleep(0.05)
        raise BenchError("the daemon does not answer")

    def keep_on(self, seconds: float) -> None:
        """Scrape whenever it is time, for so long."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if now >= self._due:
                for page in ("/metrics", "/metrics/rigs?group=hall-a", "/metrics/rigs?group=hall-b"):
                    self._fetch(page)
                self._due = max(self._due + SCRAPE_S, now)
            time.sleep(max(0.0, min(until, self._due) - time.monotonic()))

    def readings(self) -> tuple[float, int]:
        """When, and how many readings succeeded so far."""
        pages = [self._fetch(f"/metrics/rigs?group=hall-{hall}") for hall in "ab"]
        lines = self._fetch("/metrics").decode().splitlines()
        good = [line for line in lines if line.startswith("shedload_readings_total") and 'result="good"' in line]
        return time.monotonic(), int(float(good[0].split()[-1])) if good else -sum(map(len, pages))

    def get(self, path: str) -> Any:
        """A JSON answer."""
        return orjson.loads(self._fetch(path))

    def _fetch(self, path: str) -> bytes:
        with urllib.request.urlopen(self._base + path, timeout=10) as answer:
            body: bytes = answer.read()
            return body


def _remarks(before: tuple[float, int], after: tuple[float, int], status: Any, broker: int | None, total: float) -> str:
    rate = (after[1] - before[1]) / (after[0] - before[0])
    states = status.get("rigs", {}).get("by_state", {})
    heard = "with a broker" if broker else "no mosquitto here, so without MQTT"
    return f"{rate:.0f} good readings/s, rigs {states}, {heard}; {total:.0f} CPU seconds since its start"


@contextlib.contextmanager
def _daemon(folder: Path, core: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "controller", "run", "--config", str(folder / "shedload.toml")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "daemon.log").open("wb") as log:
        with on_core(core):
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield process
        except BenchError as error:
            tail = (folder / "daemon.log").read_text(errors="replace")[-600:]
            raise BenchError(f"{error}; its last words: {tail}") from None
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _broker(folder: Path, core: int) -> Iterator[int | None]:
    """A real broker's port, or None where none is installed."""
    if shutil.which("mosquitto") is None and not Path("/usr/sbin/mosquitto").exists():
        yield None
        return
    with contextlib.ExitStack() as stack:
        with on_core(core):
            broker = stack.enter_context(mosquitto(folder))
        yield broker.port


def _config(where: dict[str, Any], port: int, rigs: int, broker: int | None) -> str:
    text = CONFIG.format(cap_kw=rigs * 4, port=port, **{name: where[name] for name in ("meter", "pool")})
    return text + ("" if broker is None else f'[mqtt]\nhost = "127.0.0.1"\nport = {broker}\n')


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
        return port
