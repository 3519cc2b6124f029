"""A site of the real farm, controller, actuator, upstream and dispatch with rigs that only exist as observations."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.actuate import ActuateSettings, Actuator
from controller.allocate import AllocationSettings
from controller.control import Controller, SiteSettings
from controller.economics import Economics
from controller.farm import Farm, Member
from controller.feed import PriceFeed
from controller.host import Instruction
from controller.ledger import Ledger
from controller.meter import SiteMeter
from controller.metrics import Metrics
from controller.plan import Control
from controller.policy import PolicySettings
from controller.prices.series import PriceSeries, PriceSlot
from controller.safety import SafetySettings
from controller.status import Site
from controller.stratum.connection import PoolAddress
from controller.stratum.dispatch import Dispatch
from controller.stratum.upstream import Upstream
from controller.tariff import Tariff
from shedload.device import Activity, Identity, Observation, PoolReading, PowerSource, ReadFailure, RigName, Telemetry
from shedload.units import Celsius, HashesPerSecond, PricePerKilowattHour, RevolutionsPerMinute, Seconds, Watts
from tests.support.memory_store import MemoryStore

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


class HandClock:
    """Time that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def mono(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.now - 1000.0)

    def plant(self) -> float:
        return self.now

    @property
    def plant_rate(self) -> float:
        return 1.0


class SilentHost:
    """Takes instructions and does nothing."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []

    def instruct(self, instruction: Instruction) -> None:
        self.instructions.append(instruction)

    def refresh(self, rig: RigName) -> None:
        pass


@dataclass
class Desk:
    """Everything that a test of metrics or status needs at hand."""

    site: Site
    store: MemoryStore
    clock: HandClock
    metrics: Metrics
    host: SilentHost

    def observe(self, *observations: Observation) -> None:
        """As the daemon does."""
        self.site.farm.observed(observations)
        self.site.actuator.observed(observations)
        self.metrics.observed(observations)

    def reading(self, rig: str, telemetry: Telemetry) -> None:
        """A good reading, now."""
        self.observe(Observation(RigName(rig), self.clock.now, self.clock.now - 0.2, telemetry))

    def failure(self, rig: str, kind: str = "no_answer") -> None:
        """A failed one."""
        self.observe(Observation(RigName(rig), self.clock.now, self.clock.now, failure=ReadFailure(kind, "silence")))

    async def cycle(self) -> None:
        """One control cycle."""
        await self.site.controller.cycle()

    def lines(self) -> list[str]:
        """The samples of /metrics."""
        return [line for line in self.metrics.render().decode().splitlines() if not line.startswith("#")]

    def rig_lines(self, group: str) -> list[str]:
        """The samples of /metrics/rigs."""
        page = self.metrics.render_rigs(group)
        assert page is not None
        return [line for line in page.decode().split("\n") if line and not line.startswith("#")]


def hashing(watts: float = 3500.0, terahash: float = 200.0, **changes: object) -> Telemetry:
    """An S21 at work, as its driver tells it."""
    values: dict[str, object] = {
        "activity": Activity.HASHING,
        "hashrate": HashesPerSecond(terahash * 1e12),
        "hashrate_nominal": HashesPerSecond(200e12),
        "power": Watts(watts),
        "power_source": PowerSource.REPORTED,
        "chip_temperature": Celsius(72.0),
        "board_temperature": Celsius(67.0),
        "inlet_temperature": Celsius(25.0),
        "fans": tuple(RevolutionsPerMinute(speed) for speed in (5400.0, 5460.0, 5500.0, 5520.0)),
        "accepted": 1234,
        "rejected": 3,
        "hardware_errors": 17,
        "uptime": Seconds(86_400.0),
        "mode": "normal",
        "identity": Identity("Bitmain", "Antminer S21", "49.0.1.3", "SN1", "02:51:7f:00:00:01"),
        "pools": (PoolReading(0, "stratum+tcp://pool.example:3333", "farm.rig", accepted=1234),),
    }
    return Telemetry(**{**values, **changes})  # type: ignore[arg-type]


def desk(
    groups: dict[str, int] | None = None,
    *,
    control: Control = Control.AUTO,
    pools: tuple[PoolAddress, ...] = (),
    meter: bool = True,
    price: float | None = 0.05,
) -> Desk:
    """A site of Antminer S21s, `groups` by name and size; rigs are called GROUP-001 and so on. Nobody runs."""
    clock = HandClock()
    members = [
        Member(RigName(f"{group}-{number:03d}"), group, "f1", control, "Antminer S21")
        for group, size in (groups or {"hall": 2}).items()
        for number in range(1, size + 1)
    ]
    farm = Farm(members, clock, stale_after=45.0)
    store = MemoryStore(clock)
    host = SilentHost()
    actuator = Actuator(farm, store, clock, ActuateSettings(), proven=groups or {"hall": 2})
    actuator.attach(host)  # type: ignore[arg-type]
    site_meter = SiteMeter(clock.mono, 30.0)
    feed = PriceFeed(None, clock)  # type: ignore[arg-type]
    if price is not None:
        slot = PriceSlot(NOON, NOON + timedelta(hours=6), PricePerKilowattHour(price), "EUR")
        feed.take(PriceSeries([slot]))
    upstream = Upstream(pools, clock)
    dispatch = Dispatch([], upstream, clock)
    controller = Controller(
        site=SiteSettings(Watts(4000.0 * len(members) + 1000.0), Watts(500.0), {}, has_meter=meter),
        farm=farm,
        actuator=actuator,
        feed=feed,
        meter=site_meter,
        clock=clock,
        economics=Economics(0.042),
        tariff=Tariff(),
        policy=PolicySettings(minimum_on=0.0, minimum_off=0.0),
        allocation=AllocationSettings(minimum_off=0.0),
        safety=SafetySettings(),
        ledger=Ledger(),
    )
    site = Site("demo", "EUR", True, farm, actuator, controller, feed, site_meter, upstream, dispatch, clock)
    return Desk(site, store, clock, Metrics(site, store), host)
