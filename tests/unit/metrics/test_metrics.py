"""`/metrics`: every family of the catalogue, zeros from the start, unknown is absent, and sums that are right."""

import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.metric_catalogue import CATALOGUE, Kind
from controller.metrics import Histogram
from controller.plan import Control, Order, Reason, RigState
from controller.stratum.connection import PoolAddress
from controller.track import CommandState
from shedload.device import Activity, Fault, FaultCode, Observation, RigName, Telemetry
from shedload.units import Watts
from tests.support.peers import require_tool
from tests.support.site import Desk, desk, hashing

POOLS = (PoolAddress("pool.example:3333", "pool.example", 3333, "u", "x", 0),)


def values(of: Desk, name: str) -> dict[tuple[str, ...], float]:
    """Values of one metric by its label values in the order of their names, as an independent parser reads them."""
    return {
        tuple(text for label, text in sample.labels.items() if label != "site"): sample.value
        for family in text_string_to_metric_families(of.metrics.render().decode())
        for sample in family.samples
        if sample.name == f"shedload_{name}" and sample.labels["site"] == "demo"
    }


def value(of: Desk, name: str) -> float | None:
    """The value of a metric without labels, None where it is absent."""
    return values(of, name).get(())


async def ready(groups: dict[str, int] | None = None, **options: object) -> Desk:
    """A site whose rigs all hash and whose meter was heard, after a cycle."""
    site = desk(groups, **options)
    for name in site.site.farm.records:
        site.reading(name, hashing())
    site.site.meter.heard(Watts(7500.0))
    await site.cycle()
    return site


def test_before_anything_happened_every_family_is_there_and_every_counter_is_zero():
    site = desk(pools=POOLS)
    text = site.metrics.render().decode()
    for family in CATALOGUE:
        name = family.full_name.removesuffix("_total") if family.kind is Kind.COUNTER else family.full_name
        assert f"# TYPE {name}" in text, family.name
    assert "_created" not in text
    for family in CATALOGUE:
        if family.kind is Kind.COUNTER and not family.name.startswith(("mqtt_", "serial_")):
            found = values(site, family.name)
            assert found, f"{family.name} is absent at the start: an alert on it could never fire"
            assert set(found.values()) == {0}


def test_what_is_unknown_is_absent():
    site = desk(price=None)
    for name in (
        "site_power_watts",
        "site_power_estimated_watts",
        "site_power_limit_watts",
        "order_limit_watts",
        "price_per_kilowatt_hour",
        "price_valid_until_timestamp_seconds",
        "meter_last_sample_timestamp_seconds",
        "control_last_cycle_timestamp_seconds",
        "mqtt_connected",
    ):
        assert value(site, name) is None, name
    assert value(site, "price_known") == 0
    assert value(site, "meter_up") == 0
    assert values(site, "group_hashrate_hashes_per_second") == {}


async def test_a_site_without_a_meter_has_no_meter_metrics():
    site = desk(meter=False)
    assert value(site, "meter_up") is None
    assert value(site, "meter_failures_total") is None


async def test_labels_of_every_sample_are_those_of_the_catalogue():
    site = await ready(pools=POOLS)
    known = {family.name: len(family.labels) for family in CATALOGUE}
    for name, labels, _ in site.metrics.samples():
        assert known[name] == len(labels), name


async def test_no_series_is_exported_twice():
    site = await ready({"a": 2, "b": 2}, pools=POOLS)
    seen = [line.rsplit(" ", 1)[0] for line in site.lines()]
    assert len(seen) == len(set(seen))


async def test_sums_of_rigs_and_site():
    site = await ready({"a": 1, "b": 2})
    site.reading("b-001", Telemetry(activity=Activity.ASLEEP, power=Watts(25.0)))
    await site.cycle()
    assert values(site, "rigs")["b", "hashing"] == 1
    assert values(site, "rigs")["b", "asleep"] == 1
    assert len(values(site, "rigs")) == 2 * len(RigState)
    assert values(site, "group_power_watts") == {("a",): 3500, ("b",): 3525}
    assert values(site, "group_hashrate_hashes_per_second") == {("a",): 200e12, ("b",): 200e12}
    assert value(site, "site_power_watts") == 7500
    assert value(site, "site_power_estimated_watts") == 500 + 3500 + 3525
    assert value(site, "site_power_cap_watts") == 13_000
    assert values(site, "group_automatic") == {("a",): 1, ("b",): 1}


