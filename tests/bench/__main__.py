"""`python -m tests.bench`: measures every row, writes build/bench.json and prints the table.

Exit code 1 when a row misses what it must reach or could not be measured. `--only` takes names of rows.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.exchange import measure_exchange
from tests.bench.full import measure_full
from tests.bench.kernel import measure_decode, measure_scan
from tests.bench.machine import ROOT, BenchError, cores, describe_machine
from tests.bench.site import measure_site
from tests.bench.table import Row, render, void_row, write_rows
from tests.bench.tarpit import measure_tarpits

ROUNDS = 5
"""Everything that is compared is measured in turn so often; the median counts."""

Rows = Callable[[], Sequence[Row]]
GROUPS: tuple[tuple[tuple[str, ...], Rows], ...] = (
    (("decode_stats",), lambda: [measure_decode(ROUNDS, 0.5)]),
    (("hash_scan_c",), lambda: [measure_scan(ROUNDS, 0.5)]),
    (("poll_exchange",), lambda: [measure_exchange(ROUNDS, 2.0)]),
    (("poll_full", "poll_full_cold"), lambda: measure_full(ROUNDS, 2.5)),
    (("tarpit_lateness",), lambda: [measure_tarpits(ROUNDS)]),
    (("daemon_1000_cpu", "daemon_1000_rss"), measure_site),
)
"""What is measured together, in the order in which it is measured."""
ORDER = (
    "poll_exchange", "poll_full", "poll_full_cold", "decode_stats", "hash_scan_c", "daemon_1000_cpu",
    "daemon_1000_rss", "tarpit_lateness",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Measure, write, print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ORDER, metavar="ROW", help="measure these rows, and those beside")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench.json")
    chosen = parser.parse_args(arguments)
    machine = describe_machine()
    if len(set(cores())) == 1:
        sys.stderr.write("One core only: load and target share it, so nothing here can be trusted.\n")
    rows: list[Row] = []
    for names, measure in GROUPS:
        if not chosen.only or set(names) & set(chosen.only):
            rows.extend(_measured(names, measure))
            write_rows(chosen.out, _ordered(rows), machine)
    where = f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; written to {chosen.out}"
    sys.stdout.write(f"{render(_ordered(rows))}\n\n{where}\n")
    return 0 if all(row.ok for row in rows) else 1


def _measured(names: tuple[str, ...], measure: Rows) -> Sequence[Row]:
    began = time.monotonic()
    sys.stderr.write(f"measuring {', '.join(names)} ... ")
    sys.stderr.flush()
    try:
        return measure()
    except (BenchError, OSError) as error:
        return [void_row(name, "", "", str(error)) for name in names]
    finally:
        sys.stderr.write(f"{time.monotonic() - began:.0f} s\n")


def _ordered(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: ORDER.index(row.name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
