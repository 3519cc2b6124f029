"""Makes the rigs of a farm and puts them in their places."""

import ipaddress
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shedload.errors import ConfigError
from shedload.units import Celsius
from simulator.antminer import SHARE_DIFFICULTY, Antminer, MachineIdentity, PoolEntry
from simulator.clock import PlantClock
from simulator.endpoint import SOCKET_PORT, WEB_PORT, RigEndpoint
from simulator.farm_config import FarmConfig, GroupTable
from simulator.faults import Fault
from simulator.firmware import FIRMWARES, Firmware
from simulator.models import MODELS, NORMAL, SLEEP
from simulator.rig import Dynamics, Rig, Setting


@dataclass(frozen=True, slots=True)
class Placed:
    """One rig and where it stands."""

    name: str
    endpoint: RigEndpoint
    place: Mapping[str, str]  # site, hall, rack, position, group, feeder, phase, owner, driver
    credential: str
    options: Mapping[str, str]
    inlet_offset: float
    faults: tuple[Fault, ...]

    def row(self) -> dict[str, str]:
        """The slot as a row of the inventory."""
        antminer = self.endpoint.antminer
        return {
            "name": self.name,
            **self.place,
            "address": self.endpoint.address,
            "credential": self.credential,
            "serial": antminer.identity.serial,
            "mac": antminer.identity.mac,
            "model": antminer.rig.model.name,
            "options": ";".join(f"{key}={value}" for key, value in {**self.options, **self._ports()}.items()),
        }

    def _ports(self) -> dict[str, str]:
        usual = {"web_port": WEB_PORT, "rpc_port": SOCKET_PORT}
        real = {"web_port": self.endpoint.web_port, "rpc_port": self.endpoint.socket_port}
        return {key: str(port) for key, port in real.items() if port != usual[key]}


def place_rigs(config: FarmConfig, clock: PlantClock) -> tuple[Placed, ...]:
    """Every rig of every group. Raises ConfigError where two would have one name."""
    placed = [_place(config, clock, group, index) for group in config.groups for index in range(group.count)]
    names: set[str] = set()
    for one in placed:
        if one.name in names:
            raise ConfigError("groups", f"two rigs are called {one.name!r}", "give the groups different names")
        names.add(one.name)
    return tuple(placed)


def _place(config: FarmConfig, clock: PlantClock, group: GroupTable, index: int) -> Placed:
    name = f"{group.name or group.model.lower().replace(' ', '')}-{index + 1:03d}"
    address = str(ipaddress.IPv4Address(group.first_address) + index)
    rng = random.Random(f"{config.farm.seed}:{name}")
    endpoint = RigEndpoint(
        name,
        _antminer(config, clock, group, name, address, rng),
        clock,
        address=address,
        socket_port=config.farm.rpc_port,
        web_port=config.farm.web_port,
        latency=config.farm.latency_s,
    )
    faults = () if group.fault is None else (group.fault,)
    return Placed(
        name, endpoint, _where(group, index), config.farm.credential, group.options, group.inlet_offset_c, faults
    )  # fmt: skip


def _antminer(
    config: FarmConfig, clock: PlantClock, group: GroupTable, name: str, address: str, rng: random.Random
) -> Antminer:
    site = config.farm
    return Antminer(
        _rig(config, group, rng),
        _firmware(group),
        _identity(address),
        rng,
        user=site.user,
        password=site.password,
        pools=[PoolEntry(p.url, p.user.replace("{name}", name), p.password) for p in config.pools],
        epoch=clock.epoch,
        share_difficulty=group.share_difficulty or SHARE_DIFFICULTY,
    )


def _rig(config: FarmConfig, group: GroupTable, rng: random.Random) -> Rig:
    usual = Dynamics()
    return Rig(
        MODELS[group.model],
        rng,
        dynamics=replace(usual, boot=group.boot_s or usual.boot, ramp=group.ramp_s or usual.ramp),
        setting=Setting(mode=SLEEP if group.asleep else NORMAL, has_pool=bool(config.pools)),
        inlet=Celsius(config.farm.ambient_c + group.inlet_offset_c),
        running=group.running,
    )


def _firmware(group: GroupTable) -> Firmware:
    name = group.firmware or MODELS[group.model].firmware
    if name not in FIRMWARES:
        raise ConfigError("groups.firmware", f"there is no firmware {name!r}", f"use one of {', '.join(FIRMWARES)}")
    switches: dict[str, bool] = dict.fromkeys(group.quirks, True)
    return replace(FIRMWARES[name], **switches)  # type: ignore[arg-type]


def _identity(address: str) -> MachineIdentity:
    packed = ipaddress.IPv4Address(address).packed
    mac = ":".join(f"{byte:02X}" for byte in (0x02, 0x51, *packed))
    return MachineIdentity(f"SMTT{packed.hex().upper()}BDJA0", mac, address)


def _where(group: GroupTable, index: int) -> dict[str, str]:
    rack, position = divmod(index, group.per_rack)
    return {
        "site": group.site,
        "hall": group.hall,
        "rack": f"{group.rack}{rack + 1:02d}",
        "position": str(position + 1),
        "group": group.group or group.name or group.model.lower().replace(" ", ""),
        "feeder": group.feeders[rack % len(group.feeders)] if group.feeders else "",
        "phase": group.phases[index % len(group.phases)] if group.phases else "",
        "owner": group.owner,
        "driver": group.driver,
    }
