"""Drivers over simulated Antminers, in virtual time: a rig with its endpoint, and the spec that finds it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from drivers.antminer import Antminer as Driver
from drivers.io import Io
from shedload.device import Credential, RigName, RigSpec
from simulator.antminer import Antminer, MachineIdentity, PoolEntry
from simulator.clock import PlantClock
from simulator.endpoint import RigEndpoint
from simulator.firmware import FIRMWARES
from simulator.models import MODELS
from simulator.rig import Rig
from tests.support.http import VirtualConnector

POOLS = (
    PoolEntry("stratum+tcp://pool.example:3333", "farm.rig1", "secret-one"),
    PoolEntry("stratum+tcp://backup.example:443", "farm.rig1", "secret-two"),
)

LOGIN = Credential("root", "root")
"""What simulated rigs expect, as Bitmain delivers them."""


@dataclass
class Bench:
    """A simulated rig and the driver that talks to it."""

    machine: Antminer
    endpoint: RigEndpoint
    driver: Driver
    io: Io

    def spec(self, **changes: Any) -> RigSpec:
        return replace(self.driver.spec, **changes)


@asynccontextmanager
async def simulated(
    model: str = "S19 Pro",
    *,
    firmware: str | None = None,
    quirks: dict[str, Any] | None = None,
    pools: tuple[PoolEntry, ...] = POOLS,
    credential: Credential | None = LOGIN,
    options: dict[str, str] | None = None,
    **expected: str,
) -> AsyncIterator[Bench]:
    """Open a rig that has been hashing for long, and a driver for it. Only inside a virtual loop."""
    loop = asyncio.get_running_loop()
    chosen = MODELS[model]
    rng = random.Random(3)
    clock = PlantClock(loop.time, 1.0, 1_750_000_000.0)
    machine = Antminer(
        Rig(chosen, rng, clock.now() - 5_000.0),
        replace(FIRMWARES[firmware or chosen.firmware], **(quirks or {})),
        MachineIdentity("SMTTYRHBDJAAI0190", "02:51:7F:00:00:05", "127.0.0.5"),
        rng,
        pools=pools,
        epoch=1_750_000_000.0,
    )
    endpoint = RigEndpoint("rig-1", machine, clock, address="127.0.0.5")
    spec = RigSpec(RigName("rig-1"), "antminer", "127.0.0.5", credential, options=options or {}, **expected)
    await endpoint.start()
    try:
        async with Io(mono=loop.time, connector=VirtualConnector) as io:
            driver = Driver(spec, io)
            yield Bench(machine, endpoint, driver, io)
            await driver.close()
    finally:
        await endpoint.stop()
