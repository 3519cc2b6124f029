"""Everything that is generated and committed: path in the repository and text."""

import re
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.metrics_page import metrics_page
from dashboards.site import site_dashboard

ROOT = Path(__file__).resolve().parents[1]


def generated() -> Mapping[Path, str]:
    """Text of every generated file, by its path relative to the repository."""
    return {
        Path("dashboards/site.json"): as_json(site_dashboard()),
        Path("docs/metrics.md"): metrics_page(),
    }


def as_json(board: Dashboard) -> str:
    """A dashboard as Grafana imports it."""
    built = board.build()
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number  # the SDK leaves it out, and Grafana would give new ones at each import
    return re.sub(r"[ \t]+\n", "\n", JSONEncoder(sort_keys=True, indent=2).encode(built)) + "\n"


def write(root: Path = ROOT) -> list[Path]:
    """Write what differs; returns the paths that were written."""
    changed = []
    for path, text in generated().items():
        target = root / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            changed.append(path)
    return changed
