"""Three loops over one actuator: the planner follows the price, the allocator the limits, the guard the meter.

    farm, prices, economics --planner (on a new price slot, else every interval)--> wishes
    wishes, cap, orders, feeders --allocator (every few seconds)--> safety --> plan --> actuator
    meter --guard (with each reading)--> the allocator at once, and only to lower

Each cycle starts from what the rigs say, so a crash or a lost command heals in the next one.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from controller.actuate import Actuator, Move
from controller.allocate import AllocationMemory, AllocationSettings, allocate, remember, site_target
from controller.clock import Clock
from controller.curve import Curves
from controller.doubts import ClockDoubt, MeterDoubt
from controller.economics import Economics
from controller.farm import Farm
from controller.feed import PriceFeed
from controller.ledger import Interval, Ledger
from controller.limits import Limits, believed_power
from controller.meter import MeterReading, SiteMeter
from controller.plan import Decision, Order, Plan, Reason, RigState, RigView
from controller.plausible import Suspicion
from controller.policy import PolicyMemory, PolicySettings, strike, wish
from controller.prices.series import PriceSlot
from controller.safety import Conditions, SafetySettings, guard, overheated, secure
from controller.tariff import Tariff
from shedload.device import RigName
from shedload.units import HashesPerSecond, Watts

FIRST_PASS_DEADLINE = 120.0
"""Mono seconds after which the first pass counts as over even if a rig was never tried: nothing waits for ever."""
DISBELIEVED = frozenset({Suspicion.RATE_IMPLAUSIBLE, Suspicion.SHARES_MISSING})
"""Suspicions under which a rig's hashrate earns nothing in the books."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SiteSettings:
    """What the loops need to know of the site; mono seconds for cadences."""

    power_cap: Watts
    base_load: Watts
    feeders: Mapping[str, Watts]
    planner_interval: float = 15.0
    allocator_interval: float = 5.0
    has_meter: bool = False


