"""Which metrics the dashboards and rules of this repository use, and which exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.metric_catalogue import CATALOGUE, Family, Kind
from controller.rig_lines import RIG_CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
DASHBOARDS = ROOT / "dashboards"
SERIES_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


def exported_names() -> dict[str, Family]:
    """Every name of a series, and the family that it belongs to."""
    names: dict[str, Family] = {}
    for family in (*CATALOGUE, *RIG_CATALOGUE):
        endings = SERIES_OF_A_HISTOGRAM if family.kind is Kind.HISTOGRAM else ("",)
        names.update({family.full_name + ending: family for ending in endings})
    return names


def used_names(expr: str) -> set[str]:
    """Names of our own metrics in an expression; those of recording rules are none."""
    return set(re.findall(r"(?<![\w:])shedload_\w+(?![\w:])", expr))


def dashboards() -> dict[str, dict[str, Any]]:
    """Every committed dashboard by its file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel but rows, those inside rows too."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panels({"panels": panel.get("panels") or []})


def expressions(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every query of a dashboard, with where it stands."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"panel {panel['title']} {target['refId']}", target["expr"]
    for mark in board["annotations"]["list"]:
        yield f"annotation {mark['name']}", mark["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]


def rule_blocks(kind: str) -> dict[str, str]:
    """The text of every rule by its name; `kind` is alert or record."""
    text = "\n".join(path.read_text() for path in sorted(RULES.glob("*.yml")))
    parts = re.split(r"^ +- (?=alert: |record: )", text, flags=re.MULTILINE)[1:]
    blocks = dict(part.split("\n", 1) for part in parts)
    return {key.removeprefix(f"{kind}: "): body for key, body in blocks.items() if key.startswith(f"{kind}: ")}
