"""What an operator may set: one frozen model per section of shedload.toml, units in the names, a range for every limit.

    shedload.toml --> config.load() --> Config --> daemon, which hands each section to the piece that needs it

Keys hold what was written; properties give it in the units of the program. The sections [price], [tariff] and
[economics] are defined beside the code that uses them.
"""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, model_validator

from controller.economics import EconomicsConfig
from controller.fields import (
    FilePath,
    Listen,
    Name,
    PoolUrl,
    Port,
    Section,
    SendableText,
    Text,
    Topic,
    WebUrl,
    Zone,
    fault,
)
from controller.plan import Control
from controller.prices import PriceConfig
from controller.secrets import read_secret
from controller.tariff import TariffConfig
from shedload.device import Credential, PoolTarget
from shedload.units import Celsius, Seconds, Watts, from_kilowatts

DEFAULT_RAMP_FRACTION = 0.03
"""Share of the cap by which the site may rise in a minute."""

MAX_SITE_KW = 2_000_000.0
"""Twice the largest mining site announced anywhere: a larger number is in the wrong unit."""

Kilowatts = Annotated[float, Field(gt=0, le=MAX_SITE_KW)]


class SiteSettings(Section):
    """[site]: the one electrical domain that this daemon owns."""

    name: Name
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    timezone: Zone
    power_cap_kw: Kilowatts
    base_load_kw: Annotated[float, Field(ge=0, le=MAX_SITE_KW)] = 0.0
    ramp_up_kw_per_min: Kilowatts | None = None
    inventory: FilePath
    state_dir: FilePath

    @property
    def power_cap(self) -> Watts:
        """The most that the site may draw, base load included."""
        return from_kilowatts(self.power_cap_kw)

    @property
    def base_load(self) -> Watts:
        """What the site draws beside the rigs: cooling, light, network."""
        return from_kilowatts(self.base_load_kw)

    @property
    def ramp_up_per_minute(self) -> Watts:
        """By how much the site may rise in a minute."""
        kilowatts = self.ramp_up_kw_per_min
        return from_kilowatts(self.power_cap_kw * DEFAULT_RAMP_FRACTION if kilowatts is None else kilowatts)

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone, for calendar rules and display."""
        return ZoneInfo(self.timezone)

    @model_validator(mode="after")
    def _cap_above_base_load(self) -> Self:
        if self.power_cap_kw <= self.base_load_kw:
            raise fault(
                f"{self.power_cap_kw:g} leaves nothing for rigs beside base_load_kw = {self.base_load_kw:g}",
                "the cap includes the base load and must be above it",
                key="power_cap_kw",
            )
        return self


class PollingSettings(Section):
    """[polling]: how the rigs are read."""

    interval_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=5000)] = 200
    rig_deadline_s: Annotated[float, Field(ge=0.5, le=60)] = 8.0  # whole reading of one rig; stock firmware needs 1-5 s
    slow_interval_s: Annotated[float, Field(ge=10, le=86_400)] = 300.0  # identity, network, configuration
    stale_after_s: Annotated[float, Field(ge=5, le=3600)] = 45.0  # an older reading decides nothing
    backoff_max_s: Annotated[float, Field(ge=1, le=3600)] = 120.0

    @model_validator(mode="after")
    def _stale_after_a_missed_poll(self) -> Self:
        least = self.interval_s + self.rig_deadline_s
        if self.stale_after_s < least:
            raise fault(
                f"{self.stale_after_s:g} is less than interval_s + rig_deadline_s = {least:g}",
                "healthy rigs would be taken for offline between two readings",
                key="stale_after_s",
            )
        return self


class ControlSettings(Section):
    """[control]: how decisions are made and carried out."""

    interval_s: Annotated[float, Field(ge=1, le=900)] = 15.0
    allocate_interval_s: Annotated[float, Field(ge=1, le=10)] = (
        5.0  # the watchdog of the shipped unit waits 30 s for a cycle
    )
    min_on_s: Annotated[float, Field(ge=0, le=86_400)] = 1800.0
    min_off_s: Annotated[float, Field(ge=0, le=86_400)] = 900.0
    off_above: Annotated[float, Field(ge=1, le=3)] = 1.05  # times break-even: a rig sleeps above it
    on_below: Annotated[float, Field(gt=0, le=1)] = 0.95  # times break-even: a rig wakes below it
    without_price: Literal["hold", "run", "sleep"] = "hold"
    confirm_within_s: Annotated[float, Field(ge=5, le=3600)] = 120.0
    wake_within_s: Annotated[float, Field(ge=5, le=7200)] = 900.0  # stock boards boot 2-8 minutes, then ramp
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    retry_refusing_s: Annotated[float, Field(ge=60, le=86_400)] = 3600.0
    stagger_rigs_per_cycle: Annotated[int, Field(ge=1, le=10_000)] = 50  # wakes started in one cycle
    canary_rigs: Annotated[int, Field(ge=1, le=1000)] = 10  # first automatic commands go to at most so many
    canary_percent: Annotated[float, Field(gt=0, le=100)] = 1.0  # or to this share of the group, whichever is less
    contested_after: Annotated[int, Field(ge=1, le=20)] = 2  # foreign undoings within the window
    contested_window_s: Annotated[float, Field(ge=60, le=86_400)] = 1800.0
    chip_temperature_limit_c: Annotated[float, Field(ge=40, le=125)] = 95.0

    @property
    def chip_temperature_limit(self) -> Celsius:
        """A rig whose hottest chip is above it sleeps."""
        return Celsius(self.chip_temperature_limit_c)

    @model_validator(mode="after")
    def _allocate_within_interval(self) -> Self:
        if self.allocate_interval_s > self.interval_s:
            raise fault(
                f"{self.allocate_interval_s:g} is longer than interval_s = {self.interval_s:g}",
                "the allocator runs at least once in each control interval",
                key="allocate_interval_s",
            )
        return self


class NoMeter(Section):
    """[meter] source = "none": site power is the sum of the rigs plus the base load."""

    source: Literal["none"] = "none"


class _Meter(Section):
    """What every site power meter has; `field` is a dotted path into a JSON reading, None where it is a bare number."""

    field: Text | None = None
    unit: Literal["W", "kW", "MW"] = "W"
    scale: Annotated[float, Field(ge=-100_000, le=100_000)] = 1.0  # transformer ratio; negative for a reversed meter
    max_age_s: Annotated[float, Field(ge=1, le=600)] = 30.0

    @property
    def max_age(self) -> Seconds:
        """A reading older than this is no reading."""
        return Seconds(self.max_age_s)

    def watts(self, reading: float) -> Watts:
        """A raw reading in watts."""
        return Watts(reading * self.scale * {"W": 1.0, "kW": 1e3, "MW": 1e6}[self.unit])

    @model_validator(mode="after")
    def _scale_not_zero(self) -> Self:
        if self.scale == 0:
            raise fault("0 makes every reading zero", "leave the key out for a scale of 1", key="scale")
        return self


class HttpMeter(_Meter):
    """[meter] source = "http": asked at an address."""

    source: Literal["http"]
    url: WebUrl
    interval_s: Annotated[float, Field(ge=0.5, le=60)] = 2.0
    timeout_s: Annotated[float, Field(ge=0.2, le=30)] = 1.5


class MqttMeter(_Meter):
    """[meter] source = "mqtt": heard on [mqtt] meter_topic."""

    source: Literal["mqtt"]


MeterSettings = Annotated[NoMeter | HttpMeter | MqttMeter, Field(discriminator="source")]


class GroupSettings(Section):
    """[groups.NAME]: rigs that are steered alike. New groups only observe."""

    control: Control = Control.OBSERVE
    feeder: Name | None = None  # for slots whose row names none


class FeederSettings(Section):
    """[feeders.NAME]: a cable or transformer with a limit of its own."""

    cap_kw: Kilowatts

    @property
    def cap(self) -> Watts:
        """The most that the rigs on this feeder may draw."""
        return from_kilowatts(self.cap_kw)


class _WithPassword(Section):
    """A section that may name a password: in a file, or (discouraged) in its text."""

    password: SecretStr | None = None
    password_file: FilePath | None = None

    def secret(self) -> str | None:
        """The password, read now; None where none is set. Raises ConfigError."""
        if self.password_file is not None:
            return read_secret(self.password_file)
        return None if self.password is None else self.password.get_secret_value()

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise fault("stands beside password_file", "keep password_file only", key="password")
        return self


class CredentialSettings(_WithPassword):
    """[credentials.NAME]: what the daemon shows to rigs that ask for a password."""

    user: Text

    def credential(self) -> Credential:
        """User and password, read now. Raises ConfigError."""
        return Credential(self.user, self.secret() or "")

    @model_validator(mode="after")
    def _has_password(self) -> Self:
        if self.password is None and self.password_file is None:
            raise fault(
                "is missing", "write the password into a file of mode 0600 and name it here", key="password_file"
            )
        return self


class PoolSettings(_WithPassword):
    """[[pools]]: an upstream pool for the rigs that this daemon feeds; the lowest priority number is preferred."""

    url: PoolUrl
    user: SendableText
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None  # by default the order in the file

    @property
    def host(self) -> str:
        """Host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port."""
        return urlsplit(self.url).port or 0

    @property
    def tls(self) -> bool:
        """The connection is encrypted and the certificate verified."""
        return not self.url.startswith("stratum+tcp:")

    def target(self) -> PoolTarget:
        """The pool with its password ("x" where none is set), read now. Raises ConfigError."""
        return PoolTarget(self.url, self.user, self.secret() or "x")


class SerialSettings(Section):
    """[serial]: rigs that get their work from this daemon."""

    version_rolling: bool = False
    suggest_difficulty: Annotated[float, Field(gt=0, le=1e15)] | None = None
    reopen_max_s: Annotated[float, Field(ge=1, le=600)] = 30.0


class ApiSettings(Section):
    """[api]: where metrics, status and orders are served."""

    listen: Listen = "127.0.0.1:9477"
    token_file: FilePath | None = None
    insecure_without_token: bool = False

    @property
    def host(self) -> str:
        """Address to bind."""
        return urlsplit(f"//{self.listen}").hostname or ""

    @property
    def port(self) -> int:
        """Port to bind; 0 lets the system choose."""
        return urlsplit(f"//{self.listen}").port or 0

    @property
    def loopback(self) -> bool:
        """Only this machine can connect."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def token(self) -> str | None:
        """The token that callers must show, read now; None where none is asked for. Raises ConfigError."""
        return None if self.token_file is None else read_secret(self.token_file)

    @model_validator(mode="after")
    def _not_open_to_all(self) -> Self:
        if not self.loopback and self.token_file is None and not self.insecure_without_token:
            raise fault(
                f'"{self.listen}" lets other machines give orders without a token',
                "set token_file, or insecure_without_token = true where the network itself is trusted",
                key="listen",
            )
        return self


