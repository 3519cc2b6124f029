"""The rows of the benchmark that compare with pyasic can be measured, and every field that it fills is filled here."""

import importlib.util

import pytest

from tests.bench.full import measure_full
from tests.support.peers import missing

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("bench")]


def test_whole_readings_fill_what_pyasic_fills():
    if importlib.util.find_spec("pyasic") is None:
        missing("pyasic is not installed")
    rows = measure_full(1, 0.2, per_model=1)
    if rows[0].value is None:
        missing(rows[0].note)
    for row in rows:
        assert row.value > 0
        assert row.ratio == pytest.approx(row.value / row.reference_value)
        assert "empty here: none" in row.note