async def test_a_silent_meter_is_down_and_its_power_absent():
    site = await ready()
    assert value(site, "meter_up") == 1
    site.clock.now += 31.0
    assert value(site, "meter_up") == 0
    assert value(site, "site_power_watts") is None
    assert value(site, "clock_timestamp_seconds") - value(site, "meter_last_sample_timestamp_seconds") == 31


async def test_an_order_shows_as_limit_and_as_power_held_back():
    site = await ready({"hall": 3})
    order = await site.store.place(Watts(5000.0), "operator")
    site.site.controller.set_orders((order,))
    await site.cycle()
    assert value(site, "orders") == 1
    assert value(site, "order_limit_watts") == 5000
    assert value(site, "site_power_limit_watts") == 5000
    held = values(site, "curtailed_watts")
    assert held["order",] == pytest.approx(2 * (3500 - 25))
    assert len(held) == len(Reason)
    assert values(site, "group_hashrate_expected_hashes_per_second") == {("hall",): 200e12}


async def test_a_price_above_the_strike_holds_power_back_and_expects_no_hashrate():
    site = await ready({"hall": 2}, price=0.5)
    assert value(site, "price_per_kilowatt_hour") == 0.5
    assert 0 < value(site, "strike_per_kilowatt_hour") < 0.5
    assert values(site, "curtailed_watts")["price_above_break_even",] > 0
    assert values(site, "group_hashrate_expected_hashes_per_second") == {("hall",): 0}


async def test_observed_groups_are_expected_to_do_what_they_do_and_hold_nothing_back():
    site = await ready({"hall": 2}, price=0.5, control=Control.OBSERVE)
    assert set(values(site, "curtailed_watts").values()) == {0}
    assert values(site, "group_hashrate_expected_hashes_per_second") == {("hall",): 400e12}
    assert values(site, "group_automatic") == {("hall",): 0}
    assert values(site, "rigs_obstructed")["observe_only",] == 2


async def test_commands_are_counted_by_verb_and_state():
    site = await ready({"hall": 2}, price=0.5)
    commands = values(site, "commands_total")
    assert commands[CommandState.PLANNED.value, "sleep"] == 2
    assert commands[CommandState.CONFIRMED.value, "wake"] == 0
    assert value(site, "commands_in_flight") == 2


async def test_sweeping_lets_go_of_the_lines_of_dead_rigs_where_nobody_scrapes():
    site = await ready()
    site.clock.now += 50.0
    site.metrics.sweep()
    assert b"power_watts{" not in site.metrics._pages["hall"].render()


async def test_a_rig_that_goes_silent_is_swept_from_its_page():
    site = await ready()
    site.clock.now += 40.0
    site.reading("hall-002", hashing())
    site.clock.now += 10.0
    of_dead = [line for line in site.rig_lines("hall") if 'rig="hall-001"' in line]
    assert [line.split("{")[0] for line in of_dead] == [
        "shedload_rig_up",
        "shedload_rig_last_seen_timestamp_seconds",
        "shedload_rig_info",
    ]
    assert of_dead[0].endswith(" 0")
    assert 'shedload_rig_up{rig="hall-002"} 1' in site.rig_lines("hall")


async def test_rigs_never_heard_of_are_down():
    site = desk()
    assert 'shedload_rig_up{rig="hall-001"} 0' in site.rig_lines("hall")
    assert 'shedload_rig_info{rig="hall-001",model="Antminer S21",firmware="",mac="",feeder="f1"} 1' in (
        site.rig_lines("hall")
    )


async def test_the_reasons_to_look_at_a_rig():
    site = await ready()
    site.site.actuator.tracks[RigName("hall-001")].refusing = True
    site.reading("hall-002", hashing(faults=(Fault(FaultCode.FAN, "fan 2 stopped"), Fault(FaultCode.FAN, "fan 3"))))
    await site.cycle()
    lines = [line for line in site.rig_lines("hall") if line.startswith("shedload_rig_attention")]
    assert lines == [
        'shedload_rig_attention{rig="hall-001",reason="refusing"} 1',
        'shedload_rig_attention{rig="hall-002",reason="faulty"} 1',
    ]
    assert values(site, "rigs_faulty")["fan",] == 1
    assert values(site, "rigs_obstructed")["refusing",] == 1


async def test_a_contested_rig_stays_contested_while_an_order_commands_it_all_the_same():
    site = await ready()
    site.site.actuator.tracks[RigName("hall-001")].contested = True
    site.site.controller.set_orders((await site.store.place(Watts(5000.0), "operator"),))
    await site.cycle()
    assert site.site.controller.views[RigName("hall-001")].obstacle is None
    assert values(site, "rigs_obstructed")["contested",] == 1


