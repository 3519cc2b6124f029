"""The rows of the benchmark: how one is judged, and how all of them are written and shown."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.machine import Child, Watch

LOAD_LIMIT = 0.8
"""A load generator that uses more of its core than this may be what was measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ratio` is value over reference, "at least" 0.35 or "at most" 1.5 as `must_reach` says."""

    name: str
    value: float | None
    unit: str
    reference: str | None
    reference_value: float | None
    ratio: float | None
    must_reach: str
    ok: bool
    void: bool = False
    load: float | None = None  # highest share of its core that the load generator used
    ran: str = ""
    note: str = ""
    spread: str = ""  # lowest and highest of the ratios or values


@dataclass(frozen=True, slots=True)
class Runs:
    """What alternating measurements gave."""

    values: tuple[float, ...]
    references: tuple[float, ...]
    load: float | None

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def reference(self) -> float:
        """The median of the reference."""
        return statistics.median(self.references)

    @property
    def ratio(self) -> float:
        """Median over median."""
        return self.value / self.reference

    @property
    def spread(self) -> str:
        """The lowest and the highest ratio of one round."""
        ratios = [value / reference for value, reference in zip(self.values, self.references, strict=True)]
        return f"{min(ratios):.3g}-{max(ratios):.3g}"

    @property
    def void(self) -> bool:
        """The load generator was too busy to be trusted."""
        return self.load is not None and self.load > LOAD_LIMIT


def alternate(
    rounds: int, measure: Sequence[Callable[[], float]], load: Child | None = None
) -> tuple[list[list[float]], list[float]]:
    """Measure each in turn, `rounds` times; the figures of each, and the load's highest share beside each."""
    figures: list[list[float]] = [[] for _ in measure]
    loads = [0.0 for _ in measure]
    for _ in range(rounds):
        for place, once in enumerate(measure):
            watch = None if load is None else Watch(load.pid)
            figures[place].append(once())
            if watch is not None:
                loads[place] = max(loads[place], watch.share())
    return figures, loads


def row_of(
    name: str, unit: str, runs: Runs, *, reference: str, least: float | None = None, most: float | None = None,
    ran: str = "", note: str = "", scale: float = 1.0,
) -> Row:  # fmt: skip
    """A row that is judged by its ratio."""
    good = runs.ratio >= least if least is not None else most is None or runs.ratio <= most
    return Row(
        name=name,
        value=runs.value * scale,
        unit=unit,
        reference=reference,
        reference_value=runs.reference * scale,
        ratio=runs.ratio,
        must_reach=f"ratio >= {least:g}" if least is not None else f"ratio <= {most:g}",
        ok=good and not runs.void,
        void=runs.void,
        load=runs.load,
        ran=ran,
        note=note,
        spread=runs.spread,
    )


def void_row(name: str, unit: str, must_reach: str, why: str) -> Row:
    """A row that could not be measured here."""
    return Row(name, None, unit, None, None, None, must_reach, ok=False, void=True, note=why)


def write_rows(path: Path, rows: Sequence[Row], machine: Mapping[str, Any]) -> None:
    """Write `{"rows": [...], "machine": {...}}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": [asdict(row) for row in rows], "machine": machine}, indent=1) + "\n")


def render(rows: Sequence[Row]) -> str:
    """The table for people."""
    lines = [("row", "value", "unit", "reference", "ratio", "must reach", "load", "verdict")]
    for row in rows:
        lines.append(
            (
                row.name,
                _figure(row.value),
                row.unit,
                _figure(row.reference_value),
                _figure(row.ratio),
                row.must_reach,
                "" if row.load is None else f"{row.load:.0%}",
                "void" if row.void else "ok" if row.ok else "MISSED",
            )
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    remarks = [f"{row.name}: {text}" for row in rows for text in (row.reference, row.ran, row.note) if text]
    return "\n".join([*shown, "", *remarks])


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
