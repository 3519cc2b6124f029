"""A small mine in virtual time: simulated pools and Icarus rigs, the daemon's upstream and dispatch between them."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controller.clock import ScaledClock
from controller.stratum.connection import PoolAddress
from controller.stratum.dispatch import Dispatch
from controller.stratum.upstream import Upstream
from drivers import icarus
from drivers.io import Io
from shedload.device import RigName, RigSpec
from simulator.chips import IcarusRig, SerialTable
from simulator.clock import PlantClock
from simulator.farm import PartBuilder
from simulator.pool import Pool
from simulator.pool_config import PoolTable
from simulator.tables import read_table
from tests.support.serial_lines import SerialLines

NONCE_DIFFICULTY = 4e-8
"""172 hashes: cheap to find for real, with hashlib too."""
HASHRATE = 80.0
"""A nonce every two virtual seconds."""


@dataclass
class Mine:
    """What runs."""

    pools: list[Pool]
    rigs: list[IcarusRig]
    drivers: list[icarus.Icarus]
    lines: SerialLines
    upstream: Upstream
    dispatch: Dispatch

    @property
    def found(self) -> int:
        """Shares sent."""
        return sum(books.submitted for books in self.upstream.books.values())


def make_pool(seed: int = 1, tls: ssl.SSLContext | None = None, **table: Any) -> Pool:
    """A pool whose every second nonce is a share."""
    usual = {"difficulty": 2 * NONCE_DIFFICULTY, "minimum_difficulty": 1e-8, "vardiff": False, "block_s": None}
    return Pool(PoolTable(**(usual | table)), plant_clock(), seed, tls=tls)


def plant_clock() -> PlantClock:
    """A clock for simulated parts on the running loop."""
    return PlantClock(asyncio.get_running_loop().time, epoch=1_767_225_600.0)


def make_rig(name: str, lines: SerialLines, seed: int = 1, **table: Any) -> IcarusRig:
    """A slow rig on a line in memory."""
    usual = {"name": name, "hashrate_hs": HASHRATE, "nonce_difficulty": NONCE_DIFFICULTY}
    return IcarusRig(SerialTable(**(usual | table)), plant_clock(), seed, lines.plug(name))


def serial_in_memory(lines: SerialLines) -> PartBuilder:
    """Builds the [[serial]] rigs of a farm file on lines in memory; the daemon's `Io(serial=lines.open)` opens them."""

    def build(table: Mapping[str, Any], clock: PlantClock, seed: int) -> IcarusRig:
        read = read_table(SerialTable, table, "serial")
        return IcarusRig(read, clock, seed, lines.plug(read.path or read.name))

    return build


def make_driver(name: str, lines: SerialLines, difficulty: float | None = None) -> icarus.Icarus:
    """The driver of that rig."""
    spec = RigSpec(RigName(name), "icarus", name, options={"nonce_difficulty": f"{difficulty or NONCE_DIFFICULTY:g}"})
    return icarus.open(spec, Io(mono=asyncio.get_running_loop().time, serial=lines.open))


def addresses(pools: list[Pool]) -> list[PoolAddress]:
    """The pools in their order of preference."""
    return [
        PoolAddress(
            pool.name,
            pool.table.address,
            pool.port,
            "farm.x",
            "s3cret-word",
            rank,
            tls=pool.url.startswith("stratum+ssl"),
        )
        for rank, pool in enumerate(pools)
    ]


@contextlib.asynccontextmanager
async def running_pools(*pools: Pool) -> AsyncIterator[list[Pool]]:
    """Pools that serve."""
    for pool in pools:
        await pool.start()
    try:
        yield list(pools)
    finally:
        for pool in pools:
            await pool.stop()


@contextlib.asynccontextmanager
async def running(*coroutines: Any) -> AsyncIterator[None]:
    """Tasks that run until the end of the block; what they raise, the block raises."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        failed = [task for task in tasks if task.done() and not task.cancelled() and task.exception()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in failed:
        task.result()


@contextlib.asynccontextmanager
async def mine(
    *pools: Pool,
    rigs: int = 1,
    lines: SerialLines | None = None,
    table: dict[str, Any] | None = None,
    difficulty: float = NONCE_DIFFICULTY,
    **upstream: Any,
) -> AsyncIterator[Mine]:
    """Everything together, mining. `table` is the rigs', `difficulty` what the drivers take their nonces for."""
    lines = lines or SerialLines()
    clock = ScaledClock(datetime(2026, 1, 1, tzinfo=UTC))
    devices = [make_rig(f"stick-{n}", lines, n, **(table or {})) for n in range(rigs)]
    drivers = [make_driver(rig.name, lines, difficulty) for rig in devices]
    async with running_pools(*pools):
        for rig in devices:
            await rig.start()
        up = Upstream(addresses(list(pools)), clock, **upstream)
        dispatch = Dispatch(drivers, up, clock)
        try:
            async with running(up.run(), dispatch.run()):
                yield Mine(list(pools), devices, drivers, lines, up, dispatch)
        finally:
            for driver in drivers:
                await driver.close()
            for rig in devices:
                await rig.stop()
