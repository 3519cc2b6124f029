"""The control page of a simulated farm: look at the truth, break rigs, change the weather.

GET /rigs   GET /rigs/NAME   POST /rigs/NAME/fault {"fault": "hang" | null}   POST /ambient {"celsius": 38}   GET /meter
GET /parts   POST /parts/NAME/fault {"fault": "refuse" | null}   (pools and serial rigs)
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import orjson

from shedload.errors import ConfigError
from simulator.clock import PlantClock
from simulator.endpoint import RigEndpoint
from simulator.farm_config import ControlTable
from simulator.faults import Fault, fault_named
from simulator.json_server import JsonServer
from simulator.meter import Meter, meter_page
from simulator.web_wire import Request

COLDEST, HOTTEST = -60.0, 90.0


@runtime_checkable
class Breakable(Protocol):
    """A part with a name whose faults can be switched: a pool, a serial rig."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def faults(self) -> frozenset[Any]: ...  # noqa: D102

    async def set_faults(self, faults: Iterable[str]) -> None: ...  # noqa: D102


class Controlled(Protocol):
    """What the page needs of a farm."""

    @property
    def parts(self) -> Sequence[object]: ...  # noqa: D102

    @property
    def rigs(self) -> Mapping[str, RigEndpoint]: ...  # noqa: D102

    @property
    def clock(self) -> PlantClock: ...  # noqa: D102

    @property
    def meter(self) -> Meter: ...  # noqa: D102

    async def set_faults(self, name: str, faults: tuple[Fault, ...]) -> None: ...  # noqa: D102

    def set_ambient(self, celsius: float) -> None: ...  # noqa: D102


class ControlServer(JsonServer):
    """Serves the page on loopback."""

    def __init__(self, farm: Controlled, table: ControlTable) -> None:
        super().__init__(table.address, table.port, self._route)
        self._farm = farm

    async def _route(self, request: Request) -> tuple[int, Any]:
        parts = request.path.strip("/").split("/")
        match request.method, parts:
            case "GET", ["rigs"]:
                return 200, [self._rig(name) for name in self._farm.rigs]
            case "GET", ["rigs", name] if name in self._farm.rigs:
                return 200, self._rig(name)
            case "POST", ["rigs", name, "fault"] if name in self._farm.rigs:
                return await self._fault(name, request.body)
            case "GET", ["parts"]:
                return 200, [_part(part) for part in self._breakable().values()]
            case "POST", ["parts", name, "fault"] if name in self._breakable():
                return await self._part_fault(self._breakable()[name], request.body)
            case "POST", ["ambient"]:
                return self._ambient(request.body)
            case "GET", ["meter"]:
                return 200, meter_page(self._farm.meter)
        return 404, {"error": f"nothing is at {request.method} {request.path[:100]}"}

    def _rig(self, name: str) -> dict[str, Any]:
        endpoint = self._farm.rigs[name]
        truth = endpoint.antminer.rig.read(self._farm.clock.now())
        return {
            "name": name,
            "address": endpoint.address,
            "model": endpoint.antminer.rig.model.name,
            "state": truth.state,
            "power_w": round(truth.power, 1),
            "hashrate_hs": truth.hashrate,
            "chip_celsius": round(truth.chip_temperature, 1),
            "inlet_celsius": truth.inlet,
            "mode": endpoint.antminer.configuration.mode,
            "pools": [pool.url for pool in endpoint.antminer.configuration.pools if pool.url],
            "writes": endpoint.antminer.writes,
            "faults": sorted(endpoint.antminer.faults.active),
        }

    async def _fault(self, name: str, body: bytes) -> tuple[int, Any]:
        asked = _object(body)
        if "fault" not in asked or not isinstance(asked["fault"], str | None):
            return 400, {"error": 'say {"fault": "hang"} or {"fault": null}'}
        try:
            faults = () if asked["fault"] is None else (fault_named(asked["fault"], "fault"),)
        except ConfigError as error:
            return 400, {"error": str(error)}
        await self._farm.set_faults(name, faults)
        return 200, self._rig(name)

    def _breakable(self) -> dict[str, Breakable]:
        return {part.name: part for part in self._farm.parts if isinstance(part, Breakable)}

    async def _part_fault(self, part: Breakable, body: bytes) -> tuple[int, Any]:
        asked = _object(body)
        if "fault" not in asked or not isinstance(asked["fault"], str | None):
            return 400, {"error": 'say {"fault": "refuse"} or {"fault": null}'}
        try:
            await part.set_faults(() if asked["fault"] is None else (asked["fault"],))
        except ValueError as error:
            return 400, {"error": str(error)[:200]}
        return 200, _part(part)

    def _ambient(self, body: bytes) -> tuple[int, Any]:
        celsius = _object(body).get("celsius")
        if isinstance(celsius, bool) or not isinstance(celsius, int | float) or not COLDEST <= celsius <= HOTTEST:
            return 400, {"error": f'say {{"celsius": 38}}, between {COLDEST:.0f} and {HOTTEST:.0f}'}
        self._farm.set_ambient(float(celsius))
        return 200, {"celsius": celsius}


def _part(part: Breakable) -> dict[str, Any]:
    return {"name": part.name, "faults": sorted(part.faults)}


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
