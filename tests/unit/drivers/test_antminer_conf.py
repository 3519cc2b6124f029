"""Configurations as values: what a write changes, what it leaves, and what is noticed when something else changed."""

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers._antminer_conf import (
    Change,
    applied,
    disturbed,
    form_body,
    generation,
    json_body,
    level,
    mode,
    pools_evidence,
)
from drivers._antminer_sample import Generation
from shedload.device import PoolTarget

CAPTURES = Path(__file__).resolve().parents[2] / "captures" / "antminer"
RECORDED = json.loads((CAPTURES / "s21-uart-trans-2024-07.json").read_text())["responses"][
    "http:GET /cgi-bin/get_miner_conf.cgi"
]
CONTRACT = json.loads((CAPTURES / "s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())["expected"][
    "config_write_contract"
]

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
entries = st.fixed_dictionaries({"url": words}, optional={"user": words, "pass": words})
modes = st.sampled_from(["0", "1", "2", "3", 0, 1, 2, 3, "", None])
percents = st.sampled_from(["100", "95", "40", 100, 95, "", None])
confs = st.fixed_dictionaries(
    {
        "pools": st.lists(entries, min_size=1, max_size=3),
        "api-listen": st.booleans(),
        "api-groups": words,
        "api-allow": words,
        "bitmain-fan-ctrl": st.sampled_from([True, False, None, "true", "false", 0, 1]),
        "bitmain-fan-pwm": st.sampled_from(["100", "70", 100, ""]),
        "bitmain-freq": words,
        "bitmain-pwth": st.sampled_from(["0", "3", 0]),
        "bitmain-work-mode": modes,
        "bitmain-freq-level": percents,
    },
    optional={
        "bitmain-voltage": words,
        "bitmain-hashrate-percent": st.sampled_from(["100", 100]),
        "new-in-2027": words,
    },
)
old_confs = st.fixed_dictionaries(
    {"pools": st.lists(entries, min_size=1, max_size=3), "bitmain-fan-ctrl": st.booleans(), "bitmain-freq": words},
    optional={"bitmain-work-mode": st.sampled_from(["0", "254", 0, 254]), "bitmain-voltage": words},
)
targets = st.lists(st.builds(PoolTarget, words.filter(bool), words, words), min_size=1, max_size=3).map(tuple)
changes = st.one_of(
    st.builds(Change, mode=st.sampled_from(["sleep", "normal", "high", "low"])),
    st.builds(Change, level=st.integers(10, 120)),
    st.builds(Change, pools=targets),
    st.just(Change()),
)


def firmware(conf: dict, body: dict, *, mode_key: str = "miner-mode") -> dict:
    """What a rig keeps of a body: everything under the names that it reads back, types its own."""
    kept = {name: value for name, value in body.items() if name not in {"miner-mode", "freq-level"}}
    kept["bitmain-work-mode"] = str(body[mode_key])
    if "freq-level" in body:
        kept["bitmain-freq-level"] = str(body["freq-level"])
    return kept


def pool_list(conf: dict) -> list:
    found = [tuple(entry.get(name, "") for name in ("url", "user", "pass")) for entry in conf["pools"]]
    while found and not found[-1][0]:
        found.pop()
    return found


@given(confs, changes, st.booleans(), st.sampled_from(["miner-mode", "bitmain-work-mode"]))
def test_a_write_changes_what_it_says_and_nothing_else(conf, change, text_modes, mode_key):
    body = json_body(conf, change, text_modes=text_modes)
    after = firmware(conf, body, mode_key=mode_key)
    assert applied(after, change)
    assert disturbed(conf, after, change) == []
    for name, value in conf.items():  # everything is echoed as it was given
        if name not in {"pools", "bitmain-work-mode", "bitmain-freq-level"} and value is not None:
            assert body[name] == value
            assert type(body[name]) is type(value)
    if change.pools is None:
        assert pool_list(body) == pool_list(conf)
    if change.mode is None:
        assert mode(after) in {mode(conf), "normal"}
    if change.level is None:
        assert level(after) == level(conf)
    assert len(body["pools"]) >= 3
    assert all(set(entry) >= {"url", "user", "pass"} for entry in body["pools"])
    assert None not in body.values()


@given(confs, changes)
def test_putting_back_restores_the_configuration(conf, change):
    after = firmware(conf, json_body(conf, change))
    back = firmware(after, json_body(conf, Change()))
    assert disturbed(conf, back, Change()) == []


@given(confs, changes)
def test_writing_twice_is_skipped(conf, change):
    assert applied(firmware(conf, json_body(conf, change)), change)


@given(confs, st.builds(Change, mode=st.sampled_from(["sleep", "normal"])), st.data())
def test_everything_else_that_changes_is_noticed_by_name(conf, change, data):
    after = firmware(conf, json_body(conf, change))
    quiet = {"bitmain-work-mode", "pools"}
    loud = [name for name, value in conf.items() if name not in quiet and value not in {None, ""}]
    name = data.draw(st.sampled_from(loud))
    assert disturbed(conf, after | {name: "something else entirely, see"}, change) == [name]
    if pool_list(conf):
        assert "pools" in disturbed(conf, after | {"pools": []}, change)


@given(confs, changes)
def test_no_secret_in_what_is_told(conf, change):
    conf["pools"] = [{"url": "stratum+tcp://a:1", "user": "w", "pass": "S3CRET"}]
    after = firmware(conf, json_body(conf, change))
    assert "S3CRET" not in pools_evidence(conf, after) + repr(disturbed(conf, {}, change)) + repr(change)


@given(old_confs, st.one_of(st.just(Change()), st.builds(Change, pools=targets)))
def test_form_of_the_old_generations_holds_everything(conf, change):
    form = {k: v[0] for k, v in parse_qs(form_body(conf, change), keep_blank_values=True).items()}
    wanted = change.pools or [PoolTarget(*(e.get(n, "") for n in ("url", "user", "pass"))) for e in conf["pools"]]
    for place, pool in enumerate(wanted, start=1):
        assert form[f"_ant_pool{place}url"] == pool.url
        assert form[f"_ant_pool{place}user"] == pool.user
        assert form[f"_ant_pool{place}pw"] == pool.password
    assert "_ant_pool3url" in form
    assert form["_ant_freq"] == conf["bitmain-freq"]
    assert form["_ant_fan_customize_switch"] == ("true" if conf["bitmain-fan-ctrl"] else "false")
    assert ("_ant_work_mode" in form) == ("bitmain-work-mode" in conf)
    if "bitmain-work-mode" in conf:
        assert form["_ant_work_mode"] == str(conf["bitmain-work-mode"])


def test_generations():
    assert generation(RECORDED) is Generation.NEW
    assert generation({"pools": [], "bitmain-work-mode": "0"}) is Generation.X17
    assert generation({"pools": []}) is Generation.OLD
    assert mode({"pools": [], "bitmain-work-mode": "254"}) == "sleep"
    assert mode(RECORDED) == "normal"
    assert mode(RECORDED | {"bitmain-work-mode": 7}) == "7"
    assert level(RECORDED) == 100


def test_recorded_write_contract():
    given_conf = RECORDED | CONTRACT["given_get_miner_conf"]
    asleep = json_body(given_conf, Change(mode="sleep"))
    for name, value in CONTRACT["sleep_post_body_must_hold"].items():
        assert asleep[name] == value
        assert type(asleep[name]) is type(value)
    awake = json_body(firmware(given_conf, asleep), Change(mode="normal"))
    assert awake["miner-mode"] == CONTRACT["wake_post_body_must_hold"]["miner-mode"]
    assert awake["bitmain-fan-pwm"] == "70"


def test_modes_as_text_where_the_firmware_wants_them():
    body = json_body(RECORDED, Change(mode="sleep"), text_modes=True)
    assert body["miner-mode"] == body["bitmain-work-mode"] == "1"


def test_sleep_of_the_x17_is_254():
    conf = {"pools": [{"url": "a", "user": "b", "pass": "c"}], "bitmain-work-mode": "0"}
    assert "_ant_work_mode=254" in form_body(conf, Change(mode="sleep"))


@pytest.mark.parametrize("value", ["a&b=c", "100%", "x y", "ü"])
def test_form_values_are_encoded(value):
    conf = {"pools": [{"url": "stratum+tcp://p:1", "user": value, "pass": "x"}]}
    assert parse_qs(form_body(conf, Change()))["_ant_pool1user"] == [value]
