"""The web interface of stock firmware: pages beside recordings, and what a write does to a configuration."""

import hashlib
import json
import random
from dataclasses import replace
from urllib.parse import quote

import pytest

from simulator.antminer import Antminer, Configuration
from simulator.antminer_web import HttpReply, answer
from simulator.digest import FIELD
from simulator.faults import Fault
from simulator.models import HIGH, SLEEP
from simulator.rig import RigState
from tests.unit.simulator.test_antminer_socket import POOLS, S19_PRO, S21, antminer, asleep, shape


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def authorization(challenge: str, method: str, path: str, *, user="root", password="root", nc=1, **changes) -> str:
    given = {name.lower(): quoted or bare for name, quoted, bare in FIELD.findall(challenge)}
    fields = {"username": user, "realm": given["realm"], "nonce": given["nonce"], "uri": path, "nc": f"{nc:08x}",
              "cnonce": "abc", "qop": "auth"} | changes  # fmt: skip
    secret, request = md5(f"{user}:{fields['realm']}:{password}"), md5(f"{method}:{path}")
    fields["response"] = changes.get("response") or md5(
        ":".join((secret, fields["nonce"], fields["nc"], fields["cnonce"], "auth", request))
    )
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


def fetch(rig: Antminer, path: str, body: bytes | dict | None = None, now: float = 5.0, **login) -> HttpReply:
    method = "GET" if body is None else "POST"
    data = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    first = answer(rig, method, path, {}, data, now)
    if first.status != 401:
        return first
    headers = {"authorization": authorization(first.headers["WWW-Authenticate"], method, path, **login)}
    return answer(rig, method, path, headers, data, now)


def page(rig: Antminer, name: str, body: bytes | dict | None = None, now: float = 5.0):
    reply = fetch(rig, f"/cgi-bin/{name}.cgi", body, now)
    assert reply.status == 200, reply
    return json.loads(reply.body)


@pytest.mark.parametrize("name", ["get_system_info", "summary", "stats", "get_miner_conf", "get_network_info"])
def test_s21_pages_have_the_members_order_and_types_of_the_recording(name):
    recorded, simulated = S21[f"http:GET /cgi-bin/{name}.cgi"], page(antminer("S21"), name)
    assert shape(simulated) == shape(recorded)
    assert list(simulated) == list(recorded)
    for section in ("SUMMARY", "STATS"):
        if section in recorded:
            assert list(simulated[section][0]) == list(recorded[section][0])


def test_2025_system_info_has_the_recorded_members():
    simulated, recorded = page(antminer("S21+"), "get_system_info"), S19_PRO["http:GET /cgi-bin/get_system_info.cgi"]
    assert shape(simulated) == shape(recorded)
    assert simulated["system_filesystem_version"] == recorded["system_filesystem_version"]


def test_pools_page_has_the_fields_of_the_web():
    row = page(antminer(), "pools")["POOLS"][0]
    assert list(row) == ["index", "url", "user", "status", "priority", "getworks", "accepted", "rejected", "discarded",
                         "stale", "diff", "diff1", "diffa", "diffr", "diffs", "lsdiff", "lstime"]  # fmt: skip
    assert row["accepted"] > 0


def test_asleep_summary_and_stats_list_nothing():
    rig = asleep()
    assert page(rig, "summary", now=60.0)["SUMMARY"] == []
    assert page(rig, "stats", now=60.0)["STATS"] == []
    assert page(rig, "get_miner_conf", now=60.0)["bitmain-work-mode"] == "1"


def test_an_overheated_rig_says_so_with_fans_full():
    rig = antminer()
    rig.rig.set_inlet(0.0, 60.0)
    assert rig.told(600.0).state is RigState.OVERHEATED
    status = {row["type"]: row["status"] for row in page(rig, "summary", now=600.0)["SUMMARY"][0]["status"]}
    assert (status["temp"], status["fans"]) == ("e", "s")
    assert min(page(rig, "stats", now=600.0)["STATS"][0]["fan"]) > 5700
    assert b"ERROR_TEMP_TOO_HIGH" in fetch(rig, "/cgi-bin/log.cgi", now=600.0).body


def test_a_write_replaces_the_configuration_pools_and_all():
    rig = antminer()
    conf = page(rig, "get_miner_conf")
    assert page(rig, "set_miner_conf", conf | {"miner-mode": 1, "freq-level": "90"}) == {
        "stats": "success", "code": "M000", "msg": "OK!",
    }  # fmt: skip
    assert fetch(rig, "/cgi-bin/get_miner_conf.cgi", now=6.0).status == 500
    read = page(rig, "get_miner_conf", now=11.0)
    assert (read["pools"], read["bitmain-work-mode"], read["bitmain-freq-level"]) == (conf["pools"], "1", "90")
    page(rig, "set_miner_conf", {"miner-mode": 0}, now=20.0)
    read = page(rig, "get_miner_conf", now=30.0)
    assert {pool["url"] for pool in read["pools"]} == {""}
    assert rig.rig.read(200.0).state is RigState.IDLE


