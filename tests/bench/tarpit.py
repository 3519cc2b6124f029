"""`tarpit_lateness`: how late healthy rigs are read when a fifth of the site stops answering as it should.

A real host (lanes, poller, driver) reads simulated rigs. In every round another fifth turns into tar-pits, a third of
them each: connections that are never answered, one byte a second, an answer without an end.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from controller.host import Outcome
from controller.local_host import LocalHost
from controller.poll import PollSettings
from controller.settings import PollingSettings
from drivers import antminer
from drivers.io import Io
from shedload.device import Credential, Observation, RigName, RigSpec
from simulator.farm import Farm
from simulator.farm_config import FarmConfig, parse_farm
from simulator.faults import Fault
from tests.bench.machine import Child, Watch, cores, own_net
from tests.bench.table import Row, Runs, row_of, void_row

PARTS = 5
"""A fifth turns at a time, each round another one, so that a round begins with rigs that were well."""
TAR_PITS = (Fault.HANG, Fault.DRIP, Fault.ENDLESS_JSON)
LIMIT_MS = 500.0
MUST_REACH = "ratio <= 1.5 and <= 500 ms"
WATCH_S = 0.01
RPC_PORT, WEB_PORT = 24028, 20080
"""Above 1023, so that no privilege is needed, and below the ports that the kernel gives to clients."""
Answer = Callable[..., Awaitable[dict[str, Any]]]


def measure_tarpits(
    rounds: int,
    *,
    rigs: int = 1000,
    interval: float = PollSettings().interval,
    warm_up: float = 15.0,
    calm: float = 14.0,
    storm: float = 26.0,
    settle: float = 8.0,
) -> Row:
    """Run the row: `calm` seconds without and `storm` seconds with tar-pits, in turn.

    The first pass takes one interval, which `warm_up` must be longer than. In `settle` seconds between the end of the
    tar-pits and the next window without, the healed are asked at once and are well again.
    """
    target, beside = cores()
    net = own_net()
    with (
        Child("tests.bench.tarpit:farm", {"rigs": rigs, "net": net}, core=beside) as load,
        Child("tests.bench.tarpit:host", {"rigs": rigs, "net": net, "interval": interval}, core=target) as host,
    ):
        host.ask(wait=warm_up)
        without, within, loads, notes = [], [], [], []
        for turn in range(rounds):
            part = turn % PARTS
            watch = Watch(load.pid)
            without.append(host.ask(window=calm)["p99"])
            loads.append(watch.share())
            watch = Watch(load.pid)
            load.ask(part=part)
            found = host.ask(window=storm, sick=part)
            within.append(found["p99"])
            notes.append(found)
            loads.append(watch.share())
            load.ask(part=None)
            host.ask(wait=settle, heal=part)
    if problem := _doubt(notes, storm):
        return void_row("tarpit_lateness", "ms", MUST_REACH, problem)
    row = row_of(
        "tarpit_lateness",
        "ms",
        Runs(tuple(within), tuple(without), max(loads)),
        reference="the same rigs in the same process without tar-pits, before each window with them",
        most=1.5,
        ran=f"host on core {target}, simulated farm on core {beside}; {rigs} rigs every {interval:g} s, "
        f"{rigs // PARTS} of them tar-pits, windows of {calm:g} s without and {storm:g} s with",
        note=f"{min(found['count'] for found in notes)} readings of healthy rigs or more in each window; "
        f"{min(found['stuck'] for found in notes)} failed readings of tar-pits or more; "
        f"latest of all {max(found['latest'] for found in notes):.0f} ms; "
        f"host busy {max(found['busy'] for found in notes):.0%} at most; "
        f"other work took its core for {max(found['taken'] for found in notes):.0f} ms at a time",
    )
    return replace(row, must_reach=MUST_REACH, ok=row.ok and row.value is not None and row.value <= LIMIT_MS)


def _doubt(notes: Sequence[dict[str, Any]], storm: float) -> str:
    """Why these windows prove nothing, or an empty text."""
    if unread := sum(found["unread"] + found["failures"] for found in notes):
        return f"{unread} healthy rigs were not read, or not well"
    if storm > PollingSettings().rig_deadline_s and not all(found["stuck"] for found in notes):
        return "no reading failed: the tar-pits were none"
    return ""


@contextlib.asynccontextmanager
async def farm(rigs: int, net: str) -> AsyncIterator[Answer]:
    """Load: the simulated rigs; `part` says which fifth are tar-pits, None that nobody is."""
    loop = asyncio.get_running_loop()
    site = Farm(farm_config(rigs, net))
    await site.start()
    names = list(site.rigs)

    async def answer(part: int | None) -> dict[str, Any]:
        began = loop.time()
        for place, name in enumerate(names):
            sick = part is not None and place % PARTS == part
            wanted = [TAR_PITS[place // PARTS % len(TAR_PITS)]] if sick else []
            if set(wanted) != set(site.rigs[name].antminer.faults.active):
                await site.set_faults(name, wanted)
        return {"seconds": loop.time() - began}

    try:
        yield answer
    finally:
        await site.stop()


def farm_config(rigs: int, net: str) -> FarmConfig:
    """S19 Pro side by side on loopback."""
    return parse_farm(
        f'[farm]\nrpc_port = {RPC_PORT}\nweb_port = {WEB_PORT}\n[[pools]]\nurl = "stratum+tcp://pool.example:3333"\n'
        f'[[groups]]\nmodel = "S19 Pro"\ncount = {rigs}\nfirst_address = "{net}.0.1"\nname = "rig"\n'
    )


@contextlib.asynccontextmanager
async def host(rigs: int, net: str, interval: float) -> AsyncIterator[Answer]:
    """Target: the daemon's own host with its usual settings."""
    polling = PollingSettings()
    settings = PollSettings(
        interval=interval,
        budget=polling.rig_deadline_s,
        backoff_max=polling.backoff_max_s,
        concurrency=polling.concurrency,
    )
    async with Io() as io:
        specs = [_spec(place, net) for place in range(rigs)]
        sink = Lateness({spec.name: place for place, spec in enumerate(specs)})
        local = LocalHost([antminer.open(spec, io) for spec in specs], settings, time.monotonic)
        polls = asyncio.create_task(local.run(sink))

        async def answer(
            window: float = 0.0, sick: int | None = None, wait: float = 0.0, heal: int | None = None
        ) -> dict[str, Any]:
            if heal is not None:
                for spec in specs[heal::PARTS]:
                    local.refresh(spec.name)
            if not window:
                await asyncio.sleep(wait)
                return {}
            sink.begin(sick)
            used = time.process_time()
            taken = await _sleep_and_watch(window)
            busy = (time.process_time() - used) / window
            return sink.result(rigs, window, interval) | {"busy": busy, "taken": taken * 1e3}

        try:
            yield answer
        finally:
            polls.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await polls


