"""The CGMiner socket of stock firmware, member by member beside recorded replies."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.antminer import Antminer, Configuration, Layer, MachineIdentity, PoolEntry
from simulator.antminer_socket import answer
from simulator.faults import Fault
from simulator.firmware import FIRMWARES
from simulator.models import MODELS, SLEEP
from simulator.rig import Rig

CAPTURES = Path(__file__).resolve().parents[2] / "captures" / "antminer"
S19_PRO = json.loads((CAPTURES / "s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())["responses"]
S21 = json.loads((CAPTURES / "s21-uart-trans-2024-07.json").read_text())["responses"]
POOLS = (PoolEntry("stratum+tcp://pool.example:3333", "farm.rig1", "x"),)


def antminer(model: str = "S19 Pro", **more) -> Antminer:
    chosen = MODELS[model]
    rng = random.Random(3)
    identity = MachineIdentity("SMTTYRHBDJAAI0190", "02:51:7F:00:00:05", "127.0.0.5")
    return Antminer(
        Rig(chosen, rng), FIRMWARES[chosen.firmware], identity, rng, pools=POOLS, epoch=1_750_000_000.0, **more
    )  # fmt: skip


def ask(rig: Antminer, request: str | dict, now: float = 5.0) -> dict:
    data = answer(rig, (request if isinstance(request, str) else json.dumps(request)).encode(), now)
    assert data.endswith(b"\0")
    assert data.count(b"\0") == 1
    return json.loads(data[:-1])


def asleep(model: str = "S19 Pro") -> Antminer:
    rig = antminer(model)
    rig.write(Configuration(POOLS, mode=SLEEP), 5.0)
    return rig


def shape(value):
    """Member names with the JSON type of each value; numbers of both kinds count as one where firmware varies."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__


@pytest.mark.parametrize("command", ["version", "summary", "stats", "devs", "pools"])
def test_s19_pro_has_the_members_and_types_of_the_recorded_reply(command):
    rig = antminer("S19 Pro")
    rig.write(Configuration(POOLS * 3), 0.0)
    recorded, simulated = shape(S19_PRO[f"rpc:{command}"]), shape(ask(rig, {"command": command}, 1000.0))
    if command == "pools":
        for row in (*recorded["POOLS"], *simulated["POOLS"]):
            row.pop("Diff")  # text in both; the recorded second pool was used once
    if command == "stats":
        # this generation writes fans before boards; the recording was sorted by its author
        assert simulated["STATS"][1].keys() == recorded["STATS"][1].keys()
    assert simulated == recorded


@pytest.mark.parametrize("command", ["version", "summary", "devs", "pools", "config"])
def test_s21_has_the_members_types_and_order_of_the_recorded_reply(command):
    recorded, simulated = S21[f"rpc:{command}"], ask(antminer("S21"), {"command": command})
    assert shape(simulated) == shape(recorded)
    section = next(key for key in recorded if key not in {"STATUS", "id"})
    ours, theirs = list(simulated[section][0]), list(recorded[section][0])
    if command == "devs":
        ours, theirs = sorted(ours), sorted(theirs)
    if command == "version":
        assert simulated == {**recorded, "STATUS": simulated["STATUS"]}
    assert ours == theirs


def test_s21_stats_holds_all_that_the_trimmed_recording_has():
    recorded, simulated = S21["rpc:stats"]["STATS"], ask(antminer("S21"), "stats")["STATS"]
    assert simulated[0] == recorded[0]
    assert recorded[1].keys() <= simulated[1].keys()
    assert simulated[1]["chain_power"].endswith(" W")


def test_numbers_agree_with_the_machine():
    rig = antminer()
    truth = rig.rig.read(5.0)
    row = ask(rig, "stats")["STATS"][1]
    assert row["GHS 5s"] == pytest.approx(truth.hashrate / 1e9, abs=0.01)
    assert sum(float(row[f"chain_rate{n}"]) for n in (1, 2, 3)) == pytest.approx(row["GHS 5s"], abs=0.1)
    assert row["total_rateideal"] == 110000.0
    assert row["chain_acs1"].count("o") == 114
    assert max(int(t) for t in row["temp_chip1"].split("-")) == round(truth.chip_temperature)
    pool = ask(rig, "pools")["POOLS"][0]
    assert pool["Accepted"] * 262144 * 2**32 == pytest.approx(truth.hashes, rel=0.01)


def test_asleep_it_looks_like_the_recorded_sleeper():
    row = ask(asleep(), "stats", 200.0)["STATS"][1]
    assert row["GHS 5s"] < 0.01
    assert row["chain_rate1"] == "0.00"
    assert set(row["chain_acs1"]) == {" ", "x"}
    assert row["Mode"] == 2
    assert max(row["fan1"], row["fan2"]) <= 1560
    assert row["total_rateideal"] == 110000.0


