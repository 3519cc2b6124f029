"""A real Prometheus with the shipped configuration and rules scrapes a daemon that runs a simulated farm.

Every query of every panel, annotation, variable and rule is executed once every state has occurred; none may be empty.
There is no Grafana here: the dashboards are checked by executing what they would ask.
"""

import asyncio
import math
import re
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import drivers
from controller.clock import ScaledClock
from controller.config import load_installation
from controller.daemon import Daemon, Options
from controller.store import Store
from drivers.io import Io
from simulator.farm import Farm
from simulator.farm_config import parse_farm
from simulator.faults import Fault
from tests.support.peers import require_tool
from tests.support.prometheus import Prometheus
from tests.support.promql import dashboards, exported_names, expressions, panels, rule_blocks, used_names

pytestmark = [pytest.mark.interop, pytest.mark.timeout(100)]

EVERYTHING_WITHIN = 60.0
"""A machine with nothing else to do needs 27 s, 17 of which the driver watches whether a rig ignores a write."""
SLOWEST_QUERY = 2.0
MOST_SERIES = 50
VICTIM = "s21-008"
"""The rig that is switched off while everything runs."""
EMPTY = {
    "annotation Daemon restarted": "nothing restarts in a run of half a minute",
}

FARM = """
[farm]
time_scale = 120
web_port = 0
rpc_port = 0
[meter]
address = "127.78.20.254"
[pool]
difficulty = 0.0005
[[serial]]
name = "stick-1"
hashrate_hs = 1e6
[[pools]]
url = "stratum+tcp://127.78.20.254:3333"
[[groups]]
model = "S21"
count = 8
first_address = "127.78.20.1"
name = "s21"
group = "hall-a"
share_difficulty = 65536
[[groups]]
model = "S19j Pro"
count = 8
first_address = "127.78.20.101"
name = "s19"
group = "hall-b"
share_difficulty = 65536
[[faults]]
rig = "s19-001"
fault = "hang"
[[faults]]
rig = "s19-002"
fault = "lie"
[[faults]]
rig = "s19-003"
fault = "refuse"
[[faults]]
rig = "s19-004"
fault = "refuse"
"""

SITE = """
[site]
name = "demo"
currency = "EUR"
timezone = "Europe/Berlin"
power_cap_kw = 90
inventory = "slots.csv"
state_dir = "state"
[polling]
interval_s = 1
rig_deadline_s = 2
stale_after_s = 6
backoff_max_s = 2
[control]
interval_s = 1
allocate_interval_s = 1
min_on_s = 0
min_off_s = 0
confirm_within_s = 5
max_attempts = 1
[price]
source = "fixed"
price_per_kwh = 0.05
[economics]
hashprice_per_ph_day = 42
[meter]
source = "http"
url = "http://127.78.20.254:{meter}/meter"
field = "power_w"
interval_s = 0.5
[groups.hall-a]
control = "auto"
[groups.hall-b]
control = "auto"
[groups.serial]
control = "auto"
[credentials.antminer]
user = "root"
password = "root"
[[pools]]
url = "{pool}"
user = "farm"
[[pools]]
url = "stratum+tcp://127.0.0.1:9"
user = "farm"
[mqtt]
host = "127.0.0.1"
port = 9
[api]
listen = "127.0.0.1:0"
"""

BEFORE_THE_ORDER = (
    'sum(shedload_rigs{state="hashing"}) >= 12',
    f'shedload_rig_power_watts{{rig="{VICTIM}"}} > 1000',
    'shedload_serial_nonces_total{verdict="share"} > 0',
    "sum(shedload_pool_shares_accepted_total) > 0",
    "shedload_meter_up == 1",
    "shedload_control_ready == 1",
    "sum(rate(shedload_readings_total[5s])) > 0",
    "shedload_mqtt_connected == 0",
    'shedload_rig_attention{reason="suspicious"} == 1',
    "sum(shedload_rigs_suspicious) > 0",
)
EVERY_STATE = (
    "shedload_orders == 1",
    'sum(shedload_rigs{state="asleep"}) > 4',
    'sum(shedload_rigs{state="offline"}) >= 2',
    'sum(shedload_rigs{state="hashing"}) > 0',
    'shedload_curtailed_watts{reason="order"} > 0',
    'shedload_commands_total{verb="sleep", state="confirmed"} > 4',
    'shedload_rigs_obstructed{reason="refusing"} > 0',
    'shedload_rig_attention{reason="refusing"} == 1',
    'shedload_readings_total{result!="good"} > 0',
    f'shedload_rig_up{{rig="{VICTIM}"}} == 0',
    'ALERTS{alertname="ShedloadMqttDisconnected"}',
)


@asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[tuple[Farm, Daemon, str]]:
    """The simulated farm and the real daemon over it; gives the daemon's address too."""
    farm = Farm(parse_farm(FARM))
    await farm.start()
    try:
        farm.write_inventory(folder / "slots.csv")
        (folder / "state").mkdir(mode=0o700)
        assert farm.meter_server is not None
        text = SITE.format(meter=farm.meter_server.port, pool=farm.parts[0].url)  # type: ignore[attr-defined]
        file = folder / "shedload.toml"
        file.touch(mode=0o600)  # it holds a password
        file.write_text(text)
        installation = load_installation(file, drivers.names())
        clock = ScaledClock(datetime.now(UTC), 120)
        store = await Store.open(installation.config.site.state_dir, clock)
        try:
            async with Io(mono=clock.mono) as io:
                daemon = Daemon(installation, store, io, clock, Options(simulated=True))
                running = asyncio.create_task(daemon.run())
                try:
                    await daemon.started.wait()
                    yield farm, daemon, f"127.0.0.1:{daemon.port}"
                finally:
                    daemon.stop()
                    await running
        finally:
            await store.close()
    finally:
        await farm.stop()


async def occurred(prometheus: Prometheus, conditions: tuple[str, ...], deadline: float) -> None:
    """Wait until Prometheus has seen each of these; says which are missing."""
    missing = list(conditions)
    while missing:
        assert time.monotonic() < deadline, f"did not occur: {missing}"
        if await prometheus.now(missing[0]):
            missing.pop(0)
        else:
            await asyncio.sleep(0.25)