async def _sleep_and_watch(seconds: float) -> float:
    """Sleep; the longest time for which this process stood still without using the processor: other work had it."""
    until = time.monotonic() + seconds
    longest = 0.0
    while (began := time.monotonic()) < until:
        used = time.process_time()
        await asyncio.sleep(min(WATCH_S, until - began))
        overdue = time.monotonic() - began - WATCH_S
        if time.process_time() - used < overdue / 2:
            longest = max(longest, overdue)
    return longest


class Lateness:
    """Takes readings and keeps how late those of healthy rigs were, in milliseconds."""

    def __init__(self, places: dict[RigName, int]) -> None:
        self._places = places
        self._failing: set[int] = set()
        self.begin(None)

    def begin(self, sick: int | None) -> None:
        """Forget and start anew; rigs of the part `sick`, and those that failed when last read, are not healthy."""
        self._left_out = set(self._failing)
        self._sick = sick
        self._late: list[float] = []
        self._seen: dict[int, float] = {}
        self.failures = self.stuck = 0

    def observed(self, batch: Sequence[Observation]) -> None:
        """Count."""
        for observation in batch:
            place = self._places[observation.rig]
            failed = observation.failure is not None
            (self._failing.add if failed else self._failing.discard)(place)
            self.stuck += failed and place % PARTS == self._sick
            if place in self._left_out or place % PARTS == self._sick:
                continue
            self.failures += failed
            self._seen[place] = observation.taken
            self._late.append((observation.taken - observation.due) * 1e3)

    def concluded(self, outcome: Outcome) -> None:
        """Nothing is commanded here."""

    def result(self, rigs: int, window: float, interval: float) -> dict[str, Any]:
        """The 99th percentile; `unread` are healthy rigs that were not read though they were due within the window."""
        late = sorted(self._late)
        healthy = {place for place in range(rigs) if place % PARTS != self._sick} - self._left_out
        recent = time.monotonic() - interval * 1.5
        unread = sum(self._seen.get(place, 0.0) < recent for place in healthy) if window > interval * 1.5 else 0
        return {
            "p99": late[int(len(late) * 0.99)] if late else float("inf"),
            "latest": late[-1] if late else float("inf"),
            "count": len(late),
            "unread": unread,
            "failures": self.failures,
            "stuck": self.stuck,
        }


def _spec(place: int, net: str) -> RigSpec:
    first, last = divmod(place + 1, 256)
    options = {"rpc_port": str(RPC_PORT), "web_port": str(WEB_PORT)}
    address = f"{net}.{first}.{last}"
    return RigSpec(RigName(f"rig-{place}"), "antminer", address, credential=Credential("root", "root"), options=options)
