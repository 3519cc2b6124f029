"""`poll_full` and `poll_full_cold`: whole readings of simulated S19s by our driver and by pyasic's get_data.

Steady state means what the daemon does every ten seconds: each rig's clock is moved on by ten seconds a reading, so the
slower tiers come due exactly as often as they do on site.
"""

import asyncio
import contextlib
import importlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from drivers import antminer
from drivers.io import Io
from shedload.device import Credential, RigName, RigSpec, Telemetry
from tests.bench.fields import missing_fields
from tests.bench.machine import BenchError, Child, cores, own_net
from tests.bench.rigs import PASSWORD, USER, addresses
from tests.bench.table import Row, Runs, alternate, row_of, void_row

CONCURRENCY = 32
"""Readings under way at once, in all three contestants."""
INTERVAL_S = 10.0
"""The daemon's usual polling interval."""
PYASIC_CLASS = {"S19": "BMMinerS19", "S19 Pro": "BMMinerS19Pro", "S19j Pro": "BMMinerS19jPro", "S19 XP": "BMMinerS19XP"}
ROWS = ("poll_full", "poll_full_cold")
LEAST = {"poll_full": 20.0, "poll_full_cold": 8.0}
NOTES = {
    "poll_full": "steady state at one reading per rig in 10 s, slower tiers on their cadence, kept-alive web",
    "poll_full_cold": "a new driver, session, login and new connections for each reading; every page of the web",
}
Answer = Callable[..., Awaitable[dict[str, Any]]]


def measure_full(rounds: int, seconds: float, per_model: int = 16) -> list[Row]:
    """Run both rows; void where the ports that pyasic insists on cannot be had."""
    target, beside = cores()
    with contextlib.ExitStack() as stack:
        options = {"per_model": per_model, "net": own_net()}
        try:
            load = stack.enter_context(Child("tests.bench.rigs:canned", options, core=beside))
        except BenchError as error:
            why = f"ports 80 and 4028 on loopback are needed: {error}"
            return [void_row(name, "readings/s", f"ratio >= {LEAST[name]:g}", why) for name in ROWS]
        tasks = ("steady", "cold", "pyasic")
        contestants = [stack.enter_context(Child(f"tests.bench.full:{task}", options, core=target)) for task in tasks]
        checked = contestants[2].ask(compare=True)
        measures = [_measure(child, seconds) for child in contestants]
        for warm_up in measures:
            warm_up()
        figures, loads = alternate(rounds, measures, load)
    return [_row(name, figures[place], figures[2], max(loads[place], loads[2]), checked, target, beside)
            for place, name in enumerate(ROWS)]  # fmt: skip


def _measure(child: Child, seconds: float) -> Callable[[], float]:
    return lambda: float(child.ask(seconds=seconds)["rate"])


def _row(
    name: str, values: Sequence[float], references: Sequence[float], load: float, checked: dict[str, Any],
    target: int, beside: int,
) -> Row:  # fmt: skip
    missing = checked["missing"]
    row = row_of(
        name,
        "readings/s",
        Runs(tuple(values), tuple(references), load),
        reference="pyasic get_data on the same rigs, as many at once",
        least=LEAST[name],
        ran=f"per second of the client's CPU time; client on core {target}, canned simulator replies on core {beside}; "
        f"{CONCURRENCY} readings at once",
        note=f"{NOTES[name]}; pyasic fills {checked['filled']} fields, of which empty here: "
        f"{', '.join(missing) or 'none'}",
    )
    return replace(row, ok=row.ok and not missing)


@contextlib.asynccontextmanager
async def steady(per_model: int, net: str) -> AsyncIterator[Answer]:
    """Contestant: the driver as the daemon uses it, one long life per rig."""
    async with Io() as io:
        known = specs(per_model, net)
        clocks = [_Clock(io, place * 0.37 % INTERVAL_S) for place in range(len(known))]
        rigs = [antminer.open(spec, clock.io) for spec, clock in zip(known, clocks, strict=True)]
        for rig in rigs:
            await rig.read()

        async def once(place: int) -> None:
            clocks[place].now += INTERVAL_S
            _check(await rigs[place].read())

        yield counted(once, len(rigs))


@contextlib.asynccontextmanager
async def cold(per_model: int, net: str) -> AsyncIterator[Answer]:
    """Contestant: as if the rig had never been seen."""
    known = specs(per_model, net)

    async def once(place: int) -> None:
        async with Io() as io:
            _check(await antminer.open(known[place], io).read())

    yield counted(once, len(known))


@contextlib.asynccontextmanager
async def pyasic(per_model: int, net: str) -> AsyncIterator[Answer]:
    """Reference: pyasic with the class of the model given, so that it need not look for it."""
    package = importlib.import_module("pyasic.miners.antminer")
    miners = [getattr(package, PYASIC_CLASS[model])(address) for model, address in addresses(per_model, net)]

    async def once(place: int) -> None:
        data = await miners[place].get_data()
        assert data.hashrate is not None
        assert data.mac is not None

    measure = counted(once, len(miners))

    async def answer(*, compare: bool = False, seconds: float = 0.0) -> dict[str, Any]:
        if not compare:
            return await measure(seconds=seconds)
        filled: set[str] = set()
        missing: set[str] = set()
        async with Io() as io:
            for place in range(0, len(miners), per_model):
                telemetry = await antminer.open(specs(per_model, net)[place], io).read()
                theirs, lacking = missing_fields(await miners[place].get_data(), telemetry)
                filled |= theirs
                missing |= lacking
        return {"filled": len(filled), "missing": sorted(missing)}

    yield answer


def specs(per_model: int, net: str) -> list[RigSpec]:
    """The rigs as the inventory would name them."""
    return [
        RigSpec(RigName(f"rig-{place}"), "antminer", address, credential=Credential(USER, PASSWORD))
        for place, (_, address) in enumerate(addresses(per_model, net))
    ]


def counted(once: Callable[[int], Awaitable[None]], places: int) -> Answer:
    """Keep CONCURRENCY readings under way, never two of one rig; the rate is per second of this process's CPU time."""
    workers = min(CONCURRENCY, places)
    loop = asyncio.get_running_loop()

    async def answer(seconds: float) -> dict[str, Any]:
        count = 0
        began, used = loop.time(), time.process_time()

        async def worker(first: int) -> None:
            nonlocal count
            for place in itertools.cycle(range(first, places, workers)):
                if loop.time() >= began + seconds:
                    return
                await once(place)
                count += 1

        await asyncio.gather(*(worker(first) for first in range(workers)))
        wall, cpu = loop.time() - began, time.process_time() - used
        return {"rate": count / cpu, "busy": cpu / wall, "per_wall_second": count / wall}

    return answer


class _Clock:
    """One rig's own clock, in the place where the driver asks for the time; the web session is everybody's."""

    def __init__(self, io: Io, start: float) -> None:
        self.now = start
        self.io = Io(mono=lambda: self.now)
        self.io._http = io.http


def _check(telemetry: Telemetry) -> None:
    assert telemetry.hashrate is not None
    assert telemetry.pools
    assert telemetry.identity is not None
    assert telemetry.mode is not None
    assert telemetry.locating is not None
