"""Dashboards are what their code says, keep the conventions, and show metrics that exist."""

import json
import re

import pytest

from dashboards.generate import ROOT, generated, write
from tests.support.promql import (
    SERIES_OF_A_HISTOGRAM,
    dashboards,
    exported_names,
    expressions,
    panels,
    rule_blocks,
    used_names,
)

BOARDS = dashboards()
EXCUSED = {
    # for questions after the fact; a panel of each would bury the ones that matter
    "shedload_group_automatic", "shedload_group_proven", "shedload_group_power_watts",
    "shedload_rigs_faulty", "shedload_rigs_decided",
    "shedload_meter_last_sample_timestamp_seconds", "shedload_meter_failures_total",
    "shedload_price_slot_start_timestamp_seconds", "shedload_price_fetched_timestamp_seconds",
    "shedload_price_fetch_failures_total",
    "shedload_ledger_energy_joules", "shedload_ledger_always_on_cost", "shedload_ledger_always_on_earned",
    "shedload_ledger_seconds", "shedload_ledger_gap_seconds",
    "shedload_control_ready", "shedload_control_cycles_total", "shedload_guard_alarms_total",
    "shedload_commands_in_flight",
    "shedload_store_commits_total", "shedload_store_failures_total", "shedload_store_verdicts_dropped_total",
    "shedload_reply_repairs_total",
    "shedload_pool_connected", "shedload_pool_difficulty", "shedload_pool_latency_seconds",
    "shedload_pool_last_accepted_timestamp_seconds", "shedload_pool_jobs_total",
    "shedload_pool_accepted_difficulty_total", "shedload_pool_failures_total", "shedload_pool_unusable_total",
    "shedload_pool_reconnects_total",
    "shedload_serial_hashrate_hashes_per_second", "shedload_serial_reopened_total", "shedload_serial_best_difficulty",
    "shedload_serial_blocks_total", "shedload_mqtt_input_rejected_total",
    "shedload_mqtt_published_total", "shedload_mqtt_failures_total", "shedload_mqtt_dropped_total",
    "shedload_rig_last_seen_timestamp_seconds", "shedload_rig_hashrate_hashes_per_second",
    "shedload_rig_hashrate_nominal_hashes_per_second", "shedload_rig_power_limit_watts",
    "shedload_rig_board_temperature_celsius", "shedload_rig_inlet_temperature_celsius",
    "shedload_rig_fan_speed_revolutions_per_minute", "shedload_rig_shares_accepted_total",
    "shedload_rig_shares_rejected_total", "shedload_rig_hardware_errors_total", "shedload_rig_uptime_seconds",
    "shedload_rig_faults",
}  # fmt: skip
UNITS = {
    "watt": r"_watts\b",
    "Hs": r"_hashes_per_second\b",
    "celsius": r"_celsius\b",
    "s": r"_seconds(_bucket)?\b",
}


@pytest.mark.parametrize("path", generated(), ids=str)
def test_what_is_committed_is_what_the_code_makes(path):
    assert (ROOT / path).read_text() == generated()[path], "run `python -m dashboards` and commit what it writes"


def test_generating_again_changes_nothing_and_writes_what_is_missing(tmp_path):
    assert sorted(write(tmp_path)) == sorted(generated())
    assert write(tmp_path) == []
    (tmp_path / "dashboards" / "site.json").write_text("{}")
    assert [path.name for path in write(tmp_path)] == ["site.json"]


@pytest.mark.parametrize("name", BOARDS)
def test_conventions_of_a_board(name):
    board = BOARDS[name]
    assert board["uid"].startswith("shedload-")
    assert board["title"].startswith("shedload: ")
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "site", "group"]
    shown = list(panels(board))
    assert 0 < len(shown) <= 20
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in shown}) == len(shown)
    uids = set(re.findall(r'"uid": "([^"]*)"', json.dumps(board)))
    assert uids == {board["uid"], "${datasource}"}


def test_identities_are_unique():
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("name", BOARDS)
def test_conventions_of_panels(name):
    for panel in panels(BOARDS[name]):
        title = panel["title"]
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == [chr(ord("A") + place) for place in range(len(letters))], title
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, title


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap(name):
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_queries_choose_a_site_and_rates_follow_the_scrape(name):
    for where, expr in expressions(BOARDS[name]):
        if expr == "label_values(shedload_build_info, site)":
            continue
        assert 'site="$site"' in expr, where
        if where.startswith("panel"):
            assert set(re.findall(r"\[([^\]]*)\]", expr)) <= {"$__rate_interval"}, where
        for rated in re.findall(r"(?:rate|increase)\((\w+)", expr):
            assert rated.endswith(("_total", *SERIES_OF_A_HISTOGRAM)), where


@pytest.mark.parametrize("name", BOARDS)
def test_units_fit_the_metrics(name):
    for panel in panels(BOARDS[name]):
        pattern = UNITS.get(panel["fieldConfig"]["defaults"]["unit"])
        for target in panel["targets"] if pattern else ():
            assert re.search(pattern, target["expr"]), panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_no_metric_is_shown_that_nobody_exports(name):
    for where, expr in expressions(BOARDS[name]):
        assert used_names(expr) <= exported_names().keys(), where


def test_every_metric_is_shown_or_watched_or_excused():
    used = {name for board in BOARDS.values() for _, expr in expressions(board) for name in used_names(expr)}
    for block in (rule_blocks("alert") | rule_blocks("record")).values():
        used |= used_names(block)
    families = exported_names()
    seen = {families[name].full_name for name in used}
    everything = {family.full_name for family in families.values()}
    assert everything - seen - EXCUSED == set(), "show it, watch it, or excuse it"
    assert EXCUSED & seen == set(), "excused although it is used"
    assert everything >= EXCUSED
