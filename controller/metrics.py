"""Both metric surfaces: `/metrics`, collected at the scrape, and `/metrics/rigs`, lines rendered as readings arrive.

    Site, StorePort, MqttLink --metric_samples, metric_rigs--> families of metric_catalogue --> render()
    Observation --observed--> readings, RigPage of the rig's group --> render_rigs(group)

Counters start at zero with the daemon. What a rig or a pool says never becomes a label of `/metrics`.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from controller.lane import DRIVER_BUG, OVER_BUDGET
from controller.metric_catalogue import CATALOGUE, Family, Kind
from controller.metric_rigs import RigSummary, rig_samples, summarise
from controller.metric_samples import Sample, mqtt_samples, site_samples, store_samples
from controller.mqtt import MqttLink
from controller.plan import RigView
from controller.rig_lines import Attention, RigPage, bounded
from controller.status import Site
from controller.store_port import StorePort
from shedload.cgminer.repair import DUPLICATE_KEYS, INVALID_UTF8, NUL_BYTES, REPAIRS
from shedload.device import Observation, RigName
from shedload.errors import (
    Garbled,
    NoAnswer,
    Refused,
    RigError,
    Unauthorized,
    Unreachable,
    Unsupported,
    WrongMachine,
)

LATENESS_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Around the half second that a healthy reading may be late, up to the longest budget of a rig."""
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Around the 50 ms for which nothing may block the loop."""
ERRORS = (RigError, Unreachable, NoAnswer, Garbled, Refused, Unauthorized, Unsupported, WrongMachine)
RESULTS = ("good", *(error.kind for error in ERRORS), OVER_BUDGET, DRIVER_BUG)
REPAIR_NAMES = (NUL_BYTES, INVALID_UTF8, DUPLICATE_KEYS, *(repair.name for repair in REPAIRS))
MAX_REPAIR_NAMES = 64
"""Drivers name repairs in their code, a few dozen altogether; more would be a driver that makes names of replies."""


class Histogram:
    """Counts per bucket, and the sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value; one below zero counts as zero."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += max(0.0, value)

    def family(self, family: Family) -> Metric:
        """As it is exposed."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        metric = HistogramMetricFamily(family.full_name, family.help)
        metric.add_metric([], buckets, self._sum)
        return metric


@dataclass(slots=True)
class Readings:
    """Counts of readings, kept as they come; kinds that can occur are there with zero."""

    by_result: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(RESULTS, 0)))
    repairs: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REPAIR_NAMES, 0)))
    lateness: Histogram = field(default_factory=lambda: Histogram(LATENESS_BUCKETS))

    def count(self, observation: Observation) -> None:
        """Take one reading."""
        failure, telemetry = observation.failure, observation.telemetry
        result = "good" if failure is None else failure.kind
        self.by_result[result if result in self.by_result else RigError.kind] += 1
        self.lateness.observe(observation.taken - observation.due)
        for name in telemetry.repairs if telemetry is not None else ():
            self.repairs[name if name in self.repairs or len(self.repairs) < MAX_REPAIR_NAMES else "other"] += 1

    def samples(self) -> Iterator[Sample]:
        """The counts."""
        for result, count in self.by_result.items():
            yield "readings_total", (result,), count
        for repair, count in self.repairs.items():
            yield "reply_repairs_total", (repair,), count


class Metrics:
    """Collects, and keeps the per-rig pages. `mqtt` is set by whoever has a link."""

    def __init__(self, site: Site, store: StorePort) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Collector(self, site.name))
        self.mqtt: MqttLink | None = None
        self.readings = Readings()
        self._lag = Histogram(LAG_BUCKETS)
        self._site = site
        self._store = store
        self._members: dict[str, list[RigName]] = {}
        for name, record in site.farm.records.items():
            self._members.setdefault(record.member.group, []).append(name)
        self._members = dict(sorted(self._members.items()))
        self._pages = {group: RigPage() for group in self._members}
        self._summed: Mapping[RigName, RigView] | None = None
        self._summary = RigSummary()

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
        if page is None:
            return None
        self._sweep(group, page)
        return page.render(self._attention(group))

    def lagged(self, seconds: float) -> None:
        """Take how late a timer of the event loop was."""
        self._lag.observe(seconds)

    def observed(self, batch: Sequence[Observation]) -> None:
        """Count readings and render the lines of the rigs they came from."""
        clock = self._site.clock
        offset = clock.wall().timestamp() - clock.mono()
        records = self._site.farm.records
        for observation in batch:
            self.readings.count(observation)
            if observation.telemetry is not None:
                page = self._pages[records[observation.rig].member.group]
                info = self._info(observation.rig)
                page.live(observation.rig, observation.telemetry, observation.taken + offset, info)

    def sweep(self) -> None:
        """Take the lines of rigs away whose last reading is no longer fresh; a scrape of their page does so too."""
        for group, page in self._pages.items():
            self._sweep(group, page)

    def samples(self) -> Iterator[Sample]:
        """Everything that is no histogram, now."""
        views = self._site.controller.views
        if views is not self._summed:
            self._summed, self._summary = views, summarise(self._site)
        yield from rig_samples(self._site, self._summary, self._members)
        yield from site_samples(self._site)
        yield from store_samples(self._store)
        yield from self.readings.samples()
        if self.mqtt is not None:
            yield from mqtt_samples(self.mqtt)

    def histograms(self) -> Mapping[str, Histogram]:
        """Every histogram by its family's name."""
        return {"event_loop_lag_seconds": self._lag, "reading_lateness_seconds": self.readings.lateness}

    def _sweep(self, group: str, page: RigPage) -> None:
        for name in self._members[group]:
            if not page.is_gone(name) and self._site.farm.live(name) is None:
                page.gone(name, self._info(name))

    def _attention(self, group: str) -> Iterator[tuple[RigName, Attention]]:
        farm, tracks = self._site.farm, self._site.actuator.tracks
        for name in self._members[group]:
            track = tracks[name]
            if track.refusing:
                yield name, Attention.REFUSING
            if track.contested:
                yield name, Attention.CONTESTED
            if farm.records[name].suspicions:
                yield name, Attention.SUSPICIOUS
            live = farm.live(name)
            if live is not None and live.faults:
                yield name, Attention.FAULTY

    def _info(self, rig: RigName) -> tuple[str, str, str, str]:
        record = self._site.farm.records[rig]
        identity = record.telemetry.identity if record.telemetry is not None else None
        feeder = record.member.feeder
        if identity is None:
            return record.member.model or "", "", "", feeder
        return identity.model or record.member.model or "", identity.firmware or "", identity.mac or "", feeder


class _Collector(Collector):
    """Sorts samples into the families of the catalogue; a family without a sample keeps its header.

    Every sample carries the site, those about the process too, so that no scraper has to be told its name.
    """

    def __init__(self, metrics: Metrics, site: str) -> None:
        self._metrics = metrics
        self._site = bounded(site)
        own = CollectorRegistry(auto_describe=False)  # GCCollector knows no other way than to register itself
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        GCCollector(registry=own)
        self._process = own

    def collect(self) -> Iterable[Metric]:
        for metric in (*self._process.collect(), *self._families()):
            metric.samples = [
                sample._replace(labels={"site": self._site, **sample.labels}) for sample in metric.samples
            ]
            yield metric

    def _families(self) -> Iterator[Metric]:
        found: defaultdict[str, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        for name, labels, value in self._metrics.samples():
            found[name].append((labels, value))
        histograms = self._metrics.histograms()
        for family in CATALOGUE:
            if family.kind is Kind.HISTOGRAM:
                yield histograms[family.name].family(family)
            else:
                yield _family(family, found[family.name])


def _family(family: Family, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    make = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = make(family.full_name, family.help, labels=family.labels)
    for labels, value in values:
        metric.add_metric([bounded(label) for label in labels], float(value))
    return metric
