"""The site's power meter: the true draw of everything behind it, with an instrument's noise.

Load.power / Load.energy --> Meter --> GET /meter, or whoever publishes it
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from shedload.units import Joules, Watts
from simulator.clock import PlantClock
from simulator.json_server import JsonServer
from simulator.web_wire import Request

DEFAULT_NOISE = 0.002
"""Relative; instruments on sites were seen between 0.1 and 0.5 %."""
JOULES_PER_WATT_HOUR = 3600.0


@runtime_checkable
class Load(Protocol):
    """Something that draws power; times are plant seconds."""

    def power(self, now: float) -> Watts:
        """True draw at `now`."""
        ...

    def energy(self, now: float) -> Joules:
        """True energy since the start."""
        ...


@dataclass(frozen=True, slots=True)
class ConstantLoad:
    """Draws the same all the time: fans of the hall, pumps, an office."""

    watts: Watts

    def power(self, now: float) -> Watts:  # noqa: ARG002  the protocol's signature
        """The same at every time."""
        return self.watts

    def energy(self, now: float) -> Joules:
        """Grows evenly."""
        return Joules(self.watts * now)


@dataclass(frozen=True, slots=True)
class MeterSample:
    """One reading of the instrument."""

    power: Watts
    energy: Joules
    timestamp: float  # Unix time of the simulated site


class Meter:
    """Adds up its loads."""

    def __init__(
        self, clock: PlantClock, loads: Iterable[Load] = (), *, noise: float = DEFAULT_NOISE, seed: int = 0
    ) -> None:
        self._clock = clock
        self._loads = list(loads)
        self._noise = noise
        self._rng = random.Random(seed)

    def add(self, load: Load) -> None:
        """Put one more load behind the meter."""
        self._loads.append(load)

    def true_power(self) -> Watts:
        """What is really drawn now."""
        now = self._clock.now()
        return Watts(sum(load.power(now) for load in self._loads))

    def sample(self) -> MeterSample:
        """What the instrument shows now."""
        now = self._clock.now()
        power = self.true_power() * (1 + self._rng.uniform(-self._noise, self._noise))
        energy = sum(load.energy(now) for load in self._loads)
        return MeterSample(Watts(power), Joules(energy), self._clock.wall())


class MeterServer(JsonServer):
    """The instrument's page: `GET /meter`."""

    def __init__(self, meter: Meter, address: str, port: int) -> None:
        super().__init__(address, port, self._page)
        self._meter = meter

    async def _page(self, request: Request) -> tuple[int, Any]:
        if (request.method, request.path) != ("GET", "/meter"):
            return 404, {"error": "there is only GET /meter"}
        return 200, meter_page(self._meter)


def meter_page(meter: Meter) -> dict[str, float]:
    """The reading as JSON carries it."""
    sample = meter.sample()
    return {
        "power_w": round(sample.power, 1),
        "energy_wh": round(sample.energy / JOULES_PER_WATT_HOUR, 3),
        "timestamp": round(sample.timestamp, 3),
    }
