"""The scrape configuration: Prometheus takes it, and it asks where the daemon answers."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from controller.rig_lines import MAX_LABEL
from controller.settings import ApiSettings
from tests.support.peers import require_tool

FOLDER = Path(__file__).parents[3] / "deploy" / "prometheus"
CONFIG = FOLDER / "prometheus.yml"


@pytest.fixture
def jobs() -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in yaml.safe_load(CONFIG.read_text())["scrape_configs"]}


def test_promtool_takes_it() -> None:
    tool = require_tool("promtool", package="prometheus")
    done = subprocess.run(
        [tool, "check", "config", str(CONFIG)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_jobs_ask_where_the_daemon_listens_by_default(jobs: dict[str, dict[str, Any]]) -> None:
    listen = ApiSettings().listen
    assert jobs["shedload"]["static_configs"] == [{"targets": [listen]}]
    (found,) = jobs["shedload-rigs"]["http_sd_configs"]
    address = urlsplit(found["url"])
    assert (address.scheme, address.netloc, address.path) == ("http", listen, "/sd/prometheus")


def test_what_a_scrape_can_bring_is_bounded(jobs: dict[str, dict[str, Any]]) -> None:
    for job in jobs.values():
        assert job["sample_limit"] <= 20_000
        assert job["label_value_length_limit"] == MAX_LABEL


def test_rules_ask_for_jobs_that_exist(jobs: dict[str, dict[str, Any]]) -> None:
    for path in sorted((FOLDER / "rules").glob("*.yml")):
        assert set(re.findall(r'job="([^"]+)"', path.read_text())) <= set(jobs), path
