"""A simulated farm from one TOML file: read into frozen values, or one named error that says what would do."""

import ipaddress
import tomllib
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from shedload.errors import ConfigError
from simulator.faults import Fault
from simulator.firmware import QUIRKS
from simulator.models import MODELS

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_RIGS = 20_000
Port = Annotated[int, Field(ge=0, le=65_535)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=-60, le=90)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Site(_Table):
    """[farm]: what holds for all of it."""

    name: str = "farm"
    seed: int = 1
    time_scale: Positive = 1.0  # plant seconds in a second
    ambient_c: Temperature = 25.0
    start: datetime | None = None  # what the rigs take for now at the start; the present by default
    web_port: Port = 80
    rpc_port: Port = 4028
    latency_s: Annotated[float, Field(ge=0, le=10)] = 0.0
    user: str = "root"
    password: str = Field(default="root", repr=False)
    credential: str = "antminer"  # the reference that the inventory names


class MeterTable(_Table):
    """[meter]."""

    address: str = "127.0.0.1"
    port: Port = 0
    base_load_w: Annotated[float, Field(ge=0)] = 0.0
    noise: Annotated[float, Field(ge=0, le=0.2)] = 0.002


class ControlTable(_Table):
    """[control]."""

    address: str = "127.0.0.1"
    port: Port = 0


class PoolTable(_Table):
    """[[pools]]: what is written on the rigs; {name} in the user becomes the rig's."""

    url: str
    user: str = "farm.{name}"
    password: str = "x"  # noqa: S105  what pools ignore


class GroupTable(_Table):
    """[[groups]]: rigs of one model side by side."""

    model: str
    count: Annotated[int, Field(ge=1, le=MAX_RIGS)]
    first_address: str
    name: str = ""  # rigs are called NAME-001 and so on; the model by default
    group: str = ""
    site: str = ""
    hall: str = ""
    rack: str = "R"
    per_rack: Annotated[int, Field(ge=1)] = 20
    feeders: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    owner: str = ""
    driver: str = "antminer"
    firmware: str | None = None
    quirks: tuple[str, ...] = ()
    asleep: bool = False
    running: bool = True  # false: they are switched on at the start and boot
    inlet_offset_c: float = 0.0
    boot_s: Positive | None = None
    ramp_s: Positive | None = None
    share_difficulty: Positive | None = None
    fault: Fault | None = None
    options: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, table: Any) -> Any:
        if isinstance(table, dict):
            _one_of(table.get("model"), MODELS, "model")
            for quirk in table.get("quirks", ()):
                _one_of(quirk, QUIRKS, "quirk")
        return table


class FaultTable(_Table):
    """[[faults]]: a fault of one rig at a plant time."""

    rig: str
    fault: Fault
    at_s: Annotated[float, Field(ge=0)] = 0.0
    for_s: Positive | None = None


class FarmConfig(_Table):
    """The whole file. `pool` and `serial` are handed to the parts that simulate them."""

    farm: Site = Site()
    meter: MeterTable | None = None
    control: ControlTable | None = None
    pools: tuple[PoolTable, ...] = ()
    groups: tuple[GroupTable, ...] = ()
    faults: tuple[FaultTable, ...] = ()
    pool: tuple[dict[str, Any], ...] = ()  # [pool], or [[pool]] where rigs shall fail over
    serial: tuple[dict[str, Any], ...] = ()

    @field_validator("pool", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _addresses(self) -> "FarmConfig":
        seen: set[int] = set()
        for number, group in enumerate(self.groups):
            addresses = range(first := _loopback(group.first_address, number), first + group.count)
            _loopback(str(ipaddress.IPv4Address(addresses[-1])), number)
            if seen.intersection(addresses):
                raise ValueError(f"groups[{number}]: its addresses overlap with an earlier group")
            seen.update(addresses)
        return self


def read_farm(path: Path) -> FarmConfig:
    """Read a farm file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}", "name a farm file") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(str(path), "is too large", f"a farm file has at most {MAX_FILE_BYTES} bytes")
    return parse_farm(content.decode(errors="replace"), str(path))


def parse_farm(text: str, where: str = "farm file") -> FarmConfig:
    """Read the text of a farm file. Raises ConfigError."""
    try:
        return FarmConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            where,
            f"is not TOML: {error}",
            "text stands in quotes, a table's name in [brackets]; deploy/examples/try-it has a farm",
        ) from None
    except ValidationError as error:
        _explain(error, where)


def _loopback(text: str, group: int) -> int:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError(
            f"groups[{group}].first_address: {text!r} is no IPv4 address; write one such as 127.1.0.1"
        ) from None
    if not address.is_loopback:
        raise ValueError(f"groups[{group}].first_address: {text} is not on loopback; use 127.0.0.1 to 127.255.255.254")
    return int(address)


def _one_of(value: Any, known: Any, what: str) -> None:
    if isinstance(value, str) and value not in known:
        near = get_close_matches(value, sorted(known), 1, 0.4)
        meant = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known))}"
        raise ValueError(f"there is no {what} {value!r}; {meant}")


def _explain(error: ValidationError, where: str) -> NoReturn:
    first = error.errors(include_url=False, include_input=False)[0]
    place = _key(first["loc"])
    at = f"{where}: {place}" if place else where
    if first["type"] == "extra_forbidden":
        raise ConfigError(at, "unknown key", _meant(first["loc"])) from None
    problem, _, remedy = first["msg"].removeprefix("Value error, ").partition("; ")
    raise ConfigError(at, problem, remedy) from None


def _key(places: tuple[int | str, ...]) -> str:
    text = ""
    for place in places:
        text += f"[{place}]" if isinstance(place, int) else f".{place}" if text else place
    return text


def _meant(places: tuple[int | str, ...]) -> str:
    table: type[BaseModel] = FarmConfig
    if len(places) > 1:
        tables: dict[int | str, type[BaseModel]] = {
            "farm": Site, "meter": MeterTable, "control": ControlTable, "pools": PoolTable, "groups": GroupTable,
            "faults": FaultTable,
        }  # fmt: skip
        table = tables.get(places[0], FarmConfig)
    near = get_close_matches(str(places[-1]), sorted(table.model_fields), 1, 0.5)
    return f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(table.model_fields))}"