async def place_order(address: str, token: str, kilowatts: float) -> None:
    """As an operator does."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http,
        http.post(f"http://{address}/api/v1/orders", json={"limit_kw": kilowatts}) as response,
    ):
        assert response.status == 201, await response.text()


async def test_every_query_of_dashboards_and_rules_finds_something(tmp_path):
    deadline = time.monotonic() + EVERYTHING_WITHIN
    async with running_site(tmp_path) as (farm, _, address), Prometheus(tmp_path, address) as prometheus:
        began = time.time()
        await occurred(prometheus, BEFORE_THE_ORDER, deadline)
        await farm.set_faults(VICTIM, [Fault.OFFLINE])
        await place_order(address, (tmp_path / "state" / "api.token").read_text().strip(), 24)
        await occurred(prometheus, EVERY_STATE, deadline)
        problems = [
            *await targets_that_are_not_up(prometheus),
            *await traces_of_the_dead(prometheus),
            *await queries_without_answer(prometheus, began, time.time()),
            *await variables_without_values(prometheus),
            *await rules_without_data(prometheus),
            *await metrics_that_nobody_announced(prometheus),
            *await pages_that_promtool_objects_to(address),
        ]
        assert problems == [], "\n".join(problems) + prometheus.log


async def targets_that_are_not_up(prometheus: Prometheus) -> list[str]:
    """The site and the page of each group, the latter found by asking the daemon."""
    active = (await prometheus.ask("targets"))["activeTargets"]
    found = {(target["labels"]["job"], target["labels"].get("group")): target for target in active}
    problems = [
        f"target {key} is {one['health']}: {one['lastError']}" for key, one in found.items() if one["lastError"]
    ]
    groups = {None: "shedload", "hall-a": "shedload-rigs", "hall-b": "shedload-rigs", "serial": "shedload-rigs"}
    missing = {(job, group) for group, job in groups.items()} - found.keys()
    return problems + [f"no target {key}" for key in missing]


async def traces_of_the_dead(prometheus: Prometheus) -> list[str]:
    """A rig that was switched off keeps up, last_seen and info; its power is gone at once, not after five minutes."""
    names = {series["metric"]["__name__"] for series in await prometheus.now(f'{{rig="{VICTIM}"}}')}
    kept = {"shedload_rig_up", "shedload_rig_last_seen_timestamp_seconds", "shedload_rig_info"}
    problems = [] if names == kept else [f"{VICTIM} is off and shows {sorted(names ^ kept)}"]
    if not await prometheus.now('shedload_rig_power_watts{rig="s21-001"}'):
        problems.append("a rig that is on shows no power")
    return problems


async def queries_without_answer(prometheus: Prometheus, began: float, end: float) -> list[str]:
    """Panels and annotations of every dashboard."""
    problems = []
    for board in dashboards().values():
        legends = {f"panel {panel['title']} {target['refId']}": target.get("legendFormat", "")
                   for panel in panels(board) for target in panel["targets"]}  # fmt: skip
        for where, expr in expressions(board):
            if where.startswith("variable"):
                continue
            asked = time.monotonic()
            series = await prometheus.over(filled_in(expr), began, end)
            if time.monotonic() - asked > SLOWEST_QUERY:
                problems.append(f"{where}: takes longer than {SLOWEST_QUERY} s")
            if (not has_numbers(series)) != (where in EMPTY):
                problems.append(f"{where}: {'empty' if where not in EMPTY else 'excused, but not empty'}: {expr}")
            if len(series) > MOST_SERIES:
                problems.append(f"{where}: {len(series)} series")
            for label in re.findall(r"\{\{(\w+)\}\}", legends.get(where, "")):
                if not all(label in one["metric"] for one in series):
                    problems.append(f"{where}: no label {label} for the legend")
    return problems


async def variables_without_values(prometheus: Prometheus) -> list[str]:
    """What a reader may choose from."""
    problems = []
    for board in dashboards().values():
        for where, query in expressions(board):
            if not where.startswith("variable"):
                continue
            selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()  # type: ignore[union-attr]
            values = await prometheus.ask(f"label/{label}/values", **{"match[]": filled_in(selector)})
            expected = {"site": ["demo"], "group": ["hall-a", "hall-b", "serial"]}[label]
            if values != expected:
                problems.append(f"{where}: {values}")
    return problems


async def rules_without_data(prometheus: Prometheus) -> list[str]:
    """Recording rules give numbers; alerts are evaluated without error over metrics that are all there."""
    problems = []
    groups = (await prometheus.ask("rules"))["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"]}
    expected = rule_blocks("record").keys() | rule_blocks("alert").keys()
    if loaded.keys() != expected:
        problems.append(f"rules that were not loaded: {expected - loaded.keys()}")
    for name, rule in loaded.items():
        if rule["health"] != "ok":
            problems.append(f"rule {name}: {rule['health']} {rule.get('lastError')}")
        names = used_names(rule["query"]) if rule["type"] == "alerting" else {name}
        names |= set(re.findall(r"\w+:shedload_\w+:\w+", rule["query"]))
        problems += [f"rule {name}: {used} is empty" for used in names if not await prometheus.now(used)]
    return problems


async def metrics_that_nobody_announced(prometheus: Prometheus) -> list[str]:
    """What is scraped is in the catalogue, under the type that Prometheus understood."""
    known = exported_names()
    names = await prometheus.ask("label/__name__/values")
    problems = [f"{name} is in no catalogue" for name in names if name.startswith("shedload_") and name not in known]
    families = {family.full_name: family for family in known.values()}
    for name, entries in (await prometheus.ask("metadata")).items():
        if name.startswith("shedload_"):
            family = families.get(name) or families.get(f"{name}_total")
            if family is None or {entry["type"] for entry in entries} != {family.kind.value}:
                problems.append(f"{name}: announced as {entries}")
    return problems


async def pages_that_promtool_objects_to(address: str) -> list[str]:
    """Both surfaces as the running daemon serves them."""
    promtool, problems = require_tool("promtool", package="prometheus"), []
    async with aiohttp.ClientSession(f"http://{address}") as http:
        for path in (
            "/metrics",
            "/metrics/rigs?group=hall-a",
            "/metrics/rigs?group=hall-b",
            "/metrics/rigs?group=serial",
        ):
            async with http.get(path) as response:
                page = await response.read()
            done = await asyncio.to_thread(
                subprocess.run, [promtool, "check", "metrics"], input=page, capture_output=True, check=False
            )
            if done.returncode:
                problems.append(f"{path}: {(done.stdout + done.stderr).decode()}")
    return problems


def filled_in(expr: str) -> str:
    """A dashboard's expression with the variables as a reader at one-second scrapes would have them."""
    filled = expr.replace("$__rate_interval", "4s").replace("$site", "demo").replace("$group", ".*")
    assert "$" not in filled, expr
    return filled


def has_numbers(series: list[dict[str, Any]]) -> bool:
    """Whether there is anything to draw."""
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])
