import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shedload.cgminer.values import (
    dash_list,
    duration,
    member,
    number,
    share_age,
    temperature,
    temperatures,
    word,
)

CAPTURES = Path(__file__).parents[2] / "captures"
S19 = json.loads((CAPTURES / "antminer/s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())["responses"]
S21 = json.loads((CAPTURES / "antminer/s21-uart-trans-2024-07.json").read_text())["responses"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (5, 5.0),
        (0, 0.0),
        (-3, -3.0),
        (110566.89, 110566.89),
        ("37603.30", 37603.30),
        ("1.2009939119E+13", 1.2009939119e13),
        ("86,344.1", 86344.1),
        ("1,234,567", 1234567.0),
        ("12.5K", 12500.0),
        ("262K", 262_000.0),
        ("483k", 483_000.0),
        ("1.5M", 1.5e6),
        ("3.2kW", 3200.0),
        ("58.94W", 58.94),
        ("3250 W", 3250.0),
        ("245.00V", 245.0),
        ("4052.00 RPM", 4052.0),
        ("2.732%", 2.732),
        ("290MHz", 290.0),
        (" 7 ", 7.0),
        (" 7 W ", 7.0),
        ("-5", -5.0),
    ],
)
def test_numbers_as_rigs_write_them(written, meant):
    assert number(written) == pytest.approx(meant, rel=1e-12)
    assert isinstance(number(written), float)


@pytest.mark.parametrize(
    "written",
    [
        None, "", " ", "nan", "-nan", "inf", math.nan, math.inf, -math.inf, 2**64 - 1, float(2**64), str(2**64 - 1),
        -(10**400), True, False, [], {}, "--", "unknow", "12,5", "1_000", "3 Speed", "20230803.11.REL", "0x10", "5 5",
        "9" * 5000 + "W", "1,23", b"5",
    ],
)  # fmt: skip
def test_what_is_no_number_is_unknown_and_never_zero(written):
    assert number(written) is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("73-45-64-65", [73, 45, 64, 65]),
        ("-5--6-12", [-5, -6, 12]),
        ("-5", [-5]),
        ("5--6", [5, -6]),
        ("-12--12--13--13", [-12, -12, -13, -13]),
        ("40.5-41", [40.5, 41]),
        ("0-0-0-0", [0, 0, 0, 0]),
        ([54, 54, "68", None], [54, 54, 68]),
        (44, [44]),
        ("", []),
        ("-", []),
        ("nan-45", []),
        ("a-b", []),
        ("5---6", []),
        ("5-", []),
        (None, []),
        ({}, []),
    ],
)
def test_dash_lists(written, meant):
    assert dash_list(written) == meant


@given(st.lists(st.integers(-60, 150), min_size=1, max_size=12))
def test_any_dash_list_comes_back(items):
    assert dash_list("-".join(map(str, items))) == items


def test_temperatures_leave_out_missing_sensors():
    assert temperatures("0-0-0-0") == []
    assert temperatures("78-0-69-255") == [78, 69]
    assert temperatures("-5--6-12") == [-5, -6, 12]
    assert temperatures([59, 0, 73]) == [59, 73]
    assert temperatures(-273) == []
    assert [temperature(value) for value in (-273, 0, 255, "0", None, "nan", 65, "-5", 1e9)] == [
        None, None, None, None, None, None, 65, -5, None,
    ]  # fmt: skip


def test_a_recorded_board_list_reads_as_numbers():
    row = S19["rpc:stats"]["STATS"][1]
    assert temperatures(row["temp_chip1"]) == [78, 50, 69, 70]
    assert temperatures(row["temp_pcb4"]) == []
    assert number(row["chain_rate1"]) == 37603.30
    assert number(row["chain_rate4"]) is None
    assert number(S21["rpc:stats"]["STATS"][1]["chain_power"]) == 3250.0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0:00:12", 12),
        ("00:57:33", 3453),
        ("1:02:03:04", 93_784),
        ("0:00:01.5", 1.5),
        (59129, 59129),
        ("735", 735),
        ("0", 0),
        (-1, None),
        ("", None),
        ("a:b:c", None),
        ("1:2", None),
        (None, None),
    ],
)
def test_durations(written, seconds):
    assert duration(written) == seconds


def test_last_share_time_in_its_three_forms():
    now = 1_755_615_295.0
    assert share_age(S19["rpc:pools"]["POOLS"][0]["Last Share Time"], now) == 3
    assert share_age(S19["rpc:devs"]["DEVS"][0]["Last Share Time"], now) == 3
    assert share_age(S19["rpc:pools"]["POOLS"][1]["Last Share Time"], now) is None
    assert share_age(975, 986.0) == 11  # Avalon: both count from its start
    assert share_age(now + 1, now) == 0
    assert share_age(now + 3600, now) is None
    assert share_age(now, None) is None
    assert share_age(0, now) is None


def test_misspellings_of_antminer_firmware():
    assert member(S19["rpc:pools"]["POOLS"][0], "Pool Stale%") == 0.0
    assert member(S19["rpc:devs"]["DEVS"][0], "Temperature") == 0.0
    assert member({"Pool Stale%": 1.0, "Pool Stale%%": 2.0}, "Pool Stale%") == 1.0
    assert member({}, "Temperature") is None
    assert word(S21["rpc:pools"]["POOLS"][1]["Status"]) == "Dead"
    assert [word(text) for text in ("Alive", " Alive ", "unknow", "", None, 5)] == [
        "Alive", "Alive", None, None, None, None,
    ]  # fmt: skip


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_readers_never_raise_and_never_give_nan(value):
    for reader in (number, temperature, duration, lambda item: share_age(item, 1e9)):
        result = reader(value)
        assert result is None or math.isfinite(result)
    assert all(map(math.isfinite, dash_list(value) + temperatures(value)))
    word(value)


@given(st.text("0123456789-.,:KWMe% n", max_size=30))
def test_texts_of_number_like_characters_never_raise(value):
    number(value)
    duration(value)
    assert all(map(math.isfinite, dash_list(value)))
