"""Every aggregate that `/metrics` shows has its name, type, labels and meaning here and nowhere else.

    metric_samples, metric_rigs --(name, labels, value)--> Metrics, in the families of this catalogue --> /metrics

The families of `/metrics/rigs` stand beside their readers in `controller.rig_lines`. `docs/metrics.md` is generated
from both. Names carry the unit (base units, in full), counters end in `_total`, instants are Unix seconds.
"""

from dataclasses import dataclass
from enum import StrEnum

PREFIX = "shedload_"


class Kind(StrEnum):
    """Type of a family, in the words of the text format."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; `name` is without the prefix."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is exported."""
        return PREFIX + self.name


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, text, labels)


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, text, labels)


def _histogram(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, text, labels)


ABOUT = (
    _gauge("build_info", "The running program; always 1.", "version", "hashing", "currency"),
    _gauge("simulated", "1 where the rigs are simulated."),
    _gauge("clock_timestamp_seconds", "The daemon's own idea of the time, as Unix time."),
)
RIGS = (
    _gauge("rigs", "Rigs by group and believed state.", "group", "state"),
    _gauge("group_automatic", "1 where the daemon commands the group, 0 where it only observes.", "group"),
    _gauge("group_proven", "1 once the group's first automatic commands were seen to be obeyed.", "group"),
    _gauge("group_power_watts", "Believed draw of the group's rigs.", "group"),
    _gauge("group_hashrate_hashes_per_second", "Hashrate by the rigs' account; absent while none tells.", "group"),
    _gauge("group_hashrate_expected_hashes_per_second", "Hashrate that the present plan should give.", "group"),
    _gauge(
        "rigs_obstructed",
        "Rigs that are not commanded, by what is in the way; contested ones are under an order.",
        "reason",
    ),
    _gauge("rigs_suspicious", "Rigs whose readings do not hold together.", "suspicion"),
    _gauge("rigs_faulty", "Rigs that report a fault of a kind.", "code"),
    _gauge("rigs_decided", "Rigs by the reason of their decision.", "reason"),
    _gauge("curtailed_watts", "Power that rigs are held back from drawing, by the reason of the decision.", "reason"),
)
SITE = (
    _gauge("site_power_watts", "Site power by the meter; absent while it is silent or there is none."),
    _gauge("site_power_estimated_watts", "Sum of what rigs and base load are believed to draw."),
    _gauge("site_power_cap_watts", "The site's own cap."),
    _gauge("site_power_limit_watts", "The tightest limit in force: cap or order."),
    _gauge("site_power_target_watts", "What the site draws once the plan is carried out."),
    _gauge("orders", "Operators' orders in force."),
    _gauge("order_limit_watts", "The tightest order in force; absent where there is none."),
    _gauge("meter_up", "1 while the meter's last reading is fresh; absent where there is no meter."),
    _gauge("meter_last_sample_timestamp_seconds", "Unix time of the meter's last reading."),
    _counter("meter_failures_total", "Meter readings that failed."),
)
PRICE = (
    _gauge("price_known", "1 while there is a price for now."),
    _gauge("price_per_kilowatt_hour", "Price in force, in the site's currency, before tariff."),
    _gauge(
        "strike_per_kilowatt_hour",
        "Price at which the median of the steered rigs that are awake (of all, where none is) breaks even.",
    ),
    _gauge("price_slot_start_timestamp_seconds", "Unix time at which the price slot in force began."),
    _gauge("price_valid_until_timestamp_seconds", "Unix time at which the last known price slot ends."),
    _gauge("price_fetched_timestamp_seconds", "Unix time at which the price source last answered."),
    _counter("price_fetch_failures_total", "Price fetches that failed."),
)
LEDGER = (
    _gauge("ledger_energy_joules", "Energy drawn since the ledger began; survives restarts."),
    _gauge("ledger_cost", "Cost of that energy, in the site's currency."),
    _gauge("ledger_earned", "What the reported hashrate earned by the configured hashprice, in the site's currency."),
    _gauge("ledger_gained", "Margin over always having been on, in the site's currency."),
    _gauge("ledger_always_on_cost", "What energy would have cost had every rig always been on."),
    _gauge("ledger_always_on_earned", "What would have been earned had every rig always been on."),
    _gauge("ledger_seconds", "Time that the ledger covers."),
    _gauge("ledger_gap_seconds", "Time of it in which energy or price was unknown."),
)
CONTROL = (
    _gauge("control_ready", "1 once every rig has been tried."),
    _counter("control_cycles_total", "Completed control cycles."),
    _gauge("control_last_cycle_timestamp_seconds", "Unix time of the last completed cycle."),
    _gauge("control_cycle_duration_seconds", "Duration of the last cycle."),
    _counter("guard_alarms_total", "Meter readings over the limit that pending commands did not explain."),
    _histogram("event_loop_lag_seconds", "How late timers of the event loop were."),
    _counter("commands_total", "Transitions of commands, by verb and the state that was reached.", "verb", "state"),
    _gauge("commands_in_flight", "Commands that no reading has confirmed yet."),
)
STORE = (
    _gauge("store_failing", "1 while the disk takes nothing: only lowering commands go out."),
    _counter("store_commits_total", "Commits to disk."),
    _counter("store_failures_total", "Commits that failed."),
    _counter("store_verdicts_dropped_total", "Outcomes of commands that were given up because the disk hung too long."),
)
READINGS = (
    _counter("readings_total", "Readings of rigs by result.", "result"),
    _counter("reply_repairs_total", "Repairs that replies of rigs needed, by the fault mended.", "repair"),
    _histogram("reading_lateness_seconds", "How long after they were due readings were complete."),
)
POOLS = (
    _gauge("pool_active", "1 for the pool that work comes from.", "pool"),
    _gauge("pool_connected", "1 while the pool serves us.", "pool"),
    _gauge("pool_difficulty", "Difficulty of the pool's last job; absent before the first.", "pool"),
    _gauge("pool_latency_seconds", "Time from the last share to its answer.", "pool"),
    _gauge("pool_last_accepted_timestamp_seconds", "Unix time of the last accepted share.", "pool"),
    _counter("pool_jobs_total", "Jobs received.", "pool"),
    _counter("pool_shares_submitted_total", "Shares sent.", "pool"),
    _counter("pool_shares_accepted_total", "Shares that the pool accepted.", "pool"),
    _counter("pool_accepted_difficulty_total", "Sum of the difficulty of accepted shares.", "pool"),
    _counter("pool_shares_rejected_total", "Shares that the pool refused.", "pool", "reason"),
    _counter("pool_shares_lost_total", "Shares whose answer nobody knows.", "pool", "cause"),
    _counter("pool_failures_total", "Connections that ended or could not be made.", "pool", "kind"),
    _counter("pool_reconnects_total", "Times that the pool asked us to dial again, by what we did.", "pool", "outcome"),
    _counter("pool_unusable_total", "Messages of the pool that could not be used.", "pool"),
)
SERIAL = (
    _gauge("serial_up", "1 while the serial rig's device can be used.", "rig"),
    _gauge("serial_hashrate_hashes_per_second", "Hashrate estimated from verified nonces.", "rig"),
    _gauge("serial_best_difficulty", "Difficulty of the best nonce since the start; absent before the first.", "rig"),
    _counter("serial_blocks_total", "Blocks found.", "rig"),
    _counter("serial_nonces_total", "Nonces of serial rigs by our judgement.", "rig", "verdict"),
    _counter("serial_reopened_total", "Times that a serial device was opened again.", "rig"),
)
MQTT = (
    _gauge("mqtt_connected", "1 while the broker hears us; absent where none is configured."),
    _counter("mqtt_published_total", "Messages that the broker took."),
    _counter("mqtt_failures_total", "Connections to the broker that ended or could not be made.", "cause"),
    _counter("mqtt_dropped_total", "Messages that were not sent.", "cause"),
    _counter("mqtt_input_rejected_total", "Messages of a meter or prices that were not taken.", "input", "cause"),
)
SECTIONS: tuple[tuple[str, tuple[Family, ...]], ...] = (
    ("About", ABOUT),
    ("Rigs", RIGS),
    ("Site", SITE),
    ("Price", PRICE),
    ("Ledger", LEDGER),
    ("Control", CONTROL),
    ("Store", STORE),
    ("Readings", READINGS),
    ("Pools", POOLS),
    ("Serial rigs", SERIAL),
    ("MQTT", MQTT),
)
CATALOGUE: tuple[Family, ...] = tuple(family for _, families in SECTIONS for family in families)