def test_a_group_that_does_not_exist_has_no_page():
    site = desk()
    assert site.metrics.render_rigs("nowhere") is None
    assert site.metrics.groups == ("hall",)


def test_readings_are_counted_by_result_and_lateness():
    site = desk()
    site.reading("hall-001", hashing())
    site.failure("hall-001")
    site.failure("hall-001", "a kind that some driver made up")
    site.observe(
        Observation(RigName("hall-002"), site.clock.now, site.clock.now - 7.0, Telemetry(repairs=("truncated",)))
    )
    assert values(site, "readings_total")["good",] == 2
    assert values(site, "readings_total")["no_answer",] == 1
    assert values(site, "readings_total")["error",] == 1
    assert values(site, "reply_repairs_total")["truncated",] == 1
    buckets = values(site, "reading_lateness_seconds_bucket")
    assert buckets["0.1",] == 2
    assert buckets["0.25",] == 3
    assert buckets["5.0",] == 3
    assert buckets["10.0",] == 4
    assert buckets["+Inf",] == 4


def test_repair_names_are_bounded():
    site = desk()
    for number in range(500):
        site.reading("hall-001", hashing(repairs=(f"repair_{number}",)))
    found = values(site, "reply_repairs_total")
    assert len(found) <= 65
    assert sum(found.values()) == 500
    assert found["other",] > 400


def test_pool_failures_have_a_closed_set_of_kinds():
    site = desk(pools=POOLS)
    site.site.upstream.books["pool.example:3333"].failures.update({"closed": 2, "anything that a pool wrote": 3})
    found = values(site, "pool_failures_total")
    assert found["closed", "pool.example:3333"] == 2
    assert found["lost", "pool.example:3333"] == 3
    assert sum(found.values()) == 5


def test_a_name_with_quotes_or_endless_length_does_not_break_the_page():
    long = PoolAddress('a"b\\c\n' + "x" * 300, "h", 1, "u", "x", 0)
    site = desk(pools=(long,))
    ((_, pool),) = {key for key in values(site, "pool_shares_lost_total") if key[0] == "timeout"}
    assert pool.startswith('a"b\\c?x')
    assert len(pool) == 128


async def test_a_disk_that_takes_nothing_shows():
    site = await ready({"hall": 2}, price=0.05)
    assert value(site, "store_failing") == 0
    site.store.fail()
    site.site.controller.set_orders((await elsewhere(5000.0),))
    await site.cycle()
    assert value(site, "store_failing") == 1
    assert value(site, "store_failures_total") == 1


async def elsewhere(limit: float) -> Order:
    """An order that was placed while the disk still took it."""
    return await desk().store.place(Watts(limit), "operator")


def test_a_histogram_counts_each_value_once():
    histogram = Histogram((0.1, 1.0))
    for seconds in (-5.0, 0.05, 0.1, 0.5, 1.0, 3.0):
        histogram.observe(seconds)
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for sample in histogram.family(
            CATALOGUE[next(i for i, f in enumerate(CATALOGUE) if f.kind is Kind.HISTOGRAM)]
        ).samples
    }
    name = "shedload_event_loop_lag_seconds"
    assert samples[f"{name}_bucket", "0.1"] == 3
    assert samples[f"{name}_bucket", "1.0"] == 5
    assert samples[f"{name}_bucket", "+Inf"] == 6
    assert samples[f"{name}_count", None] == 6
    assert samples[f"{name}_sum", None] == pytest.approx(4.65)


async def test_scraping_twice_in_a_cycle_sums_up_once():
    site = await ready()
    site.metrics.render()
    summary = site.metrics._summary
    site.metrics.render()
    assert site.metrics._summary is summary
    await site.cycle()
    site.metrics.render()
    assert site.metrics._summary is not summary


async def test_rendering_thousands_of_rigs_does_not_hold_the_loop():
    site = await ready({f"c{number:02d}": 200 for number in range(25)})
    took = []
    for _ in range(5):
        site.metrics._summed = None
        began = time.process_time()  # not the wall: other tests may run beside this one
        site.metrics.render()
        site.metrics.render_rigs("c00")
        took.append(time.process_time() - began)
    assert min(took) < 0.05, "design.md: nothing blocks the loop for more than 50 ms"


@pytest.mark.interop
async def test_promtool_finds_nothing_to_complain_about():
    promtool = require_tool("promtool", package="prometheus")
    site = await ready(pools=POOLS)
    for page in (site.metrics.render(), site.metrics.render_rigs("hall")):
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_every_sample_names_the_site():
    site = await ready(pools=POOLS)
    assert all('site="demo"' in line for line in site.lines())
