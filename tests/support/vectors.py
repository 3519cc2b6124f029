"""Reads tests/vectors: facts about blocks, merkle trees and solved work; tests/captures/INDEX.md has their origin."""

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def load(name: str) -> Any:
    """Return the content of one file of vectors."""
    return json.loads((VECTORS / name).read_text())


def headers() -> list[dict[str, Any]]:
    """Real block headers and unit-test headers."""
    found: list[dict[str, Any]] = load("blocks-and-merkle.json")["headers"]
    return found


def solutions() -> list[dict[str, Any]]:
    """Twenty-two shares of difficulty 1 or more, found by exhaustive search."""
    return [solution for job in load("stratum-session.json")["jobs"] for solution in job["solutions"]]
