"""The quick path of `stats` sees the same hottest sensor as the tolerant reader, whatever the list looks like."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers._antminer_sample import hottest
from drivers._antminer_socket import sample_stats

CAPTURE = Path(__file__).parents[2] / "captures/antminer/s19pro-rpc-2022-12-with-s21-sysinfo.json"
REPLY = json.loads(CAPTURE.read_text())["responses"]["rpc:stats"]


def board_with(sensors: str):
    head, row = REPLY["STATS"]
    return sample_stats({**REPLY, "STATS": [head, {**row, "temp_pcb1": sensors, "temp_chip1": sensors}]}).boards[0]


@pytest.mark.parametrize(
    "sensors",
    ["73-45-64-65", "5-100-69-70", "100-99-9-70", "70-50-69-8", "9-8-7-6", "0-0-64-65", "-5--6--7-10", "71-72"],
)
def test_lists_of_every_length(sensors):
    board = board_with(sensors)
    assert board.pcb_temperature == board.chip_temperature == hottest(sensors)


@given(st.lists(st.integers(-40, 254), min_size=1, max_size=6))
def test_any_list_of_numbers(sensors):
    told = "-".join(map(str, sensors))
    assert board_with(told).pcb_temperature == hottest(told)


@pytest.mark.parametrize("state", [" ooo" * 38, " ooo" * 37 + " oox", "o" * 114, " xxx" * 38, " oooooo" * 19])
def test_working_chips_are_counted_however_they_are_grouped(state):
    head, row = REPLY["STATS"]
    board = sample_stats({**REPLY, "STATS": [head, {**row, "chain_acs1": state}]}).boards[0]
    assert board.chips_working == state.count("o")
