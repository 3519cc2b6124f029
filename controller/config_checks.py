"""What no single section can know: references between sections, secrets that must be readable, time zone data.

Config --> check_config() --> problems; warnings_of() --> advice that does not stop the start
"""

import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from controller.config_problems import Locator
from controller.inventory import Slot
from controller.plan import Control
from controller.prices import CsvPrice, open_source
from controller.prices.csv_file import load as load_prices
from controller.prices.merge import gaps
from controller.secrets import WORLD
from controller.settings import Config, MqttMeter
from controller.toml_lines import Place
from shedload.errors import ConfigError
from shedload.nameplate import NAMEPLATES, SLEEP_POWER, nameplate
from shedload.units import KILO

MIN_TOKEN_CHARACTERS = 16
"""128 bits need at least 16 characters even if every byte were random."""

ALMATY_PROBE = datetime(2025, 6, 1, tzinfo=UTC)
ALMATY_OFFSET = timedelta(hours=5)
"""Kazakhstan has been UTC+5 since 1 March 2024; zone data older than 2024a has every Kazakh tariff an hour wrong."""


def check_config(config: Config, locator: Locator) -> list[ConfigError]:
    """Problems between sections and with the files that they name."""
    return [
        *_time_zones(locator),
        *_feeders(config, locator),
        *_pools(config, locator),
        *_price(config, locator),
        *_mqtt(config, locator),
        *_secrets(config, locator),
        *_inline_passwords(config, locator),
    ]


def check_slots(config: Config, slots: Sequence[Slot], locator: Locator) -> list[ConfigError]:
    """Problems between the configuration and the inventory."""
    problems = []
    serial = sum(slot.address.startswith("/") for slot in slots)
    if serial and not config.pools:
        problems.append(
            locator.problem(
                ("pools",), f"no pool for {serial} serial rigs of the inventory", "add [[pools]] with url and user"
            )
        )
    floor = config.site.base_load + SLEEP_POWER * (len(slots) - serial)
    if floor > config.site.power_cap:
        problems.append(
            locator.problem(
                ("site", "power_cap_kw"),
                f"{config.site.power_cap_kw:g} cannot be kept: all asleep, the site draws {floor / KILO:.1f} kW",
                f"base_load_kw and {SLEEP_POWER:g} W for each sleeping rig count into the cap",
            )
        )
    return problems


MAX_GAPS_SHOWN = 3


def warnings_of(config: Config) -> tuple[str, ...]:
    """Advice: works, and had better be otherwise."""
    advice = [f"{'.'.join(map(str, place))}: better in a file, by password_file" for place in _inline(config)]
    advice += [
        f"feeders.{name}.cap_kw: {feeder.cap_kw:g} is above the site's cap and never binds"
        for name, feeder in config.feeders.items()
        if feeder.cap_kw > config.site.power_cap_kw
    ]
    advice += [
        f"pools[{number}].url: not encrypted; whoever sits on the way can take the hashrate"
        for number, pool in enumerate(config.pools, 1)
        if not pool.tls
    ]
    advice += _allowed_gaps(config)
    if config.api.token_file is None and not config.api.loopback:
        advice.append("api.listen: other machines may give orders without a token")
    return tuple(advice)


def advice_on_slots(config: Config, slots: Sequence[Slot]) -> tuple[str, ...]:
    """Advice on the inventory."""
    if not slots:
        return ("site.inventory: names no rig; `shedload scan RANGE` finds those of a network",)
    return (*_unknown_models(slots), *_without_credential(config, slots))


def _unknown_models(slots: Sequence[Slot]) -> Iterator[str]:
    for model in sorted({slot.model for slot in slots if slot.model and not slot.address.startswith("/")}):
        if nameplate(model) is None:
            close = get_close_matches(model, [plate.model for plate in NAMEPLATES.values()], n=1, cutoff=0.8)
            hint = f'; did you mean "{close[0]}"?' if close else ""
            yield f'inventory: no nameplate of model "{model}": only the rig can tell its power{hint}'


def _without_credential(config: Config, slots: Sequence[Slot]) -> Iterator[str]:
    for name, group in config.groups.items():
        open_ones = [
            slot.name
            for slot in slots
            if slot.group == name and slot.credential is None and not slot.address.startswith("/")
        ]
        if group.control is Control.AUTO and open_ones:
            yield (
                f"groups.{name}: auto, but {len(open_ones)} of its rigs have no credential, {open_ones[0]} the first: "
                "one that asks for a password obeys no command"
            )


