"""How a row is judged, written and shown."""

import json

import pytest

from tests.bench.table import Runs, alternate, render, row_of, void_row, write_rows


def runs(values, references, load=0.3):
    return Runs(tuple(values), tuple(references), load)


def test_the_median_counts_and_not_the_mean():
    row = row_of("x", "1/s", runs([10, 12, 1000], [4, 5, 6]), reference="plain", least=2.0)
    assert (row.value, row.reference_value, row.ratio) == (12, 5, 2.4)
    assert row.ok
    assert row.spread == "2.4-167"


@pytest.mark.parametrize(
    ("least", "most", "ok"), [(2.5, None, False), (2.4, None, True), (None, 2.4, True), (None, 2.3, False)]
)
def test_a_row_says_whether_it_reached_what_it_must(least, most, ok):
    assert row_of("x", "us", runs([12], [5]), reference="plain", least=least, most=most).ok is ok


def test_a_busy_load_generator_makes_a_row_void():
    row = row_of("x", "1/s", runs([100], [1], load=0.81), reference="plain", least=1.0)
    assert row.void
    assert not row.ok
    assert "void" in render([row])


def test_contestants_take_turns():
    asked = []

    def contestant(name, figure):
        def once():
            asked.append(name)
            return figure

        return once

    figures, loads = alternate(2, [contestant("a", 1.0), contestant("b", 2.0)])
    assert asked == ["a", "b", "a", "b"]
    assert figures == [[1.0, 1.0], [2.0, 2.0]]
    assert loads == [0.0, 0.0]


def test_the_file_holds_what_the_table_shows(tmp_path):
    rows = [
        row_of("x", "us", runs([3e-6], [1e-6]), reference="plain", most=4.0, scale=1e6, note="remark"),
        void_row("y", "ms", "<= 5", "no port to be had"),
    ]
    write_rows(tmp_path / "build" / "bench.json", rows, {"cores": 2})
    written = json.loads((tmp_path / "build" / "bench.json").read_text())
    first, second = written["rows"]
    assert {"name", "value", "unit", "reference", "reference_value", "ratio"} <= first.keys()
    assert (first["name"], first["value"], first["ratio"]) == ("x", pytest.approx(3.0), pytest.approx(3.0))
    assert (second["void"], second["ok"], second["value"]) == (True, False, None)
    shown = render(rows)
    assert "no port to be had" in shown
    assert "remark" in shown
