"""What the live objects of one site say at the moment of a scrape, as (name, labels, value).

    Site, StorePort, MqttLink --samples--> Metrics --> /metrics

A value that is unknown gives no sample; a label that can occur gives one from the start, so that an alert on it can
fire. Everything about instants of I/O is told on the daemon's own clock: ages are `clock_timestamp_seconds` minus it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from controller.mqtt import MqttLink
from controller.status import Site
from controller.store_port import StorePort
from controller.stratum.dispatch import NonceVerdict, RigBooks
from controller.stratum.upstream import PoolBooks
from controller.track import CommandState
from shedload import hashing
from shedload.stratum.events import FailureKind, LossCause
from shedload.stratum.messages import RejectReason

Sample = tuple[str, tuple[str, ...], float]

VERBS = ("sleep", "wake", "set_level", "set_power", "unknown")
"""Verbs that plans use; unknown is a command whose end came after we had given it up."""
REJECT_REASONS = (*(reason.value for reason in RejectReason), "unknown")
RECONNECTS = ("obeyed", "too_often", "refused")
POOL_FAILURES = ("unreachable", "lost", *(kind.value for kind in FailureKind))


def site_samples(site: Site) -> Iterator[Sample]:
    """Everything but rigs, store and MQTT."""
    yield from _about(site)
    yield from _power(site)
    yield from _meter(site)
    yield from _price(site)
    yield from _money(site)
    yield from _control(site)
    mono, wall = site.clock.mono(), site.clock.wall().timestamp()
    for pool, book in site.upstream.books.items():
        yield from _pool(pool, book, mono, wall)
    for rig, rig_book in site.dispatch.books.items():
        yield from _serial(rig, rig_book)


def store_samples(store: StorePort) -> Iterator[Sample]:
    """How the disk is doing."""
    yield "store_commits_total", (), store.commits
    yield "store_failures_total", (), store.failures


def mqtt_samples(link: MqttLink) -> Iterator[Sample]:
    """How the broker is doing."""
    health = link.health
    yield "mqtt_connected", (), float(health.connected)
    yield "mqtt_published_total", (), health.published
    yield from _by("mqtt_failures_total", health.failures)
    yield from _by("mqtt_dropped_total", link.dropped)
    for source in link.inputs:
        for cause, count in source.rejected.items():
            yield "mqtt_input_rejected_total", (source.name, cause), count


def _about(site: Site) -> Iterator[Sample]:
    yield "build_info", (_version(), hashing.backend, site.currency), 1.0
    yield "simulated", (), float(site.simulated)
    yield "clock_timestamp_seconds", (), site.clock.wall().timestamp()


def _power(site: Site) -> Iterator[Sample]:
    plan, controller = site.controller.plan, site.controller
    yield from _known("site_power_watts", site.meter.power)
    yield from _known("site_power_estimated_watts", controller.estimated_power if controller.views else None)
    yield "site_power_cap_watts", (), controller.site.power_cap
    if plan is not None:
        yield from _known("site_power_limit_watts", plan.site_limit)
        yield "site_power_target_watts", (), plan.site_target
    yield "orders", (), len(controller.orders)
    yield from _known("order_limit_watts", min((order.limit for order in controller.orders), default=None))


def _meter(site: Site) -> Iterator[Sample]:
    if not site.controller.site.has_meter:
        return
    yield "meter_up", (), float(site.meter.power is not None)
    if site.meter.last is not None:
        age = site.clock.mono() - site.meter.last.taken
        yield "meter_last_sample_timestamp_seconds", (), site.clock.wall().timestamp() - age
    yield "meter_failures_total", (), site.meter.failures


def _price(site: Site) -> Iterator[Sample]:
    slot, plan, feed = site.controller.price, site.controller.plan, site.feed
    until = feed.series.valid_until
    yield "price_known", (), float(slot is not None)
    if slot is not None:
        yield "price_per_kilowatt_hour", (), slot.price
        yield "price_slot_start_timestamp_seconds", (), slot.start.timestamp()
    yield from _known("strike_per_kilowatt_hour", plan.strike if plan is not None else None)
    yield from _known("price_valid_until_timestamp_seconds", until.timestamp() if until is not None else None)
    yield from _known("price_fetched_timestamp_seconds", feed.fetched.timestamp() if feed.fetched is not None else None)
    yield "price_fetch_failures_total", (), feed.failures


def _money(site: Site) -> Iterator[Sample]:
    ledger = site.controller.ledger
    yield "ledger_energy_joules", (), ledger.energy_joules
    yield "ledger_cost", (), ledger.cost
    yield "ledger_earned", (), ledger.earned
    yield "ledger_gained", (), ledger.gained
    yield "ledger_always_on_cost", (), ledger.always_on_cost
    yield "ledger_always_on_earned", (), ledger.always_on_earned
    yield "ledger_seconds", (), ledger.seconds
    yield "ledger_gap_seconds", (), ledger.gap_seconds


def _control(site: Site) -> Iterator[Sample]:
    controller, actuator = site.controller, site.actuator
    yield "control_ready", (), float(controller.ready)
    yield "control_cycles_total", (), controller.cycles
    if controller.last_cycle is not None:
        age = site.clock.mono() - controller.last_cycle
        yield "control_last_cycle_timestamp_seconds", (), site.clock.wall().timestamp() - age
        yield "control_cycle_duration_seconds", (), controller.cycle_seconds
    yield "guard_alarms_total", (), controller.guard_alarms
    for verb in VERBS:
        for state in CommandState:
            yield "commands_total", (verb, state.value), actuator.states[verb, state]
    yield "commands_in_flight", (), sum(track.in_flight is not None for track in actuator.tracks.values())
    yield "store_failing", (), float(actuator.journal_failing)
    yield "store_verdicts_dropped_total", (), actuator.scribe.dropped


def _pool(pool: str, book: PoolBooks, mono: float, wall: float) -> Iterator[Sample]:
    yield "pool_active", (pool,), float(book.active)
    yield "pool_connected", (pool,), float(book.connected)
    yield from _known("pool_difficulty", book.difficulty or None, pool)
    yield from _known("pool_latency_seconds", book.latency, pool)
    if book.last_accepted is not None:
        yield "pool_last_accepted_timestamp_seconds", (pool,), wall - (mono - book.last_accepted)
    yield "pool_jobs_total", (pool,), book.jobs
    yield "pool_shares_submitted_total", (pool,), book.submitted
    yield "pool_shares_accepted_total", (pool,), book.accepted
    yield "pool_accepted_difficulty_total", (pool,), book.accepted_difficulty
    yield "pool_unusable_total", (pool,), book.unusable
    for reason in REJECT_REASONS:
        yield "pool_shares_rejected_total", (pool, reason), book.rejected[reason]
    for cause in LossCause:
        yield "pool_shares_lost_total", (pool, cause.value), book.lost[cause.value]
    for outcome in RECONNECTS:
        yield "pool_reconnects_total", (pool, outcome), book.reconnects[outcome]
    failures = _pool_failures(book.failures)
    for kind in POOL_FAILURES:
        yield "pool_failures_total", (pool, kind), failures[kind]


def _pool_failures(counted: Mapping[str, int]) -> Counter[str]:
    """Failures by a closed set of kinds, whatever texts they were counted under."""
    failures: Counter[str] = Counter()
    for kind, count in counted.items():
        failures[kind if kind in POOL_FAILURES else "lost"] += count
    return failures


def _serial(rig: str, book: RigBooks) -> Iterator[Sample]:
    yield "serial_up", (rig,), float(not book.failure)
    yield from _known("serial_hashrate_hashes_per_second", book.hashrate, rig)
    yield from _known("serial_best_difficulty", book.best_difficulty or None, rig)
    yield "serial_blocks_total", (rig,), book.blocks
    yield "serial_reopened_total", (rig,), book.reopened
    for verdict in NonceVerdict:
        yield "serial_nonces_total", (rig, verdict.value), book.verdicts[verdict]


def _known(name: str, value: float | None, *labels: str) -> Iterator[Sample]:
    if value is not None:
        yield name, labels, value


def _by(name: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    for key, count in counts.items():
        yield name, (key,), count


def _version() -> str:
    try:
        return version("shedload")
    except PackageNotFoundError:
        return "source"
