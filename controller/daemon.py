"""Builds the daemon, wires it, runs it in one task group and stops it in reverse. Reads from top to bottom.

The only place that imports drivers and, with the few that own connections, the only one that makes long-lived tasks.
"""

import asyncio
import contextlib
import gc
import os
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

import drivers
from controller import memory
from controller.actuate import MODE_BEFORE_SLEEP, ActuateSettings, Actuator
from controller.allocate import RAMP_DOWN_SHARE, AllocationSettings
from controller.api import Api
from controller.clock import Clock
from controller.config import Config, Installation
from controller.control import Controller, SiteSettings
from controller.discover import Identify
from controller.farm import Farm, Member
from controller.feed import PriceFeed
from controller.host import Outcome
from controller.inventory import Slot
from controller.ledger import Ledger
from controller.local_host import LocalHost
from controller.meter import SiteMeter
from controller.metrics import Metrics
from controller.mqtt import MqttLink
from controller.mqtt_inputs import Input, MeterInput, PriceInput, plausible_watts
from controller.notify import Notifier
from controller.plan import Control, RigState
from controller.policy import PolicySettings
from controller.poll import PollSettings
from controller.prices import PriceSource, open_source
from controller.prices.series import PriceSeries
from controller.safety import SafetySettings
from controller.secrets import read_secret
from controller.settings import HttpMeter, MqttMeter, MqttSettings, NoMeter
from controller.status import Site, group_status, site_status
from controller.store import Store, StorePort
from controller.stratum.connection import PoolAddress
from controller.stratum.dispatch import Dispatch
from controller.stratum.upstream import Upstream
from controller.track import CommandState, TrackSettings, Verdict
from drivers.io import Io
from drivers.meter_http import open_meter
from shedload.device import Credential, Identity, Observation, Rig, RigName, RigSpec
from shedload.errors import ConfigError, RigError, StoreError
from shedload.units import Watts

LEDGER = "ledger"
HOUSEKEEPING = 5.0
"""Seconds between two rounds of small chores."""
LAG_PROBE = 0.5
WARM_AFTER = (0.0, 60.0)
"""Seconds after the first pass over the rigs at which what exists is taken for permanent: the garbage collector then
leaves it alone, which at a thousand rigs saves pauses of 50 to 100 ms."""
MAX_AGE_WITHOUT_METER = 30.0
WRITE_DEADLINE = 5.0
"""Seconds that a write beside commands may take: a disk that hangs must not keep the daemon from stopping."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How this run differs from what the file says."""

    observe: bool = False  # command nothing, whatever file and store say
    simulated: bool = False  # every screen says so