@pytest.mark.parametrize(
    ("model", "key"), [("S19 Pro", "miner-mode"), ("S21", "miner-mode"), ("S21+", "bitmain-work-mode")]
)
def test_each_firmware_listens_to_its_own_key_for_the_mode(model, key):
    other = {"miner-mode": "bitmain-work-mode", "bitmain-work-mode": "miner-mode"}[key]
    rig = antminer(model)
    conf = page(rig, "get_miner_conf")
    page(rig, "set_miner_conf", {**conf, "bitmain-work-mode": "0", other: 1})
    assert rig.configuration.mode == 0
    page(rig, "set_miner_conf", {**conf, "bitmain-work-mode": 1, "miner-mode": 1}, now=20.0)
    assert rig.configuration.mode == SLEEP
    assert rig.rig.power(60.0) < 100


def test_2025_firmware_refuses_half_a_configuration():
    reply = page(antminer("S21+"), "set_miner_conf", {"bitmain-work-mode": 1, "pools": []})
    assert (reply["stats"], reply["code"]) == ("error", "M001")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", {"miner-mode": 9}, {"freq-level": "999"}, {"pools": 5, "x": 1}])
def test_what_cannot_be_a_configuration_is_refused_and_changes_nothing(body):
    rig = antminer()
    before = rig.configuration
    assert page(rig, "set_miner_conf", body)["code"] == "M001"
    assert (rig.configuration, rig.writes) == (before, 0)


@pytest.mark.parametrize(("mode", "kept"), [("2", HIGH), (2, HIGH), ("", None)])
def test_modes_come_as_text_or_number(mode, kept):
    rig = antminer()
    reply = page(rig, "set_miner_conf", {"miner-mode": mode, "freq-level": ""})
    assert rig.configuration.mode == (kept or 0)
    assert (reply["code"] == "M000") == (kept is not None)


def test_firmware_that_wants_text_passes_a_number_over():
    rig = antminer()
    rig.firmware = replace(rig.firmware, text_modes=True)
    page(rig, "set_miner_conf", {"miner-mode": 1})
    assert rig.configuration.mode == 0
    page(rig, "set_miner_conf", {"miner-mode": "1"})
    assert rig.configuration.mode == SLEEP


def test_some_firmware_leaves_a_value_out():
    rig = antminer()
    rig.firmware = replace(rig.firmware, missing_fan_ctrl=True)
    body = fetch(rig, "/cgi-bin/get_miner_conf.cgi").body
    assert b'"bitmain-fan-ctrl" : ,' in body
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(body)


def test_the_fault_refuse_answers_success_and_changes_nothing():
    rig = antminer()
    rig.set_faults([Fault.REFUSE], 0.0)
    assert page(rig, "set_miner_conf", page(rig, "get_miner_conf") | {"miner-mode": 1})["stats"] == "success"
    assert (rig.configuration.mode, rig.writes) == (0, 1)
    assert rig.rig.power(60.0) > 3000


def test_the_fault_that_wipes_pools_does():
    rig = antminer()
    rig.set_faults([Fault.POWER_WRITE_WIPES_POOLS], 0.0)
    page(rig, "set_miner_conf", page(rig, "get_miner_conf") | {"freq-level": "90"})
    assert {pool.url for pool in rig.configuration.pools} == {""}
    assert rig.configuration.level == 90


def test_slow_boot_takes_ten_times_as_long():
    quick, slow = antminer(), antminer()
    slow.set_faults([Fault.SLOW_BOOT], 0.0)
    for rig in (quick, slow):
        rig.write(Configuration(POOLS), 5.0)
    assert quick.rig.read(90.0).state is RigState.RAMPING
    assert slow.rig.read(90.0).state is RigState.BOOTING
    assert slow.rig.read(5.0 + 550).state in {RigState.RAMPING, RigState.HASHING}


def test_light_password_and_reboot():
    rig = antminer()
    assert page(rig, "blink", {"blink": True}) == {"code": "B000"}
    assert page(rig, "get_blink_status") == {"blink": True}
    assert page(rig, "blink", {"blink": "false"}) == {"code": "B100"}
    assert page(rig, "passwd", {"curPwd": "no", "newPwd": "a", "confirmPwd": "a"})["code"] == "P002"
    assert page(rig, "passwd", {"curPwd": "root", "newPwd": "a", "confirmPwd": "b"})["code"] == "P003"
    assert fetch(rig, "/cgi-bin/reboot.cgi", b"").drop
    assert page(rig, "passwd", {"curPwd": "root", "newPwd": "a", "confirmPwd": "a"})["code"] == "P000"
    assert fetch(rig, "/cgi-bin/stats.cgi").status == 401
    assert fetch(rig, "/cgi-bin/stats.cgi", password="a").status == 200


@pytest.mark.parametrize("path", ["/kaonsu/v1/brief", "/cgi-bin/nothing.cgi", "/cgi-bin/luci"])
def test_pages_that_stock_firmware_does_not_have(path):
    assert fetch(antminer(), path).status == 404