class MqttSettings(_WithPassword):
    """[mqtt]: the broker that state goes to and that a meter and a price may come from."""

    host: Text
    port: Port | None = None
    user: Text | None = None
    tls: bool = False
    ca_file: FilePath | None = None
    client_id: Name | None = None
    root: Topic = "shedload/v1"
    meter_topic: Topic | None = None
    price_topic: Topic | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 15  # silence is noticed after half as much again

    @property
    def broker_port(self) -> int:
        """The port, 8883 or 1883 where none is set."""
        return self.port or (8883 if self.tls else 1883)


class LogSettings(Section):
    """[log]: what is written and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"  # auto: readable on a terminal, JSON otherwise


class Config(Section):
    """The whole file."""

    site: SiteSettings
    polling: PollingSettings = PollingSettings()
    control: ControlSettings = ControlSettings()
    price: PriceConfig | None = None
    tariff: TariffConfig = Field(default_factory=TariffConfig)
    economics: EconomicsConfig | None = None
    meter: MeterSettings = NoMeter()
    groups: dict[Name, GroupSettings] = Field(default_factory=dict)
    feeders: dict[Name, FeederSettings] = Field(default_factory=dict)
    credentials: dict[Name, CredentialSettings] = Field(default_factory=dict)
    pools: tuple[PoolSettings, ...] = ()
    serial: SerialSettings = SerialSettings()
    api: ApiSettings = ApiSettings()
    mqtt: MqttSettings | None = None
    log: LogSettings = LogSettings()

    @property
    def pools_by_priority(self) -> tuple[PoolSettings, ...]:
        """The pools, preferred first."""
        numbered = [(place if pool.priority is None else pool.priority, place) for place, pool in enumerate(self.pools)]
        return tuple(self.pools[place] for _, place in sorted(numbered))

    def controls(self) -> dict[str, Control]:
        """How far the file lets the daemon go with each group; the store may remember another choice."""
        return {name: group.control for name, group in self.groups.items()}