class Daemon:
    """Everything that one site needs, built and not yet running."""

    def __init__(self, installation: Installation, store: StorePort, io: Io, clock: Clock, options: Options) -> None:
        config = installation.config
        self._config = config
        self._store = store
        self._io = io
        self._clock = clock
        self._notifier = Notifier()
        self._stopping = asyncio.Event()
        self.port = 0
        self.started = asyncio.Event()
        rigs = open_rigs(installation, io)
        self.farm = _farm(config, installation.slots, store, clock, options)
        self._known_figures = memory.recall(self.farm, store)
        self.host = LocalHost(rigs, _poll_settings(config), clock.mono)
        self.actuator = Actuator(self.farm, store, clock, _actuate_settings(config, options), proven=store.proven)
        self.actuator.attach(self.host)
        self.meter = SiteMeter(clock.mono, _meter_age(config))
        self.feed = PriceFeed(_price_source(config), clock)
        self.upstream = Upstream(
            _addresses(config),
            clock,
            suggest_difficulty=config.serial.suggest_difficulty,
            tls=lambda _address: ssl.create_default_context(),
        )
        self.dispatch = Dispatch(rigs, self.upstream, clock)
        self.controller = _controller(config, self, store, clock)
        self.site = Site(
            name=config.site.name,
            currency=config.site.currency,
            simulated=options.simulated,
            farm=self.farm,
            actuator=self.actuator,
            controller=self.controller,
            feed=self.feed,
            meter=self.meter,
            upstream=self.upstream,
            dispatch=self.dispatch,
            clock=clock,
        )
        self.metrics = Metrics(self.site, store)
        token = config.api.token() or own_token(config.site.state_dir)
        self.api = Api(self.site, self.metrics, store, token, open_reads=config.api.loopback)
        self.mqtt = None if config.mqtt is None else self._mqtt(config.mqtt)
        self.metrics.mqtt = self.mqtt

    def stop(self) -> None:
        """Ask for a clean end: rigs stay as they are, what is known goes to disk."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until `stop`. Raises what a part of the daemon could not survive."""
        await self._settle_the_past()
        self.controller.listen(self._cycle_done)
        self.port = await self.api.start(self._config.api.host, self._config.api.port)
        log.info("api_listening", url=f"http://{self._config.api.host}:{self.port}")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(job, name=name) for name, job in self._jobs()]
                for task in tasks:
                    task.add_done_callback(_tell_failure)
                self._notifier.ready(f"{len(self.farm.records)} rigs")
                self.started.set()
                await self._stopping.wait()
                self._notifier.stopping()
                for task in tasks:
                    task.cancel()
        finally:
            gc.unfreeze()
            await self.api.stop()
            await self._save_ledger()
            await self._save_figures()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WRITE_DEADLINE):
                    await self.actuator.scribe.flush()

    def observed(self, batch: Sequence[Observation]) -> None:
        """Take readings from the host: the farm first, then those who read the farm."""
        self.farm.observed(batch)
        self.actuator.observed(batch)
        self.metrics.observed(batch)

    def concluded(self, outcome: Outcome) -> None:
        """Take the outcome of a command from the host."""
        self.actuator.concluded(outcome)

    def _jobs(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        yield "host", self.host.run(self)
        yield "prices", self.feed.run()
        yield "control", self.controller.run()
        yield "verdicts", self.actuator.scribe.write_down()
        yield "journal", self._probe_journal()
        yield "pools", self.upstream.run()
        yield "dispatch", self.dispatch.run()
        yield "chores", self._chores()
        yield "lag", self._watch_lag()
        if isinstance(self._config.meter, HttpMeter):
            yield "meter", self._read_meter(self._config.meter)
        if self.mqtt is not None:
            yield "mqtt", self.mqtt.run()

    def _mqtt(self, settings: MqttSettings) -> MqttLink:
        inputs: list[Input] = []
        if settings.meter_topic is not None and isinstance(self._config.meter, MqttMeter):
            inputs.append(MeterInput(settings.meter_topic, self._config.meter, self.meter))
        if settings.price_topic is not None:
            currency = self._config.site.currency
            inputs.append(PriceInput(settings.price_topic, currency, self.feed.take, self._clock.wall))
        return MqttLink(
            settings,
            self._config.site.name,
            self._clock,
            state=lambda: site_status(self.site),
            groups=lambda: group_status(self.site),
            inputs=inputs,
        )

    async def _settle_the_past(self) -> None:
        """Commands without an outcome from before: readings will settle the last of each rig, the others are over."""
        last = {record.rig: record for record in self._store.unsettled}  # oldest first: the newest of a rig stays
        if last:
            log.warning("commands_unsettled", count=len(self._store.unsettled), rigs=len(last))
        for record in self._store.unsettled:
            mine = record is last[record.rig]
            if not (mine and self.actuator.inherit(record.number, record.rig, record.verb, record.mode)):
                self.actuator.scribe.verdict(Verdict(record.number, CommandState.SUPERSEDED, "before a restart"))
        self.controller.set_orders(self._store.orders)
        for order in self._store.orders:
            log.warning("order_in_force", number=order.number, limit_w=order.limit, author=order.author)

    def _cycle_done(self) -> None:
        states = [view.state for view in self.controller.views.values()]
        awake = sum(state in (RigState.HASHING, RigState.RAMPING) for state in states)
        # The watchdog is fed here and nowhere else: a loop that hangs must not look alive.
        self._notifier.alive(f"{awake} of {len(states)} rigs hash")
        if self.mqtt is not None:
            self.mqtt.changed()

    async def _read_meter(self, settings: HttpMeter) -> None:
        meter = open_meter(settings.url, settings.field, settings.timeout_s, self._io)
        while True:
            try:
                self.meter.heard(plausible_watts(settings, await meter.read()))
            except RigError as error:
                if error.detail != self.meter.last_failure:  # once for each cause, until it speaks again
                    log.warning("meter_failed", kind=error.kind, detail=error.detail)
                self.meter.failed(error.detail)
            await asyncio.sleep(settings.interval_s)

    async def _chores(self) -> None:
        warm: float | None = None  # since when the first pass is over
        freezes = list(WARM_AFTER)
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            self.metrics.sweep()
            await self._save_ledger()
            await self._save_figures()
            if warm is None and self.controller.ready:
                warm = self._clock.mono()
            if warm is not None and freezes and self._clock.mono() - warm >= freezes[0]:
                gc.collect()
                gc.freeze()
                freezes.pop(0)

    async def _probe_journal(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            await self.actuator.scribe.probe()
            await self.api.write_orders()

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PROBE
            await asyncio.sleep(LAG_PROBE)
            self.metrics.lagged(loop.time() - due)

    async def _save_figures(self) -> None:
        found = memory.changed(self.farm, self._known_figures)
        if found and await self._remember(memory.facts(found)):
            self._known_figures.update(found)

    async def _save_ledger(self) -> None:
        await self._remember({LEDGER: self.controller.ledger.fact()})

    async def _remember(self, facts: Mapping[str, Any]) -> bool:
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                await self._store.remember(facts)
        except (StoreError, TimeoutError):  # the scribe says loudly that the disk takes nothing
            return False
        return True


async def serve(
    installation: Installation, options: Options, clock: Clock, started: Callable[[Daemon], None] | None = None
) -> None:
    """Open the store, build the daemon and run it to its end; `started` gets it before it runs.

    Raises ConfigError, StoreError, OSError where the address to listen on cannot be had.
    """
    store = await Store.open(installation.config.site.state_dir, clock)
    try:
        async with Io(mono=clock.mono) as io:
            daemon = Daemon(installation, store, io, clock, options)
            if started is not None:
                started(daemon)
            await daemon.run()
    finally:
        await store.close()


def driver_names() -> tuple[str, ...]:
    """Drivers that an inventory may name."""
    return drivers.names()


@contextlib.asynccontextmanager
async def identifying(options: Mapping[str, str]) -> AsyncIterator[Identify]:
    """A way to ask who answers at an address: through drivers, reading only. `options` are those of a slot."""
    async with Io() as io:

        async def identify(driver: str, address: str, credential: Credential | None) -> Identity:
            spec = RigSpec(RigName(address), driver, address, credential, options=options)
            rig: Rig = drivers.load(driver).open(spec, io)
            try:
                return await rig.identify()
            finally:
                await rig.close()

        yield identify


async def rig_problems(installation: Installation) -> list[ConfigError]:
    """What the drivers have to say against rows of the inventory; touches no network. Raises ConfigError."""
    problems = []
    async with Io() as io:
        for spec in installation.specs():
            try:
                rig = drivers.load(spec.driver).open(spec, io)
            except ConfigError as error:
                problems.append(ConfigError(f"slot {spec.name}: {error.where}", error.problem, error.remedy))
            else:
                await rig.close()
    return problems


def _tell_failure(job: asyncio.Task[None]) -> None:
    """Name the job that ends the daemon, before all others are stopped for it."""
    if not job.cancelled() and (error := job.exception()) is not None:
        log.critical("job_failed", job=job.get_name(), error=f"{type(error).__name__}: {error}"[:300])


def open_rigs(installation: Installation, io: Io) -> list[Rig]:
    """Open every slot with its driver; touches no network. Raises ConfigError."""
    rigs = []
    for spec in installation.specs():
        try:
            rigs.append(drivers.load(spec.driver).open(spec, io))
        except ConfigError as error:
            raise ConfigError(f"slot {spec.name}: {error.where}", error.problem, error.remedy) from None
    return rigs


def own_token(state_dir: Path) -> str:
    """The token in the state folder, made at the first start. Raises ConfigError where others may have read it."""
    path = state_dir / "api.token"
    empty = path.is_file() and not path.read_bytes().strip()  # would let everybody in
    if path.exists() and not empty:
        return read_secret(path)
    token = secrets.token_urlsafe(32)
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="api.token.", dir=state_dir)  # of mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    Path(name).replace(path)
    return token


def _farm(config: Config, slots: Iterable[Slot], store: StorePort, clock: Clock, options: Options) -> Farm:
    chosen = {**config.controls(), **store.controls}
    members = [
        Member(
            slot.name,
            slot.group,
            slot.feeder,
            Control.OBSERVE if options.observe else chosen.get(slot.group, Control.OBSERVE),
            slot.model,
        )
        for slot in slots
    ]
    farm = Farm(members, clock, stale_after=config.polling.stale_after_s)
    for key, mode in store.facts(MODE_BEFORE_SLEEP).items():
        farm.restore_mode(RigName(key.removeprefix(MODE_BEFORE_SLEEP)), str(mode))
    return farm


def _controller(config: Config, parts: Daemon, store: StorePort, clock: Clock) -> Controller:
    site, control = config.site, config.control
    ledger = store.fact(LEDGER)
    # The ramps' buckets hold a minute's worth. Where plant time runs so fast that a cycle takes longer than a minute
    # of it, a cycle may change what its minutes allow.
    minutes = max(1.0, control.allocate_interval_s * clock.plant_rate / 60.0)
    return Controller(
        site=SiteSettings(
            power_cap=site.power_cap,
            base_load=site.base_load,
            feeders={name: feeder.cap for name, feeder in config.feeders.items()},
            planner_interval=control.interval_s,
            allocator_interval=control.allocate_interval_s,
            has_meter=not isinstance(config.meter, NoMeter),
        ),
        farm=parts.farm,
        actuator=parts.actuator,
        feed=parts.feed,
        meter=parts.meter,
        clock=clock,
        economics=config.economics.economics if config.economics is not None else None,
        tariff=config.tariff.tariff,
        policy=PolicySettings(
            off_above=control.off_above,
            on_below=control.on_below,
            minimum_on=control.min_on_s,
            minimum_off=control.min_off_s,
            without_price=control.without_price,
        ),
        allocation=AllocationSettings(
            ramp_up_per_minute=Watts(minutes * site.ramp_up_per_minute),
            ramp_down_per_minute=Watts(minutes * site.power_cap * RAMP_DOWN_SHARE),
            wakes_per_cycle=control.stagger_rigs_per_cycle,
            minimum_off=control.min_off_s,
        ),
        safety=SafetySettings(chip_temperature_limit=control.chip_temperature_limit),
        ledger=Ledger.of_fact(ledger) if isinstance(ledger, dict) else Ledger(),
    )


def _poll_settings(config: Config) -> PollSettings:
    polling = config.polling
    return PollSettings(
        interval=polling.interval_s,
        budget=polling.rig_deadline_s,
        backoff_max=polling.backoff_max_s,
        concurrency=polling.concurrency,
    )


def _actuate_settings(config: Config, options: Options) -> ActuateSettings:
    control = config.control
    return ActuateSettings(
        observe=options.observe,
        sleep_within=control.confirm_within_s,
        wake_within=control.wake_within_s,
        canary_rigs=control.canary_rigs,
        canary_percent=control.canary_percent,
        track=TrackSettings(
            attempts=control.max_attempts,
            refusing_pause=control.retry_refusing_s,
            contest_count=control.contested_after,
            contest_window=control.contested_window_s,
        ),
    )


def _addresses(config: Config) -> list[PoolAddress]:
    return [
        PoolAddress(
            name=f"{pool.host}:{pool.port}",
            host=pool.host,
            port=pool.port,
            user=pool.user,
            password=pool.target().password,
            rank=rank,
            tls=pool.tls,
        )
        for rank, pool in enumerate(config.pools_by_priority)
    ]


def _meter_age(config: Config) -> float:
    return MAX_AGE_WITHOUT_METER if isinstance(config.meter, NoMeter) else config.meter.max_age_s


def _price_source(config: Config) -> PriceSource:
    if config.price is None:
        return NoPrices()
    return open_source(config.price, config.site.currency, config.site.timezone)


class NoPrices:
    """The source of a site that names none: prices come over MQTT, or not at all."""

    async def fetch(self, now: datetime) -> PriceSeries:  # noqa: ARG002 - the port's signature
        """Nothing."""
        return PriceSeries()
