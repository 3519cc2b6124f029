"""A whole simulated farm: rigs on loopback addresses, a meter, a control page, and parts that others bring.

    farm.toml --> FarmConfig --> Farm --start()--> RigEndpoint x n, MeterServer, ControlServer, Part (pool, serial rigs)

Everything hangs on the running loop's clock, so the same farm runs in real and in virtual time.
"""

import asyncio
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from shedload.errors import ConfigError
from shedload.units import Celsius, Watts
from simulator.chips import build_icarus
from simulator.clock import PlantClock
from simulator.control import Breakable, ControlServer
from simulator.endpoint import RigEndpoint
from simulator.farm_build import Placed, place_rigs
from simulator.farm_config import FarmConfig, FaultTable
from simulator.faults import Fault
from simulator.inventory import write_rows
from simulator.meter import ConstantLoad, Load, Meter, MeterServer
from simulator.pool import build_pool

FILES_PER_RIG = 4
"""Two listening sockets and room for two connections."""
FILES_BESIDE = 200


class Part(Protocol):
    """Something else of the farm, such as a pool or a serial rig.

    It may also be a `Load` for the meter and have `inventory_row()` for the list of slots.
    """

    async def start(self) -> None:
        """Begin to serve."""
        ...

    async def stop(self) -> None:
        """End, whatever state it is in."""
        ...


PartBuilder = Callable[[Mapping[str, Any], PlantClock, int], Part]
"""Makes a part from its table in the farm file, the plant's clock and a seed. Raises ConfigError."""


class Farm:
    """Rigs and what stands beside them. Make it inside a running loop."""

    def __init__(
        self,
        config: FarmConfig,
        *,
        pool: PartBuilder | None = build_pool,
        serial: PartBuilder | None = build_icarus,
        read: Callable[[], float] | None = None,
        epoch: float | None = None,
    ) -> None:
        self.config = config
        site = config.farm
        began = site.start.timestamp() if site.start else time.time()
        clock = read or asyncio.get_running_loop().time
        self.clock = PlantClock(clock, site.time_scale, began if epoch is None else epoch)
        self._placed = place_rigs(config, self.clock)
        self.rigs: dict[str, RigEndpoint] = {placed.name: placed.endpoint for placed in self._placed}
        self._offsets = {placed.name: placed.inlet_offset for placed in self._placed}
        self.parts = tuple(self._build_parts(pool, serial))
        _check_names([*self.rigs, *(part.name for part in self.parts if isinstance(part, Breakable))])
        self.meter = self._build_meter()
        self.meter_server = _meter_server(config, self.meter)
        self.control_server = None if config.control is None else ControlServer(self, config.control)
        self._timers: list[asyncio.TimerHandle] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def placed(self) -> tuple[Placed, ...]:
        """The rigs with their places, in the order of the file."""
        return self._placed

    async def start(self) -> None:
        """Open every port. OSError where one cannot be had; nothing is left open then."""
        _allow_files(len(self.rigs) * FILES_PER_RIG + FILES_BESIDE)
        try:
            for part in self._all():
                await part.start()
            for placed in self._placed:
                if placed.faults:
                    await placed.endpoint.set_faults(placed.faults)
            for fault in self.config.faults:
                self._schedule(fault)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close everything."""
        for timer in self._timers:
            timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for part in reversed(list(self._all())):
            await part.stop()

    async def set_faults(self, name: str, faults: Iterable[Fault]) -> None:
        """Have exactly these faults on at one rig. KeyError for a name that no rig has."""
        await self.rigs[name].set_faults(faults)

    def set_ambient(self, celsius: float) -> None:
        """Change the temperature around all rigs."""
        now = self.clock.now()
        for name, endpoint in self.rigs.items():
            endpoint.antminer.rig.set_inlet(now, Celsius(celsius + self._offsets[name]))

    def rig_power(self) -> Watts:
        """True draw of the network rigs now, without noise of an instrument."""
        now = self.clock.now()
        return Watts(sum(endpoint.antminer.rig.power(now) for endpoint in self.rigs.values()))

    def inventory(self) -> list[dict[str, str]]:
        """The slots as rows of an inventory; ports that were free to choose are known once started."""
        rows = [placed.row() for placed in self._placed]
        rows.extend(part.inventory_row() for part in self.parts if hasattr(part, "inventory_row"))
        return rows

    def write_inventory(self, path: Path) -> None:
        """Write the slots as the daemon reads them."""
        write_rows(path, self.inventory())

    def _all(self) -> Iterable[Part]:
        yield from self.parts
        yield from self.rigs.values()
        if self.meter_server is not None:
            yield self.meter_server
        if self.control_server is not None:
            yield self.control_server

    def _build_parts(self, pool: PartBuilder | None, serial: PartBuilder | None) -> Iterable[Part]:
        seeds = random.Random(f"{self.config.farm.seed}:parts")
        for table in self.config.pool:
            yield _part(pool, table, self.clock, seeds, "pool")
        for table in self.config.serial:
            yield _part(serial, table, self.clock, seeds, "serial")

    def _build_meter(self) -> Meter:
        table = self.config.meter
        meter = Meter(self.clock, noise=table.noise if table else 0.0, seed=self.config.farm.seed)
        if table is not None:
            meter.add(ConstantLoad(Watts(table.base_load_w)))
        for endpoint in self.rigs.values():
            meter.add(endpoint.antminer.rig)
        for part in self.parts:
            if isinstance(part, Load):
                meter.add(part)
        return meter

    def _schedule(self, table: FaultTable) -> None:
        if table.rig not in self.rigs:
            raise ConfigError("faults", f"there is no rig {table.rig!r}", "name one of the groups' rigs")
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(self.clock.delay(table.at_s), self._switch, table.rig, (table.fault,)))
        if table.for_s is not None:
            end = self.clock.delay(table.at_s + table.for_s)
            self._timers.append(loop.call_later(end, self._switch, table.rig, ()))

    def _switch(self, name: str, faults: tuple[Fault, ...]) -> None:
        task = asyncio.ensure_future(self.set_faults(name, faults))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_names(names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError("pool, serial", f"two of the farm are called {name!r}", "give each a name of its own")


def _part(
    build: PartBuilder | None, table: Mapping[str, Any], clock: PlantClock, seeds: random.Random, what: str
) -> Part:
    if build is None:
        raise ConfigError(what, "this farm was started without that part", f"take the {what} table out")
    return build(table, clock, seeds.getrandbits(32))


def _meter_server(config: FarmConfig, meter: Meter) -> MeterServer | None:
    return None if config.meter is None else MeterServer(meter, config.meter.address, config.meter.port)


def _allow_files(count: int) -> None:
    """Lift the soft limit on open files as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
