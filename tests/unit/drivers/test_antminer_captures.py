"""Recorded and described replies of stock Antminers, and what they must be read as."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers._antminer_judge import telemetry
from drivers._antminer_sample import Known, hottest
from drivers._antminer_socket import _odd, sample_stats
from drivers._antminer_web import board_plates, identity, sample_web_stats, status_faults, web_pools
from drivers._pools import pool_readings
from drivers.antminer import decode_stats
from shedload.device import Activity, FaultCode, PoolReading, PoolStatus, PowerSource
from shedload.errors import RigError
from shedload.nameplate import nameplate

CAPTURES = Path(__file__).resolve().parents[2] / "captures" / "antminer"
S19_PRO = json.loads((CAPTURES / "s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())
S21 = json.loads((CAPTURES / "s21-uart-trans-2024-07.json").read_text())

ASLEEP = {
    "STATS": [
        {"BMMiner": "1.0.0", "CompileTime": "Fri Dec 11 11:15:40 CST 2020", "Type": "Antminer S19"},
        {
            "STATS": 0, "ID": "BTM_SOC0", "Elapsed": 735, "GHS 5s": 0.0, "GHS av": 0.0, "rate_30m": 0.0, "Mode": 2,
            "miner_count": 2, "frequency": 675, "fan_num": 4, "fan1": 1560, "fan2": 1560, "fan3": 600, "fan4": 720,
            "temp2": 40, "temp2_2": 40, "temp_pcb2": "39-37-40-39", "temp_chip2": "39-37-40-39",
            "temp_pic2": "39-37-40-39", "total_rateideal": 63919.0, "rate_unit": "GH", "total_acn": 152,
            "chain_acn2": 76, "chain_acs2": " xx xx xx", "chain_hw2": 0, "chain_rate2": "0.00", "freq2": 675,
            "miner_version": "49.0.1.3", "miner_id": "803c2c867510481c",
        },
    ]
}  # fmt: skip
"""A sleeping S19 with a board missing, as reference text gives the recording."""


def stats(**changes) -> bytes:
    """The recorded S19 Pro reply with members changed (None: taken away)."""
    reply = json.loads(json.dumps(S19_PRO["responses"]["rpc:stats"]))
    data = reply["STATS"][1]
    for name, value in changes.items():
        if value is None:
            data.pop(name.replace("_5s", " 5s"), None)
        else:
            data[name.replace("GHS_", "GHS ")] = value
    return json.dumps(reply).encode() + b"\0"


def overheated(**more) -> bytes:
    """As the recording of an overheated S19 is described: no rate, every chip x, full fans, 93-97 °C."""
    boards = {}
    for n in (1, 2, 3):
        boards |= {f"chain_rate{n}": "0.00", f"chain_acs{n}": " xxx xxx", f"temp_chip{n}": "93-97-95-94"}
    fans = {f"fan{n}": 6000 for n in range(1, 5)}
    return stats(**{"GHS_5s": 0.0, "Elapsed": 3000, **boards, **fans, **more})


def asleep_reply() -> bytes:
    return json.dumps(ASLEEP).encode() + b"\0"


def test_recorded_s19_pro():
    told = decode_stats(stats())
    expected = S19_PRO["expected"]
    assert told.activity is Activity.HASHING
    assert told.hashrate == pytest.approx(expected["hashrate_th"] * 1e12)
    assert told.hashrate_nominal == expected["expected_hashrate_th"] * 1e12
    assert told.hashrate_average == pytest.approx(111_834.63e9)
    assert len(told.boards) == expected["hashboards"]
    assert len(told.fans) == expected["fans"]
    assert told.fans == (6000.0, 5880.0, 5040.0, 5040.0)
    assert [board.index for board in told.boards] == [1, 2, 3]
    assert [board.chips for board in told.boards] == [114] * 3
    assert [board.chips_working for board in told.boards] == [114] * 3
    assert [board.frequency for board in told.boards] == [525e6] * 3
    assert [board.chip_temperature for board in told.boards] == [78, 71, 69]
    assert [board.pcb_temperature for board in told.boards] == [73, 66, 64]
    assert (told.chip_temperature, told.board_temperature) == (78, 73)
    assert told.boards[1].hashrate == pytest.approx(35_536.22e9)
    assert told.hardware_errors == 183 + 195 + 184
    assert told.uptime == 50_474
    assert told.identity.model == "Antminer S19 Pro"
    assert told.identity.firmware == "Tue Dec  6 16:12:30 CST 2022"
    assert told.faults == told.repairs == ()
    assert told.power is told.power_source is told.mode is told.level is told.pools is told.accepted is None


def test_power_is_estimated_from_the_nameplate_where_the_firmware_gives_none():
    told = decode_stats(stats(), Known(mode="normal", nameplate=nameplate("Antminer S19 Pro")))
    assert told.power_source is PowerSource.ESTIMATED
    assert told.power == pytest.approx(110.56689 * 3250 / 110)


def test_recorded_s21_tells_its_power():
    told = decode_stats(json.dumps(S21["responses"]["rpc:stats"]).encode() + b"\0")
    assert (told.power, told.power_source) == (S21["expected"]["stats"]["chain_power_w"], PowerSource.REPORTED)
    assert told.fans == (6000.0, 5880.0, 5040.0, 5040.0)
    assert told.boards is None
    assert told.activity is Activity.HASHING


def test_recorded_s21_web_statistics():
    reply = S21["responses"]["http:GET /cgi-bin/stats.cgi"]
    told = telemetry(sample_web_stats(reply), Known(), None)
    assert told.hashrate == pytest.approx(206_901.8e9)
    assert told.hashrate_nominal == 200e12
    assert told.uptime == 8152
    assert told.fans == (7000.0,) * 4
    assert [board.index for board in told.boards] == [0, 1, 2]
    assert told.boards[0].serial == "SMTTYRHBDJAAI019D"
    assert told.boards[0].hashrate_nominal == 67_525e9
    assert told.boards[0].chips == 108
    assert told.boards[0].chips_working is None
    assert told.boards[0].chip_temperature == max(S21["expected"]["web"]["chain0_temp_chip"])
    assert told.chip_temperature == 73
    assert told.hardware_errors == 2
    assert told.identity.model == "Antminer S21"
    plates = board_plates(reply)
    assert [plate.serial for plate in plates] == [board.serial for board in told.boards]


def test_serials_from_the_web_join_the_boards_of_the_socket():
    known = Known(plates=board_plates(S21["responses"]["http:GET /cgi-bin/stats.cgi"]))
    told = decode_stats(stats(), known)
    assert [board.serial for board in told.boards] == ["SMTTYRHBDJAAI019D", "SMTTYRHBDJAAI019N", "SMTTYRHBDJAAI019S"]
    assert told.boards[0].hashrate_nominal == 67_525e9
    assert decode_stats(asleep_reply(), known).boards[0].serial is None  # one board is not three


def test_recorded_pools():
    pools = pool_readings(S19_PRO["responses"]["rpc:pools"]["POOLS"])
    assert [pool.index for pool in pools] == [0, 1, 2]
    assert pools[0] == PoolReading(
        0,
        "stratum+tcp://btc.global.luxor.tech:700",
        "farm.rig14",
        PoolStatus.ALIVE,
        True,
        0,
        4057,
        11,
        1,
        1305083904.0,
        1,
        0,
    )
    told = decode_stats(stats(), Known(), pools)
    assert (told.accepted, told.rejected, told.stale) == (4057, 11, 1)
    only = pool_readings(S21["responses"]["rpc:pools"]["POOLS"])
    assert [pool.index for pool in only] == [0]  # the two empty places, status "Deed", are no pools
    assert pool_readings([{"POOL": 1, "URL": "x", "Status": "Deed"}])[0].status is PoolStatus.DEAD


def test_pools_of_the_web():
    row = {"index": 0, "url": "stratum+tcp://a:1", "user": "w", "status": "Alive", "priority": 0, "accepted": 7,
           "rejected": 1, "stale": 0, "diffa": 65536}  # fmt: skip
    assert pool_readings(web_pools({"POOLS": [row]})) == (
        PoolReading(0, "stratum+tcp://a:1", "w", PoolStatus.ALIVE, None, 0, 7, 1, 0, 65536.0),
    )


def test_recorded_identity():
    found = identity(S21["responses"]["http:GET /cgi-bin/get_system_info.cgi"])
    assert found.model == S21["expected"]["web"]["minertype"]
    assert found.serial == S21["expected"]["web"]["serinum"]
    assert found.mac == "02:50:53:09:da:d9"
    assert found.make == "Bitmain"


def test_recorded_sleeper_is_asleep_when_the_mode_says_so():
    told = decode_stats(asleep_reply(), Known(mode="sleep", nameplate=nameplate("Antminer S19")))
    assert told.activity is Activity.ASLEEP
    assert (told.power, told.power_source) == (25, PowerSource.ESTIMATED)
    assert told.hashrate == 0
    assert told.hashrate_nominal == pytest.approx(63.919e12)
    assert [board.index for board in told.boards] == [2]
    assert told.boards[0].chips_working == 0
    assert told.fans == (1560.0, 1560.0, 600.0, 720.0)
    assert told.chip_temperature == 40


def test_recorded_sleeper_is_asleep_by_its_signs_when_the_mode_is_not_known():
    told = decode_stats(asleep_reply())
    assert told.activity is Activity.ASLEEP
    assert told.power is None  # the mode does not say so: no watts are made up


def test_slow_cool_rig_in_normal_mode_is_ramping_while_young_and_idle_later():
    assert decode_stats(asleep_reply(), Known(mode="normal")).activity is Activity.RAMPING
    old = json.loads(json.dumps(ASLEEP))
    old["STATS"][1]["Elapsed"] = 7200
    told = decode_stats(json.dumps(old).encode() + b"\0", Known(mode="normal", nameplate=nameplate("S19")))
    assert told.activity is Activity.IDLE
    assert told.power is None
    assert [fault.code for fault in told.faults] == [FaultCode.BOARD]  # 1 of 3


@pytest.mark.parametrize("mode", ["normal", None])
def test_overheated_rig_is_idle_and_says_why(mode):
    told = decode_stats(overheated(), Known(mode=mode))
    assert told.activity is Activity.IDLE
    assert told.chip_temperature == 97
    assert FaultCode.OVERHEAT in [fault.code for fault in told.faults]
    assert told.hashrate == 0


def test_hot_rig_is_not_taken_for_ramping_although_it_is_young():
    assert decode_stats(overheated(Elapsed=60), Known(mode="normal")).activity is Activity.IDLE


def test_ramping_while_young_and_below_nominal():
    assert decode_stats(stats(GHS_5s=60_000.0, Elapsed=300)).activity is Activity.RAMPING
    assert decode_stats(stats(GHS_5s=60_000.0, Elapsed=3000)).activity is Activity.HASHING
    assert decode_stats(stats(GHS_5s=109_000.0, Elapsed=300)).activity is Activity.HASHING


def test_no_pool_alive_is_idle():
    dead = (PoolReading(0, "stratum+tcp://a:1", "w", PoolStatus.DEAD),)
    raw = stats(GHS_5s=0.0, Elapsed=100)
    assert decode_stats(raw, Known(mode="normal"), dead).activity is Activity.IDLE


def test_x17_asleep_by_mode_254():
    changes = {f"fan{n}": 0 for n in range(1, 5)} | {"Mode": 254, "fan_num": 0, "GHS_5s": 0}
    told = decode_stats(stats(**changes))
    assert told.activity is Activity.ASLEEP
    assert told.mode == "sleep"
    assert told.fans is None  # it sees no fans: not four that stand still
    assert told.power == 25


def test_mode_254_means_nothing_else():
    assert decode_stats(stats(Mode=2)).activity is Activity.HASHING


def test_glued_reply_of_the_s9_class_with_chains_from_six_and_fans_from_three():
    raw = (
        b'{"STATUS":[{"STATUS":"S"}],"STATS":[{"BMMiner":"2.0.0","Type":"Antminer S9"}{"STATS":0,"ID":"BC50","Elapsed":'
        b'1000,"GHS 5s":"13,651.82","GHS av":13600.1,"fan_num":2,"fan1":0,"fan2":0,"fan3":5880,"fan4":0,"fan5":0,"fan6"'
        b':4320,"temp6":61,"temp2_6":76,"temp7":63,"temp2_7":78,"temp8":0,"temp2_8":0,"total_rateideal":13501.0,'
        b'"chain_acn6":63,"chain_acn7":63,"chain_acn8":63,"chain_acs6":" oooooooo","chain_acs7":" ooooooox",'
        b'"chain_acs8":"","chain_hw6":1,"chain_hw7":2,"chain_hw8":3,"chain_rate6":"4556.71","chain_rate7":"4551.0",'
        b'"chain_rate8":"","freq_avg6":637.61,"freq_avg7":637.61,"freq_avg8":0.0}],"id":1}\0'
    )
    told = decode_stats(raw, Known(mode=None))
    assert told.repairs == ("glued_objects",)
    assert told.hashrate == pytest.approx(13_651.82e9)
    assert [board.index for board in told.boards] == [6, 7, 8]
    assert told.fans == (5880.0, 4320.0)
    assert told.boards[0].frequency == pytest.approx(637.61e6)
    assert told.boards[0].chip_temperature == 76
    assert told.boards[2].hashrate is None  # empty text is not zero
    assert told.boards[2].chips_working is None
    assert told.boards[2].chip_temperature is None  # zero means no sensor
    assert told.hardware_errors == 6


def test_cold_rig_has_negative_temperatures():
    cold = {f"temp_{kind}{n}": "-5--6-12--7" for kind in ("pcb", "chip") for n in (1, 2, 3)}
    told = decode_stats(stats(**cold))
    assert told.chip_temperature == told.board_temperature == 12
    assert hottest("-5--6--12--7") == -5
    assert hottest("0-0-0-0") is None
    assert hottest("") is None
    assert hottest(None) is None


def test_broken_fan_and_lost_chips_are_faults():
    told = decode_stats(stats(fan2=0, chain_acs1=" ooo oox -oo" * 12))
    assert {fault.code for fault in told.faults} == {FaultCode.FAN, FaultCode.CHIP}
    assert told.fans[1] == 0
    chip = next(fault for fault in told.faults if fault.code is FaultCode.CHIP)
    assert chip.board == 1


def test_missing_board_is_a_fault():
    told = decode_stats(stats(chain_acn2=0), Known(nameplate=nameplate("S19 Pro")))
    assert [fault.code for fault in told.faults] == [FaultCode.BOARD]
    assert [board.index for board in told.boards] == [1, 3]


def test_slip_of_the_unit_is_named():
    told = decode_stats(stats(GHS_5s=110_566_890.0))
    assert FaultCode.HASHRATE in [fault.code for fault in told.faults]


def test_missing_stays_missing():
    told = decode_stats(b'{"STATS":[{"Type":"Antminer S19"},{"Elapsed":5}]}\0')
    assert told.uptime == 5
    for name in ("activity", "hashrate", "hashrate_average", "hashrate_nominal", "power", "fans", "boards", "pools",
                 "hardware_errors", "chip_temperature", "accepted"):  # fmt: skip
        assert getattr(told, name) is None, name


def test_empty_statistics_of_a_rig_that_does_not_mine():
    raw = b'{"STATUS":[{"STATUS":"S"}],"STATS":[],"id":1}\0'
    assert decode_stats(raw, Known(mode="sleep")).activity is Activity.ASLEEP
    assert decode_stats(raw, Known(mode="normal")).activity is Activity.RAMPING
    assert decode_stats(raw).hashrate is None
    web = sample_web_stats({"STATS": [], "INFO": {"type": "Antminer S21"}})
    assert telemetry(web, Known(mode="sleep"), None).activity is Activity.ASLEEP


def test_status_list_of_the_web():
    summary = json.loads(json.dumps(S21["responses"]["http:GET /cgi-bin/summary.cgi"]))
    assert status_faults(summary) == ()
    summary["SUMMARY"][0]["status"][2] |= {"status": "e", "code": 7, "msg": "fan lost"}
    (fault,) = status_faults(summary)
    assert (fault.code, fault.detail, fault.vendor_code) == (FaultCode.FAN, "fans: fan lost", "7")
    assert status_faults({"SUMMARY": []}) == ()


def test_low_rate_is_no_fault_of_a_sleeper():
    summary = {"SUMMARY": [{"status": [{"type": "rate", "status": "e", "code": 1, "msg": "low"}]}]}
    known = Known(mode="sleep", faults=status_faults(summary))
    assert decode_stats(asleep_reply(), known).faults == ()
    assert decode_stats(stats(), Known(mode="normal", faults=known.faults)).faults == known.faults


def test_both_ways_of_reading_agree_on_the_recording():
    head, data = S19_PRO["responses"]["rpc:stats"]["STATS"]
    assert telemetry(_odd(head, data), Known(), None) == decode_stats(stats())


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=12),
    st.sampled_from(["", "nan", "inf", "-5--6", "1,2", "x" * 200, '"],["', "1e400"]),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(S19_PRO["responses"]["rpc:stats"]["STATS"][1])), values, max_size=12))
def test_no_value_in_any_member_breaks_the_reading(changes):
    head, data = S19_PRO["responses"]["rpc:stats"]["STATS"]
    told = telemetry(sample_stats({"STATS": [head, data | changes]}), Known(nameplate=nameplate("S19 Pro")), None)
    for rate in (told.hashrate, *(board.hashrate for board in told.boards or ())):
        assert rate is None or rate == rate
    for board in told.boards or ():
        assert board.chips is None or isinstance(board.chips, int)
        assert board.chip_temperature is None or isinstance(board.chip_temperature, float)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(raw):
    with contextlib.suppress(RigError):
        decode_stats(raw)


@given(st.integers(0, 1852))
def test_truncated_anywhere_is_read_or_an_error_of_the_tree(length):
    try:
        told = decode_stats(stats()[:length])
    except RigError:
        return
    assert told.repairs


@given(values, values, values)
def test_no_web_value_breaks_the_reading(first, second, third):
    row = {"rate_5s": first, "chain": [{"index": second, "temp_chip": [third], "rate_real": first}], "fan": [second],
           "fan_num": third, "elapsed": first, "rate_unit": second}  # fmt: skip
    telemetry(sample_web_stats({"STATS": [row], "INFO": first}), Known(), None)
    status_faults({"SUMMARY": [{"status": [{"type": first, "status": second, "msg": third, "code": first}]}]})
    board_plates({"STATS": [row]})


@pytest.mark.parametrize("told", [5, ["x"], {}, None, "A" * 5000])
def test_a_model_that_is_no_name_is_bounded_or_unknown(told):
    reply = {**S19_PRO["responses"]["rpc:stats"]}
    reply["STATS"] = [{**reply["STATS"][0], "Type": told}, reply["STATS"][1]]
    found = decode_stats(json.dumps(reply).encode() + b"\0")
    assert found.identity.model is None or len(found.identity.model) <= 100
    assert found.hashrate is not None
