"""Rules are sound, every alert is tested and explained, and they name no metric that nobody exports."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.peers import require_tool
from tests.support.promql import ROOT, RULES, exported_names, rule_blocks, used_names

HERE = Path(__file__).parent
ALERTS, RECORDS = rule_blocks("alert"), rule_blocks("record")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = require_tool("promtool", package="prometheus")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.interop
def test_promtool_finds_nothing_wrong_with_the_rules():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.interop
@pytest.mark.parametrize("file", sorted(HERE.glob("*_test.yml")), ids=lambda path: path.stem)
@pytest.mark.slow
def test_rules_do_what_their_tests_say(file):
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_proven_quiet_below_firing_above_and_quiet_again():
    text = (HERE / "alerts_test.yml").read_text()
    tested = dict(block.split("\n", 1) for block in re.split(r"^  - name: ", text, flags=re.MULTILINE)[1:])
    assert list(tested) == list(ALERTS)
    for name, block in tested.items():
        expected = re.findall(rf"alertname: {name}\n +exp_alerts:(.*)", block)
        waits = re.search(r"for: \d+m\n", ALERTS[name]) is not None
        assert expected == [" []", *([" []"] if waits else []), "", " []"], name


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_is_wrong_and_has_a_page(name):
    block = ALERTS[name]
    assert re.search(r"severity: (page|warning|info)\n", block)
    assert re.search(r"summary: \w", block)
    assert "{{ $" in re.search(r"description: (.*)", block)[1], "the description tells no value or label"
    page = ROOT / re.search(r"runbook_url: (\S+)", block)[1]
    lines = page.read_text().splitlines()
    assert lines[0] == f"# {name}"
    assert {"## Look at", "## Do"} <= set(lines)


def test_no_page_is_left_over_and_all_are_listed():
    pages = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")} - {"README"}
    assert pages == set(ALERTS)
    index = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    assert [name for name in ALERTS if f"[{name}]({name}.md)" not in index] == []


def test_recording_rules_are_named_level_metric_operations():
    assert RECORDS
    for name in RECORDS:
        level, metric, operations = name.split(":")
        assert level in {"site", "group", "pool"}, name
        assert metric.startswith("shedload_"), name
        assert re.fullmatch(r"sum|ratio|ratio_rate15m|ratio_increase15m", operations), name


def test_rules_name_no_metric_that_nobody_exports():
    for name, block in (ALERTS | RECORDS).items():
        assert used_names(block) <= exported_names().keys(), name


def test_alerts_use_only_recording_rules_that_exist():
    for name, block in ALERTS.items():
        assert set(re.findall(r"\w+:shedload_\w+:\w+", block)) <= RECORDS.keys(), name
