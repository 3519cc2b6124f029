"""What rigs call themselves, written where spreadsheets and inventories read it."""

import csv

from controller.cli.scan import RESULT_COLUMNS, _row, _write_csv, _write_inventory
from controller.discover import Found
from controller.inventory import COLUMNS
from shedload.device import Identity

EVIL = ('=HYPERLINK("http://evil")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\x1b[2J\r\n=1")


def rigs():
    return [
        Found(f"10.0.0.{n}", "antminer", Identity(text, text, text, text, text, text), text)
        for n, text in enumerate(EVIL, start=1)
    ]


def test_no_cell_of_a_result_is_a_formula(tmp_path):
    path = tmp_path / "found.csv"
    _write_csv(path, RESULT_COLUMNS, [_row(item) for item in rigs()])
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + len(EVIL)
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
        assert cell.isprintable()


def test_an_inventory_takes_no_formula_and_no_mac_that_is_none(tmp_path):
    path = tmp_path / "slots.csv"
    good = Found("10.0.0.99", "antminer", Identity("Bitmain", "Antminer S19j Pro+", "x", "SN1", "02:aa:bb:cc:dd:ee"))
    _write_inventory(path, [*rigs(), good], (4028, 80), "", starter=False)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    assert [row["mac"] for row in rows] == [""] * len(EVIL) + ["02:aa:bb:cc:dd:ee"]
    assert rows[-1]["model"] == "Antminer S19j Pro+"