def _gaps_of(price: CsvPrice) -> str:
    """Where a price file has no price, in words; empty where it has one throughout. Raises ConfigError."""
    found = gaps(load_prices(price.file, price))
    shown = ", ".join(f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC" for start, end in found[:MAX_GAPS_SHOWN])
    more = f" and {len(found) - MAX_GAPS_SHOWN} more" if len(found) > MAX_GAPS_SHOWN else ""
    return f"no price from {shown}{more}" if found else ""


def _allowed_gaps(config: Config) -> list[str]:
    """A gap that is allowed stays one; the operator should know of it before it comes."""
    if not isinstance(config.price, CsvPrice) or not config.price.allow_gaps:
        return []
    found = _gaps_of(config.price)
    return [f"price.file: {found}; control.without_price says what then"] if found else []


def unknown(kind: str, name: str, known: list[str], section: str) -> tuple[str, str]:
    """Problem and remedy for a name that stands nowhere."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f'{kind} "{name}" is not configured', f"{hint}known: {', '.join(known) or 'none'}; add [{section}.{name}]"


def _time_zones(locator: Locator) -> Iterator[ConfigError]:
    if ALMATY_PROBE.astimezone(ZoneInfo("Asia/Almaty")).utcoffset() != ALMATY_OFFSET:
        yield locator.problem(
            (),
            "the time zone data of this machine is older than 2024a",
            "update the packages tzdata of system and Python",
        )


def _feeders(config: Config, locator: Locator) -> Iterator[ConfigError]:
    for name, group in config.groups.items():
        if group.feeder is not None and group.feeder not in config.feeders:
            yield locator.problem(
                ("groups", name, "feeder"), *unknown("feeder", group.feeder, list(config.feeders), "feeders")
            )


def _pools(config: Config, locator: Locator) -> Iterator[ConfigError]:
    seen: dict[tuple[str, str], int] = {}
    for number, pool in enumerate(config.pools):
        first = seen.setdefault((pool.url, pool.user), number)
        if first != number:
            yield locator.problem(("pools", number, "url"), f"repeats pool {first + 1}", "remove one of the two")


def _price(config: Config, locator: Locator) -> Iterator[ConfigError]:
    """Open the price source, and read a price file to its end: its gaps and currencies are to be known now."""
    if config.price is None:
        return
    try:
        open_source(config.price, config.site.currency, config.site.timezone)
        found = _gaps_of(config.price) if isinstance(config.price, CsvPrice) else ""
    except ConfigError as error:
        yield locator.problem(("price",), f"{error.where}: {error.problem}", error.remedy)
        return
    if found and isinstance(config.price, CsvPrice) and not config.price.allow_gaps:
        remedy = "add what is missing, or set allow_gaps = true and say by control.without_price what is to happen then"
        yield locator.problem(("price", "file"), f"{config.price.file.name} has {found}", remedy)


def _mqtt(config: Config, locator: Locator) -> Iterator[ConfigError]:
    topic = None if config.mqtt is None else config.mqtt.meter_topic
    if isinstance(config.meter, MqttMeter) and topic is None:
        yield locator.problem(("meter", "source"), '"mqtt" needs a topic to listen to', "set meter_topic under [mqtt]")
    if config.mqtt is not None and config.mqtt.ca_file is not None and not config.mqtt.ca_file.is_file():
        yield locator.problem(("mqtt", "ca_file"), f"there is no file {config.mqtt.ca_file}", "name a PEM file")


def _secrets(config: Config, locator: Locator) -> Iterator[ConfigError]:
    """Read every secret once now, so that none is found missing at night."""
    for place, read in _readers(config):
        try:
            secret = read()
        except ConfigError as error:
            yield locator.problem(place, f"{error.where} {error.problem}", error.remedy)
            continue
        if place[0] == "api" and secret is not None and len(secret) < MIN_TOKEN_CHARACTERS:
            yield locator.problem(
                place, f"holds fewer than {MIN_TOKEN_CHARACTERS} characters", "run: openssl rand -hex 24"
            )


def _readers(config: Config) -> Iterator[tuple[Place, Callable[[], str | None]]]:
    for name, credential in config.credentials.items():
        yield ("credentials", name, "password_file"), credential.secret
    for number, pool in enumerate(config.pools):
        yield ("pools", number, "password_file"), pool.secret
    if config.mqtt is not None:
        yield ("mqtt", "password_file"), config.mqtt.secret
    yield ("api", "token_file"), config.api.token


def _inline(config: Config) -> list[Place]:
    """Places of passwords that stand in the configuration itself; a pool's is no secret by custom."""
    places: list[Place] = [
        ("credentials", name, "password") for name, item in config.credentials.items() if item.password is not None
    ]
    if config.mqtt is not None and config.mqtt.password is not None:
        places.append(("mqtt", "password"))
    return places


def _inline_passwords(config: Config, locator: Locator) -> Iterator[ConfigError]:
    if not stat.S_IMODE(locator.path.stat().st_mode) & WORLD:
        return
    for place in _inline(config):
        yield locator.problem(
            place, "stands in a file that every user can read", f"use password_file, or run: chmod 600 {locator.path}"
        )