def test_the_s17_takes_forms_and_sleeps_with_254():
    rig = antminer("S17")
    conf = page(rig, "get_miner_conf")
    assert conf["bitmain-work-mode"] == "0"
    assert "bitmain-pwth" not in conf
    pools = b"&".join(
        f"_ant_pool{i}url={quote(p['url'])}&_ant_pool{i}user={p['user']}&_ant_pool{i}pw={p['pass']}".encode()
        for i, p in enumerate(conf["pools"], 1)
    )
    assert fetch(rig, "/cgi-bin/set_miner_conf.cgi", pools + b"&_ant_work_mode=254").body == b"ok"
    read = page(rig, "get_miner_conf", now=60.0)
    assert (read["bitmain-work-mode"], read["pools"]) == ("254", conf["pools"])
    assert rig.rig.power(60.0) < 100
    fetch(rig, "/cgi-bin/set_miner_conf.cgi", pools + b"&_ant_work_mode=0", now=60.0)
    assert rig.rig.read(600.0).state is RigState.HASHING


def test_the_s9_has_no_sleep_and_hands_the_socket_through():
    rig = antminer("S9")
    assert "bitmain-work-mode" not in page(rig, "get_miner_conf")
    fetch(rig, "/cgi-bin/set_miner_conf.cgi", b"_ant_pool1url=stratum%2Btcp%3A%2F%2Fp%3A1&_ant_work_mode=254")
    assert rig.configuration.mode == 0
    assert rig.configuration.pools[0].url == "stratum+tcp://p:1"
    assert page(rig, "miner_summary", now=30.0)["STATUS"][0]["Code"] == 11
    assert b"}{" in fetch(rig, "/cgi-bin/miner_stats.cgi", now=30.0).body
    assert page(rig, "blink", b"action=startBlink") == {"isBlinking": True}
    assert page(rig, "blink", b"action=onPageLoaded") == {"isBlinking": True}


def test_digest_has_the_realm_and_checks_every_field():
    rig = antminer()
    path = "/cgi-bin/stats.cgi"
    challenge = answer(rig, "GET", path, {}, b"", 5.0).headers["WWW-Authenticate"]
    assert challenge.startswith('Digest realm="antMiner Configuration", nonce="')

    def status(**changes):
        fresh = answer(rig, "GET", path, {}, b"", 5.0).headers["WWW-Authenticate"]
        header = authorization(fresh, "GET", path, **changes)
        return answer(rig, "GET", path, {"authorization": header}, b"", 5.0).status

    assert status() == 200
    for wrong in (
        {"user": "admin"}, {"password": "toor"}, {"realm": "other"}, {"uri": "/"}, {"nonce": "0" * 32},
        {"response": "0" * 32}, {"cnonce": ""}, {"qop": "auth-int"}, {"nc": 0, "response": "f" * 32},
    ):  # fmt: skip
        assert status(**wrong) == 401, wrong
    assert answer(rig, "GET", path, {"authorization": "Basic cm9vdDpyb290"}, b"", 5.0).status == 401
    assert answer(rig, "GET", path, {"authorization": "Digest nonsense"}, b"", 5.0).status == 401


def test_a_nonce_serves_again_with_a_higher_count_but_never_twice_with_the_same():
    rig = antminer()
    path = "/cgi-bin/stats.cgi"
    challenge = answer(rig, "GET", path, {}, b"", 5.0).headers["WWW-Authenticate"]
    replies = [
        answer(rig, "GET", path, {"authorization": authorization(challenge, "GET", path, nc=nc)}, b"", 5.0)
        for nc in (1, 2, 2, 3)
    ]
    assert [reply.status for reply in replies] == [200, 200, 401, 200]
    assert "stale=true" in replies[2].headers["WWW-Authenticate"]


def test_the_gate_forgets_old_nonces():
    rig = antminer()
    path = "/cgi-bin/stats.cgi"
    first = answer(rig, "GET", path, {}, b"", 5.0).headers["WWW-Authenticate"]
    for _ in range(1000):
        answer(rig, "GET", path, {}, b"", 5.0)
    assert len(rig.gate._nonces) <= 256
    stale = answer(rig, "GET", path, {"authorization": authorization(first, "GET", path)}, b"", 5.0)
    assert "stale=true" in stale.headers["WWW-Authenticate"]


def test_unauthorized_takes_no_password():
    rig = antminer()
    rig.set_faults([Fault.UNAUTHORIZED], 0.0)
    assert fetch(rig, "/cgi-bin/stats.cgi").status == 401


def test_the_first_challenge_may_be_a_closed_connection():
    rig = antminer()
    rig.firmware = replace(rig.firmware, first_challenge_drop=True)
    drops = [answer(rig, "GET", "/", {}, b"", 5.0).drop for _ in range(4)]
    assert drops == [True, False, True, False]


def test_passwords_do_not_show():
    rig = antminer()
    random.seed(0)
    assert "'x'" not in repr(rig.configuration)