class Controller:
    """Decides. All that it needs is handed in; what it concludes stands in its attributes for metrics and API."""

    def __init__(
        self,
        *,
        site: SiteSettings,
        farm: Farm,
        actuator: Actuator,
        feed: PriceFeed,
        meter: SiteMeter,
        clock: Clock,
        economics: Economics | None,
        tariff: Tariff,
        policy: PolicySettings,
        allocation: AllocationSettings,
        safety: SafetySettings,
        ledger: Ledger,
    ) -> None:
        self.site = site
        self.economics = economics
        self.tariff = tariff
        self.ledger = ledger
        self.orders: tuple[Order, ...] = ()
        self.plan: Plan | None = None
        self.views: Mapping[RigName, RigView] = {}
        self.ready = False
        self.cycles = 0
        self.last_cycle: float | None = None  # Clock.mono()
        self.cycle_seconds = 0.0
        self.guard_alarms = 0
        self._farm = farm
        self._actuator = actuator
        self._feed = feed
        self._meter = meter
        self._clock = clock
        self._policy = policy
        self._allocation = allocation
        self._safety = safety
        self._started = clock.mono()
        self._ticked = clock.plant()
        self.meter_doubt = MeterDoubt()
        self._clock_doubt = ClockDoubt(clock.wall(), clock.plant())
        self._unsure_until = clock.mono()
        self._wishes: dict[RigName, Decision] = {}
        self._wished_at: float | None = None
        self._wished_slot: PriceSlot | None = None
        self._policy_memory = PolicyMemory()
        self._allocation_memory = AllocationMemory()
        self._overheated: frozenset[RigName] = frozenset()
        self._hurry = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []
        meter.listen(self._guard)

    @property
    def limits(self) -> Limits:
        """Everything that bounds the site now."""
        return Limits(
            site_cap=self.site.power_cap,
            orders=self.orders,
            feeders=self.site.feeders,
            base_load=self.site.base_load,
            meter=self._meter.power,
        )

    @property
    def price(self) -> PriceSlot | None:
        """The price slot in force."""
        return self._feed.at(self._clock.wall())

    def hurry(self) -> None:
        """Run the next cycle at once."""
        self._hurry.set()

    def set_orders(self, orders: tuple[Order, ...]) -> None:
        """Take the operators' orders that are in force."""
        self.orders = orders
        self.hurry()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each cycle; it must return at once."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Run cycles until cancelled."""
        while True:
            self._hurry.clear()  # before the cycle: what comes while it runs calls for another
            await self.cycle()
            for listener in self._listeners:
                listener()
            try:
                async with asyncio.timeout(self.site.allocator_interval):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    async def cycle(self) -> int:
        """One look, one plan, what it needs sent; returns the number of commands."""
        began = self._clock.mono()
        self._watch_clock()
        views = self._farm.views(self._obstacles())
        self.views = {view.name: view for view in views}
        plan = await asyncio.to_thread(self._think, views, self._conditions(self._clock.plant(), self.limits))
        self.plan = plan
        self._keep_books(views)
        self.meter_doubt.look(
            self._meter.power, views, self.site.base_load, self._ticked, busy=self._actuator.commands_under_way
        )
        sent = await self._actuator.carry_out(plan, self.views, allows=self._still_allowed)
        self.cycles += 1
        self.last_cycle = self._clock.mono()
        self.cycle_seconds = self.last_cycle - began
        return sent

    def _obstacles(self) -> dict[RigName, Reason]:
        """Rigs to be left alone. Under an order, those that somebody else keeps waking are commanded again."""
        obstacles = self._actuator.obstacles()
        limit = self.limits.site
        if limit is not None and limit.reason is Reason.ORDER:
            return {name: reason for name, reason in obstacles.items() if reason is not Reason.CONTESTED}
        return obstacles

    def _watch_clock(self) -> None:
        """Notice a wall clock that was set: for one planning period prices raise nothing."""
        step = self._clock_doubt.stepped(self._clock.wall(), self._clock.plant())
        if step is not None:
            log.warning("wall_clock_stepped", seconds=round(step, 1), effect="no raises for one planning period")
            self._unsure_until = self._clock.mono() + self.site.planner_interval

    def _think(self, views: tuple[RigView, ...], conditions: Conditions) -> Plan:
        """Make the plan, in a thread: with thousands of rigs it takes longer than the event loop may stand still.

        It works on the snapshot in `views`, on memories that nobody else touches, and on small values read at once.
        """
        curves = Curves()
        self._wish(views, curves)
        return self._decide(views, curves, conditions)

    def _wish(self, views: tuple[RigView, ...], curves: Curves) -> None:
        """Ask the policy when the price changed or the planner's interval is over."""
        now, slot = self._clock.mono(), self.price
        due = self._wished_at is None or now - self._wished_at >= self.site.planner_interval
        if not due and slot == self._wished_slot and len(self._wishes) == len(views):
            return
        self._wishes, self._policy_memory = wish(
            views,
            slot,
            self.economics,
            self.tariff,
            self._policy_memory,
            plant_now=self._clock.plant(),
            settings=self._policy,
            curves=curves,
        )
        self._wished_at, self._wished_slot = now, slot

    def _decide(self, views: tuple[RigView, ...], curves: Curves, conditions: Conditions) -> Plan:
        plant, limits = conditions.plant_now, self.limits
        # Rigs that nobody has asked yet may be asleep: counted in full they would make the first ones asked sleep too.
        met = views if self.ready else tuple(view for view in views if view.state is not RigState.UNKNOWN)
        decisions, memory = allocate(
            self._wishes,
            met,
            limits,
            self._allocation_memory,
            plant_now=plant,
            settings=self._allocation,
            curves=curves,
        )
        decisions |= self._still_falling(decisions)
        decisions = secure(decisions, met, conditions, self._safety)
        self._overheated = overheated(decisions)
        self._allocation_memory = remember(memory, decisions, met)
        slot, tightest = self.price, limits.site
        return Plan(
            decided=self._clock.wall(),
            decisions=decisions,
            site_target=site_target(decisions, views, self.site.base_load),
            site_limit=tightest.power if tightest is not None else None,
            limit_reason=tightest.reason if tightest is not None else None,
            price=slot.price if slot is not None else None,
            strike=strike(views, self.economics, self.tariff),
        )

    def _still_falling(self, decisions: Mapping[RigName, Decision]) -> dict[RigName, Decision]:
        """Earlier decisions of rigs whose lowering is on its way: they arrive before they may rise again.

        Around a limit the meter's noise says over and under in turns; without this a rig would boot for each of them.
        """
        before = self.plan.decisions if self.plan is not None else {}
        return {
            name: before[name]
            for name, mode in self._actuator.pending_lowering().items()
            if name in before and before[name].mode == mode and decisions[name].power > before[name].power
        }

    def _conditions(self, plant: float, limits: Limits) -> Conditions:
        self.ready = self.ready or self._farm.complete() or self._clock.mono() - self._started > FIRST_PASS_DEADLINE
        return Conditions(
            plant_now=plant,
            ready=self.ready and self._clock.mono() >= self._unsure_until,
            store_failing=self._actuator.journal_failing,
            meter_expected=self.site.has_meter,
            meter=self._meter.power,
            limit=limits.site,
            lowering=self._actuator.arriving_lowering(),
            standing=self._allocation_memory.modes,
            overheated=self._overheated,
        )

    def _still_allowed(self, _move: Move) -> bool:
        """Ask once more just before a raise is sent; what changed since the plan was made makes it wait for another.

        The plan left room for all its raises together. That holds while no limit came down, the meter speaks and the
        site is not over.
        """
        if self._actuator.journal_failing or (self.site.has_meter and self._meter.power is None):
            return False
        limit, planned = self.limits.site, self.plan.site_limit if self.plan is not None else None
        if limit is None:
            return True
        power = self.site_power
        return planned is not None and limit.power >= planned and power is not None and power <= limit.power

    @property
    def site_power(self) -> Watts | None:
        """The meter while it is fresh, else the believed sum of the rigs and the base load."""
        return self._meter.power if self._meter.power is not None else self.estimated_power

    @property
    def estimated_power(self) -> Watts:
        """What rigs and base load are believed to draw."""
        return Watts(sum(believed_power(view) for view in self.views.values()) + self.site.base_load)

    def _guard(self, reading: MeterReading) -> None:
        """Start a cycle at once when lowerings on their way do not explain an excess; it sheds the rest."""
        limit = self.limits.site
        if limit is None or reading.power <= limit.power:
            return
        pending = {
            name: Watts(believed_power(view) - view.modes[0].power)
            for name in self._actuator.arriving_lowering()
            if (view := self.views.get(name)) is not None and view.modes
        }
        if guard(reading.power, limit.power, self.views.values(), pending):
            self.guard_alarms += 1
            self.hurry()

    def _keep_books(self, views: tuple[RigView, ...]) -> None:
        plant = self._clock.plant()
        seconds, self._ticked = plant - self._ticked, plant
        slot = self.price
        awake = [view for view in views if view.state not in (RigState.UNKNOWN, RigState.OFFLINE)]
        rates = [
            0.0 if self._farm.records[view.name].suspicions & DISBELIEVED else view.telemetry.hashrate
            for view in awake
            if view.telemetry is not None
        ]
        normal = [view.modes[-1] for view in awake if view.modes]
        self.ledger = self.ledger.with_interval(
            Interval(
                seconds=seconds,
                power=self.site_power if self.cycles else None,
                hashrate=HashesPerSecond(sum(rate for rate in rates if rate is not None)) if rates else None,
                price=self.tariff.at_meter(slot.price) if slot is not None else None,
                earned_per_hash=self.economics.per_hash / 3600.0 if self.economics is not None else None,
                always_on_power=Watts(sum(mode.power for mode in normal) + self.site.base_load),
                always_on_hashrate=HashesPerSecond(sum(mode.hashrate for mode in normal)),
            )
        )