@pytest.mark.parametrize(
    ("request_text", "code", "text"),
    [
        ('{"command":"nonsense"}', 14, "Invalid command"),
        ("nonsense", 14, "Invalid command"),
        ('{"command":"summary+pools+stats"}', 14, "Invalid command"),
        ('{"command":', 23, "Invalid JSON"),
        ('{"cmd":"summary"}', 24, "Missing JSON 'command'"),
        ('{"command":7}', 24, "Missing JSON 'command'"),
        ('{"command":"restart"}', 45, "Access denied to 'restart' command"),
        ('{"command":"addpool","parameter":"a,b,c"}', 45, "Access denied to 'addpool' command"),
        ('{"command":"config"}', 45, "Access denied to 'config' command"),
    ],
)
def test_refusals_carry_the_codes_of_cgminer(request_text, code, text):
    reply = ask(antminer(), request_text)
    assert (reply["STATUS"][0]["STATUS"], reply["STATUS"][0]["Code"], reply["STATUS"][0]["Msg"]) == ("E", code, text)
    assert reply["id"] == 1


@pytest.mark.parametrize(
    "request_text", ["summary", '{"command":"summary"}', "summary\n", "summary|x", '{"command":"summary"}\0']
)
def test_both_request_forms_and_stray_endings_are_taken(request_text):
    assert ask(antminer(), request_text)["STATUS"][0]["Code"] == 11


def test_new_api_works_at_the_top_level_only_and_on_new_firmware_only():
    assert "chain" in ask(antminer("S21"), {"command": "stats", "new_api": True})["STATS"][0]
    assert "chain_acn1" in ask(antminer("S21"), {"command": "stats", "parameter": {"new_api": True}})["STATS"][1]
    assert "chain_acn1" in ask(antminer("S19 Pro"), {"command": "stats", "new_api": True})["STATS"][1]


def test_total_mh_of_an_s21_is_written_scientifically():
    raw = answer(antminer("S21"), b"summary", 5.0)
    number = raw.split(b'"Total MH":')[1].split(b",")[0]
    assert b"E+1" in number
    assert float(number) > 1e9


def test_the_s9_glues_its_stats_and_takes_joined_commands():
    rig = antminer("S9")
    raw = answer(rig, b'{"command":"stats"}', 5.0)
    assert raw.count(b"}{") == 1
    row = json.loads(raw.rstrip(b"\0").replace(b"}{", b"},{"))["STATS"][1]
    assert [row[f"chain_acn{n}"] for n in (5, 6, 7, 8, 9)] == [0, 63, 63, 63, 0]
    assert isinstance(row["GHS 5s"], str)
    assert [row[f"fan{n}"] > 0 for n in range(1, 9)] == [False, False, True, False, False, True, False, False]
    joined = ask(rig, {"command": "summary+pools+nonsense"})
    assert joined["summary"][0]["STATUS"][0]["Code"] == 11
    assert len(joined["pools"]) == 1
    assert joined["nonsense"][0]["STATUS"][0]["Code"] == 14


def test_the_s17_sleeps_with_mode_254_and_zeros():
    raw = answer(asleep("S17"), b"stats", 100.0).rstrip(b"\0").replace(b"}{", b"},{")
    row = json.loads(raw)["STATS"][1]
    assert (row["Mode"], row["fan_num"], row["GHS 5s"], row["chain_acn1"]) == (254, 0, 0, 0)


def test_a_liar_reports_full_rate_while_shares_and_power_tell_the_truth():
    rig = antminer("S21")
    rig.set_faults([Fault.LIE], 0.0)
    before, after = ask(rig, "summary", 100.0)["SUMMARY"][0], ask(rig, "summary", 3700.0)["SUMMARY"][0]
    assert after["GHS 5s"] == pytest.approx(200_000, rel=0.02)
    found = (after["Accepted"] - before["Accepted"]) * 262144 * 2**32 / 3600
    assert found == pytest.approx(0.35 * 200e12, rel=0.05)
    assert rig.rig.power(3700.0) < 0.45 * 3500
    assert float(ask(rig, "stats", 3700.0)["STATS"][1]["chain_power"].split()[0]) > 3300
    rig.set_faults([], 3700.0)
    assert rig.rig.read(3800.0).hashrate == pytest.approx(200e12, rel=0.05)


def test_one_that_only_says_it_sleeps_goes_on_drawing():
    rig = antminer()
    rig.set_faults([Fault.LIE_ASLEEP], 0.0)
    rig.write(Configuration(POOLS, mode=SLEEP), 5.0)
    assert ask(rig, "stats", 60.0)["STATS"][1]["GHS 5s"] == 0
    assert rig.rig.power(60.0) > 3000


def test_unauthorized_denies_every_command():
    rig = antminer()
    rig.set_faults([Fault.UNAUTHORIZED], 0.0)
    assert ask(rig, "summary")["STATUS"][0]["Code"] == 45


def test_a_write_and_a_reboot_say_what_goes_away():
    rig = antminer()
    seen = []
    rig.on_outage = lambda layer, seconds: seen.append((layer, seconds))
    rig.write(Configuration(POOLS), 5.0)
    rig.reboot(50.0)
    assert [layer for layer, _ in seen] == [Layer.SOCKET, Layer.BOARD]
    assert all(seconds > 0 for _, seconds in seen)
    assert rig.rig.read(60.0).elapsed == 0


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer_that_is_json(request_bytes):
    data = answer(antminer(), request_bytes, 5.0)
    assert json.loads(data.rstrip(b"\0"))["id"] == 1


def test_cold_air_gives_negative_temperatures_in_the_dash_lists():
    rig = asleep()
    rig.rig.set_inlet(10.0, -15.0)
    assert ask(rig, "stats", 2000.0)["STATS"][1]["temp_pcb1"].startswith("-1")
