"""Writes the slots of a simulated farm as the CSV inventory that the daemon reads."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

COLUMNS = (
    "name", "site", "hall", "rack", "position", "group", "feeder", "phase", "owner", "driver", "address", "credential",
    "serial", "mac", "model", "options",
)  # fmt: skip


def write_rows(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write the file anew; a column that a row does not have stays empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
