"""Every metric that shedload exports has its name here and nowhere else.

    /metrics        aggregates, few series: collected from the live objects at the moment of the scrape
    /metrics/rigs   one page per group, lines rendered when a reading arrives (controller.rig_lines)

Counters start at zero with the daemon. A gauge whose value is unknown is absent; a label set that can occur is present
from the start, so that an alert on it can fire.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from controller.actuate import Actuator
from controller.clock import Clock
from controller.control import Controller
from controller.farm import Farm
from controller.feed import PriceFeed
from controller.limits import believed_power
from controller.meter import SiteMeter
from controller.plan import SLEEP, Reason, RigState
from controller.plausible import Suspicion
from controller.rig_lines import RigPage
from controller.stratum.dispatch import Dispatch, NonceVerdict
from controller.stratum.upstream import Upstream
from controller.track import CommandState
from shedload import hashing
from shedload.device import Observation
from shedload.stratum.messages import RejectReason

LATENESS_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
VERBS = ("sleep", "wake", "set_level", "set_power")


@dataclass(slots=True)
class Readings:
    """Counts of readings, kept as they come."""

    by_result: Counter[str]
    repairs: Counter[str]
    lateness: list[int]  # per bucket, not cumulative
    lateness_sum: float = 0.0

    @classmethod
    def empty(cls) -> "Readings":
        """Nothing yet; failure kinds that can occur are there with zero."""
        kinds = ("good", "unreachable", "no_answer", "garbled", "refused", "unauthorized", "over_budget")
        return cls(Counter(dict.fromkeys(kinds, 0)), Counter(), [0] * (len(LATENESS_BUCKETS) + 1))


class Metrics:
    """Collects, and keeps the per-rig pages."""

    def __init__(
        self,
        *,
        site: str,
        currency: str,
        farm: Farm,
        actuator: Actuator,
        controller: Controller,
        feed: PriceFeed,
        meter: SiteMeter,
        upstream: Upstream,
        dispatch: Dispatch,
        clock: Clock,
    ) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.readings = Readings.empty()
        self.loop_lag = 0.0
        self._site = site
        self._currency = currency
        self._farm = farm
        self._actuator = actuator
        self._controller = controller
        self._feed = feed
        self._meter = meter
        self._upstream = upstream
        self._dispatch = dispatch
        self._clock = clock
        self._pages = {group: RigPage() for group in sorted(self._groups())}
        self.registry.register(_Collector(self._families))

    @property
    def groups(self) -> Sequence[str]:
        """Groups that have a page."""
        return tuple(self._pages)

    def render(self) -> bytes:
        """The aggregates, in the text format 0.0.4."""
        return generate_latest(self.registry)

    def render_rigs(self, group: str) -> bytes | None:
        """The page of one group; None where there is no such group."""
        page = self._pages.get(group)
        return page.render() if page is not None else None

    def observed(self, batch: Sequence[Observation]) -> None:
        """Count readings and render the lines of the rigs they came from."""
        offset = self._clock.wall().timestamp() - self._clock.mono()
        for observation in batch:
            failure, telemetry = observation.failure, observation.telemetry
            self.readings.by_result[failure.kind if failure is not None else "good"] += 1
            self._late(observation.taken - observation.due)
            if telemetry is None:
                continue
            self.readings.repairs.update(telemetry.repairs)
            page = self._pages[self._farm.records[observation.rig].member.group]
            page.live(observation.rig, telemetry, observation.taken + offset, self._info(observation.rig))

    def sweep(self) -> None:
        """Take the lines of rigs away whose last reading is no longer fresh."""
        for name, record in self._farm.records.items():
            if self._farm.live(name) is None:
                self._pages[record.member.group].gone(name, self._info(name))

    def _groups(self) -> set[str]:
        return {record.member.group for record in self._farm.records.values()}

    def _info(self, rig: str) -> dict[str, str]:
        record = self._farm.records[rig]  # type: ignore[index]  # names come from the farm
        identity = record.telemetry.identity if record.telemetry is not None else None
        return {
            "model": (identity.model if identity is not None else None) or record.member.model or "",
            "firmware": (identity.firmware if identity is not None else None) or "",
            "mac": (identity.mac if identity is not None else None) or "",
            "feeder": record.member.feeder,
        }

    def _late(self, seconds: float) -> None:
        self.readings.lateness_sum += max(0.0, seconds)
        for place, bound in enumerate(LATENESS_BUCKETS):
            if seconds <= bound:
                self.readings.lateness[place] += 1
                return
        self.readings.lateness[-1] += 1

    def _families(self) -> Iterator[Metric]:
        yield from self._about()
        yield from self._of_rigs()
        yield from self._of_site()
        yield from self._of_price_and_money()
        yield from self._of_control()
        yield from self._of_readings()
        yield from self._of_pools()
        yield from self._of_serial()

    def _about(self) -> Iterator[Metric]:
        yield _gauge(
            "build_info",
            "The running program; always 1.",
            ("version", "hashing", "site", "currency"),
            [((_version(), hashing.backend, self._site, self._currency), 1.0)],
        )

    def _of_rigs(self) -> Iterator[Metric]:
        states: Counter[tuple[str, str]] = Counter()
        power: Counter[str] = Counter()
        rate: Counter[str] = Counter()
        expected: Counter[str] = Counter()
        obstacles: Counter[str] = Counter()
        suspicions: Counter[str] = Counter()
        plan = self._controller.plan
        for name, view in self._controller.views.items():
            states[view.group, view.state.value] += 1
            power[view.group] += believed_power(view)  # type: ignore[assignment]  # watts are floats
            if view.telemetry is not None and view.telemetry.hashrate is not None:
                rate[view.group] += view.telemetry.hashrate  # type: ignore[assignment]
            decision = plan.decisions.get(name) if plan is not None else None
            if decision is not None and decision.mode != SLEEP:
                mode = next((mode for mode in view.modes if mode.name == decision.mode), None)
                expected[view.group] += mode.hashrate if mode is not None else 0.0  # type: ignore[assignment]
            if view.obstacle is not None:
                obstacles[view.obstacle.value] += 1
            suspicions.update(item.value for item in self._farm.records[name].suspicions)
        groups = self.groups
        yield _gauge(
            "rigs",
            "Rigs by group and believed state.",
            ("group", "state"),
            [((group, state.value), states[group, state.value]) for group in groups for state in RigState],
        )
        yield _by("group_power_watts", "Believed draw of the group's rigs.", "group", groups, power)
        yield _by("group_hashrate_hashes_per_second", "Hashrate by the rigs' account.", "group", groups, rate)
        yield _by(
            "group_hashrate_expected_hashes_per_second",
            "Hashrate that the present plan should give.",
            "group",
            groups,
            expected,
        )
        watched = (Reason.CONTESTED, Reason.REFUSING, Reason.UNREACHABLE, Reason.OBSERVE_ONLY)
        yield _by(
            "rigs_obstructed", "Rigs that cannot be commanded.", "reason", [item.value for item in watched], obstacles
        )
        yield _by(
            "rigs_suspicious",
            "Rigs whose readings do not hold together.",
            "suspicion",
            [item.value for item in Suspicion],
            suspicions,
        )
        by_reason: Counter[str] = Counter()
        if plan is not None:
            by_reason.update(decision.reason.value for decision in plan.decisions.values())
        yield _by(
            "rigs_decided", "Rigs by the reason of their decision.", "reason", [r.value for r in Reason], by_reason
        )

    def _of_site(self) -> Iterator[Metric]:
        plan, controller = self._controller.plan, self._controller
        yield _maybe("site_power_watts", "Site power by the meter; absent while it is silent.", self._meter.power)
        yield _maybe(
            "site_power_estimated_watts", "Sum of what the rigs and the base load draw.", controller.estimated_power
        )
        yield _maybe("site_power_cap_watts", "The site's own cap.", controller.site.power_cap)
        yield _maybe(
            "site_power_limit_watts",
            "The tightest limit in force: cap or order.",
            plan.site_limit if plan is not None else None,
        )
        yield _maybe(
            "site_power_target_watts",
            "What the site draws once the plan is carried out.",
            plan.site_target if plan is not None else None,
        )
        yield _maybe("orders", "Operators' orders in force.", float(len(controller.orders)))
        last = self._meter.last
        wall, mono = self._clock.wall().timestamp(), self._clock.mono()
        yield _maybe(
            "meter_last_sample_timestamp_seconds",
            "Unix time of the meter's last reading.",
            None if last is None else wall - (mono - last.taken),
        )
        yield _count("meter_failures", "Meter readings that failed.", self._meter.failures)

    def _of_price_and_money(self) -> Iterator[Metric]:
        slot, ledger = self._controller.price, self._controller.ledger
        plan, until = self._controller.plan, self._feed.series.valid_until
        yield _maybe("price_per_kilowatt_hour", "Price in force.", None if slot is None else slot.price)
        yield _maybe(
            "strike_per_kilowatt_hour",
            "Price at which the median awake rig breaks even.",
            plan.strike if plan is not None else None,
        )
        yield _maybe(
            "price_valid_until_timestamp_seconds",
            "Unix time at which the last known price slot ends.",
            None if until is None else until.timestamp(),
        )
        yield _count("price_fetch_failures", "Price fetches that failed.", self._feed.failures)
        yield _maybe("ledger_energy_joules", "Energy drawn since the ledger began.", ledger.energy_joules)
        yield _maybe("ledger_cost", "Cost of that energy, in the site's currency.", ledger.cost)
        yield _maybe("ledger_earned", "What the reported hashrate earned.", ledger.earned)
        yield _maybe("ledger_gained", "Margin over always being on.", ledger.gained)
        yield _maybe("ledger_gap_seconds", "Time in which energy or price was unknown.", ledger.gap_seconds)

    def _of_control(self) -> Iterator[Metric]:
        controller, actuator = self._controller, self._actuator
        yield _count("control_cycles", "Completed control cycles.", controller.cycles)
        age = None if controller.last_cycle is None else self._clock.mono() - controller.last_cycle
        yield _maybe(
            "control_last_cycle_timestamp_seconds",
            "Unix time of the last completed cycle.",
            None if age is None else self._clock.wall().timestamp() - age,
        )
        yield _maybe("control_cycle_seconds", "Duration of the last cycle.", controller.cycle_seconds)
        yield _maybe("control_ready", "1 once every rig has been tried.", float(controller.ready))
        yield _count(
            "guard_alarms",
            "Meter readings over the limit that pending commands did not explain.",
            controller.guard_alarms,
        )
        yield _maybe("event_loop_lag_seconds", "Delay of the last timer of the event loop.", self.loop_lag)
        yield _maybe("journal_failing", "1 while the store takes nothing.", float(actuator.journal_failing))
        states = [((verb, state.value), actuator.states[verb, state]) for verb in VERBS for state in CommandState]
        yield _counts("commands", "Commands by verb and what became of them.", ("verb", "state"), states)

    def _of_readings(self) -> Iterator[Metric]:
        readings = self.readings
        yield _counts(
            "readings",
            "Readings of rigs by result.",
            ("result",),
            [((kind,), count) for kind, count in readings.by_result.items()],
        )
        yield _counts(
            "reply_repairs",
            "Repairs that replies of rigs needed.",
            ("repair",),
            [((name,), count) for name, count in readings.repairs.items()],
        )
        buckets, total = [], 0
        for bound, count in zip((*LATENESS_BUCKETS, float("inf")), readings.lateness, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        family = HistogramMetricFamily(
            "shedload_reading_lateness_seconds", "How long after they were due readings were complete."
        )
        family.add_metric([], buckets, readings.lateness_sum)
        yield family

    def _of_pools(self) -> Iterator[Metric]:
        books = self._upstream.books
        now, wall = self._clock.mono(), self._clock.wall().timestamp()
        yield _gauge(
            "pool_active",
            "1 for the pool that work comes from.",
            ("pool",),
            [((name,), float(book.active)) for name, book in books.items()],
        )
        yield _gauge(
            "pool_connected",
            "1 while the pool serves us.",
            ("pool",),
            [((name,), float(book.connected)) for name, book in books.items()],
        )
        yield _gauge(
            "pool_difficulty",
            "Difficulty of the pool's last job.",
            ("pool",),
            [((name,), book.difficulty) for name, book in books.items()],
        )
        yield _gauge(
            "pool_latency_seconds",
            "Time from the last share to its answer.",
            ("pool",),
            [((name,), book.latency) for name, book in books.items() if book.latency is not None],
        )
        yield _gauge(
            "pool_last_accepted_timestamp_seconds",
            "Unix time of the last accepted share.",
            ("pool",),
            [
                ((name,), wall - (now - book.last_accepted))
                for name, book in books.items()
                if book.last_accepted is not None
            ],
        )
        for name, attribute, text in (
            ("shares_submitted", "submitted", "Shares sent."),
            ("shares_accepted", "accepted", "Shares that the pool accepted."),
            ("accepted_difficulty", "accepted_difficulty", "Sum of the difficulty of accepted shares."),
            ("jobs", "jobs", "Jobs received."),
        ):
            values = [((pool,), float(getattr(book, attribute))) for pool, book in books.items()]
            yield _counts(f"pool_{name}", text, ("pool",), values)
        yield _counts(
            "pool_shares_rejected",
            "Shares that the pool refused.",
            ("pool", "reason"),
            [
                ((name, reason.value), book.rejected[reason.value])
                for name, book in books.items()
                for reason in RejectReason
            ],
        )
        yield _counts(
            "pool_shares_lost",
            "Shares whose answer nobody knows.",
            ("pool", "cause"),
            [((name, cause), count) for name, book in books.items() for cause, count in book.lost.items()],
        )
        yield _counts(
            "pool_failures",
            "Connections that ended or could not be made.",
            ("pool", "kind"),
            [((name, kind), count) for name, book in books.items() for kind, count in book.failures.items()],
        )

    def _of_serial(self) -> Iterator[Metric]:
        books = self._dispatch.books
        yield _counts(
            "serial_nonces",
            "Nonces of serial rigs by our judgement.",
            ("rig", "verdict"),
            [
                ((name, verdict.value), book.verdicts[verdict])
                for name, book in books.items()
                for verdict in NonceVerdict
            ],
        )
        yield _gauge(
            "serial_hashrate_hashes_per_second",
            "Hashrate estimated from verified nonces.",
            ("rig",),
            [((name,), book.hashrate) for name, book in books.items() if book.hashrate is not None],
        )
        yield _counts(
            "serial_reopened",
            "Times that a serial device came back.",
            ("rig",),
            [((name,), book.reopened) for name, book in books.items()],
        )


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def _gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(f"shedload_{name}", text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _counts(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = CounterMetricFamily(f"shedload_{name}", text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _by(name: str, text: str, label: str, keys: Iterable[str], values: Counter[str]) -> Metric:
    return _gauge(name, text, (label,), [((key,), float(values[key])) for key in keys])


def _maybe(name: str, text: str, value: float | None) -> Metric:
    return _gauge(name, text, (), [] if value is None else [((), float(value))])


def _count(name: str, text: str, value: float) -> Metric:
    return _counts(name, text, (), [((), value)])


def _version() -> str:
    try:
        return version("shedload")
    except PackageNotFoundError:
        return "source"
