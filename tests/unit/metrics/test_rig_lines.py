"""Per-rig lines: what a live rig shows, what a dead one keeps, and that nothing a rig says can break the page."""

import math
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from controller.rig_lines import MAX_LABEL, RIG_CATALOGUE, Attention, RigPage, bounded, escape, number
from shedload.device import Telemetry
from shedload.units import HashesPerSecond, Watts
from tests.support.peers import require_tool
from tests.support.site import hashing

INFO = ("Antminer S21", "49.0.1.3", "02:51:7f:00:00:01", "f1")


def samples(page: bytes) -> dict[str, dict[str, float]]:
    """Values by metric and rig, as an independent parser reads them."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[sample.labels["rig"]] = sample.value
    return found


def test_a_live_rig_shows_everything_that_it_tells():
    page = RigPage()
    page.live("s21-001", hashing(), 1_768_478_400.25, INFO)
    found = {name: values["s21-001"] for name, values in samples(page.render()).items()}
    assert found == {
        "shedload_rig_up": 1,
        "shedload_rig_last_seen_timestamp_seconds": 1_768_478_400.25,
        "shedload_rig_info": 1,
        "shedload_rig_hashrate_hashes_per_second": 200e12,
        "shedload_rig_hashrate_nominal_hashes_per_second": 200e12,
        "shedload_rig_power_watts": 3500,
        "shedload_rig_chip_temperature_celsius": 72,
        "shedload_rig_board_temperature_celsius": 67,
        "shedload_rig_inlet_temperature_celsius": 25,
        "shedload_rig_fan_speed_revolutions_per_minute": 5400,
        "shedload_rig_shares_accepted_total": 1234,
        "shedload_rig_shares_rejected_total": 3,
        "shedload_rig_hardware_errors_total": 17,
        "shedload_rig_uptime_seconds": 86_400,
        "shedload_rig_faults": 0,
    }


def test_zero_is_a_value_and_unknown_is_none():
    page = RigPage()
    page.live("a", Telemetry(hashrate=HashesPerSecond(0.0)), 1.0, INFO)
    found = samples(page.render())
    assert found["shedload_rig_hashrate_hashes_per_second"] == {"a": 0}
    assert "shedload_rig_power_watts" not in found


def test_what_a_rig_no_longer_tells_goes_away_with_the_next_reading():
    page = RigPage()
    page.live("a", hashing(), 1.0, INFO)
    page.live("a", Telemetry(power=Watts(25.0)), 2.0, INFO)
    found = samples(page.render())
    assert found["shedload_rig_power_watts"] == {"a": 25}
    assert "shedload_rig_chip_temperature_celsius" not in found


def test_a_dead_rig_keeps_up_last_seen_and_info_only():
    page = RigPage()
    page.live("a", hashing(), 1.0, INFO)
    page.live("b", hashing(), 1.0, INFO)
    page.gone("a", INFO)
    found = samples(page.render())
    assert [name for name, values in found.items() if "a" in values] == [
        "shedload_rig_up",
        "shedload_rig_last_seen_timestamp_seconds",
        "shedload_rig_info",
    ]
    assert found["shedload_rig_up"] == {"a": 0, "b": 1}
    assert page.is_gone("a")
    assert not page.is_gone("b")


def test_a_rig_never_heard_of_is_down_and_has_no_last_seen():
    page = RigPage()
    page.gone("a", ("", "", "", ""))
    assert samples(page.render()) == {"shedload_rig_up": {"a": 0}, "shedload_rig_info": {"a": 1}}


def test_a_rig_that_comes_back_is_up():
    page = RigPage()
    page.gone("a", INFO)
    page.live("a", hashing(), 5.0, INFO)
    assert samples(page.render())["shedload_rig_up"] == {"a": 1}
    assert not page.is_gone("a")


def test_a_changed_machine_replaces_the_info_of_its_slot():
    page = RigPage()
    page.live("a", hashing(), 1.0, INFO)
    page.live("a", hashing(), 2.0, ("Antminer S19", "1", "02:00:00:00:00:02", "f1"))
    lines = [line for line in page.render().decode().splitlines() if line.startswith("shedload_rig_info{")]
    assert lines == [
        'shedload_rig_info{rig="a",model="Antminer S19",firmware="1",mac="02:00:00:00:00:02",feeder="f1"} 1'
    ]


def test_reasons_to_look_at_a_rig_are_lines_of_their_own():
    page = RigPage()
    text = page.render([("a", Attention.REFUSING), ("a", Attention.FAULTY)]).decode()
    assert 'shedload_rig_attention{rig="a",reason="refusing"} 1\n' in text
    assert 'shedload_rig_attention{rig="a",reason="faulty"} 1\n' in text


def test_an_empty_page_has_headers_only():
    lines = RigPage().render().decode().splitlines()
    assert len(lines) == 2 * len(RIG_CATALOGUE)
    assert all(line.startswith(("# HELP shedload_rig_", "# TYPE shedload_rig_")) for line in lines)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.7976931345e308, 10**400, None])
def test_what_is_no_finite_number_gives_no_line(value):
    assert number(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0, "0"), (True, "1"), (1234567890123, "1234567890123"), (1.234e14, "1.234e+14"), (-3.5, "-3.5")],
)
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b', 'a\\"b'),
        ("a\\b", "a\\\\b"),
        ("a\nb\r\0c", "a?b??c"),
        ("\ud800x", "?x"),
        ("Ω", "Ω"),
        ("x" * 500, "x" * MAX_LABEL),
        ("Ω" * 500, "Ω" * (MAX_LABEL // 2)),
        ("a" + "Ω" * 500, "a" + "Ω" * ((MAX_LABEL - 1) // 2)),
    ],
)
def test_label_values_are_escaped_and_bounded(value, text):
    assert escape(value) == text


hostile = st.text(st.characters(codec=None), max_size=300)  # lone surrogates, NULs and all


@given(hostile, hostile, hostile, st.floats() | st.integers() | st.none())
def test_no_text_of_a_rig_breaks_the_page(model, firmware, mac, rate):
    page = RigPage()
    page.live("a", hashing(hashrate=rate), 1.0, (model, firmware, mac, "f1"))
    page.live("b", hashing(), 1.0, INFO)
    families = {family.name: family for family in text_string_to_metric_families(page.render().decode())}
    info = [sample for sample in families["shedload_rig_info"].samples if sample.labels["rig"] == "a"]
    assert len(info) == 1
    assert info[0].labels["model"] == bounded(model)
    assert info[0].labels["firmware"] == bounded(firmware)
    assert all(len(value.encode()) <= MAX_LABEL for value in info[0].labels.values())
    assert all(math.isfinite(sample.value) for family in families.values() for sample in family.samples)


@pytest.mark.interop
def test_promtool_reads_a_hostile_page_without_complaint():
    promtool = require_tool("promtool", package="prometheus")
    page = RigPage()
    for number_, text in enumerate(['"} 1\nevil 1', "\\", "\0\r\n\t", "\ud800", "Ω" * 400, "# TYPE x gauge"]):
        page.live(f"rig-{number_}", hashing(), 1.0, (text, text, text, text))
    page.gone("dead", ("", "", "", ""))
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page.render([("dead", Attention.REFUSING)]),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
