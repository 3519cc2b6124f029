"""Each member of each reply, replaced by every odd value in turn: a reading or a RigError comes of it, nothing else."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers import _antminer_conf as conf
from drivers import _antminer_web as web
from drivers._antminer_judge import telemetry
from drivers._antminer_sample import Known
from drivers._antminer_socket import has_boards, sample_stats
from drivers._cgminer_map import identity as cgminer_identity
from drivers._cgminer_map import telemetry as cgminer_telemetry
from drivers._fields import LONGEST_TEXT
from drivers._pools import pool_readings
from shedload.cgminer.parse import Reply
from shedload.cgminer.repair import Repaired
from shedload.errors import RigError
from shedload.nameplate import nameplate

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, "", "x", "nan", "inf", "1e400",
    "-5--6-12", "-" * 3000, "9" * 5000, "1,000.5", "12.5K", "\N{ARABIC-INDIC DIGIT THREE}", "\x00\x1b[2J\r\n", "254",
    "1_000", "0:00:12", "99:99:99", [], {}, [[]], [{}], [1, "x", None], {"a": 1}, [{"status": {}, "type": []}],
)  # fmt: skip

CAPTURES = Path(__file__).resolve().parents[2] / "captures" / "antminer"
STATS = json.loads((CAPTURES / "s19pro-rpc-2022-12-with-s21-sysinfo.json").read_text())["responses"]["rpc:stats"]
OK = [{"STATUS": "S", "When": 1, "Code": 7, "Msg": "x", "Description": "y"}]
POOL = {
    "POOL": 0, "URL": "stratum+tcp://p:1", "User": "u", "Status": "Alive", "Stratum Active": True, "Priority": 0,
    "Accepted": 10, "Rejected": 1, "Stale": 0, "Difficulty Accepted": 1e6, "Get Failures": 0, "Remote Failures": 0,
}  # fmt: skip
DEVICE = {"ASC": 0, "Status": "Alive", "Temperature": 50, "MHS 5s": 5.0, "Hardware Errors": 0, "No Device": False}
SUMMARY = {"Elapsed": 5, "MHS 5s": 1e8, "MHS av": 1e8, "Accepted": 5, "Rejected": 0, "Stale": 0, "Hardware Errors": 0}
BOARD = {
    "index": 0, "freq_avg": 600, "rate_ideal": 36000, "rate_real": 36000, "asic_num": 100, "temp_chip": [60, 60],
    "temp_pcb": [50, 50], "hw": 0, "sn": "SN",
}  # fmt: skip
WEB_STATS = {
    "INFO": {"type": "Antminer S19 Pro", "CompileTime": "x"},
    "STATS": [
        {
            "elapsed": 5000, "rate_5s": 1.1e5, "rate_avg": 1.1e5, "rate_ideal": 1.1e5, "rate_unit": "GH/s",
            "fan_num": 4, "fan": [6000] * 4, "chain": [BOARD], "psu": {"status": "ok"},
        }
    ],
}  # fmt: skip
CONF = {
    "pools": [{"url": "u", "user": "x", "pass": "p"}], "bitmain-pwth": "1", "bitmain-work-mode": "0",
    "bitmain-freq-level": "100", "bitmain-fan-ctrl": False, "miner-mode": 0, "freq-level": "100",
}  # fmt: skip
KNOWN = Known(nameplate=nameplate("Antminer S19 Pro"), mode="normal")


def reply(value: Any) -> Reply:
    return Reply.of(Repaired(value)).raise_for_status()


def read_conf(told: Any) -> None:
    for change in (conf.Change(mode="sleep"), conf.Change(level=90)):
        conf.applied(told, change)
        conf.disturbed(CONF, told, change)
        conf.form_body(told, change)
        if conf.generation(told) is conf.Generation.NEW:
            json.dumps(conf.json_body(told, change))
    conf.pools_evidence(CONF, told)


READERS = {
    "stats": (STATS, lambda told: (has_boards(told), telemetry(sample_stats(told), KNOWN, None))),
    "web stats": (
        WEB_STATS,
        lambda told: (
            telemetry(web.sample_web_stats(told), KNOWN, None),
            web.board_plates(told),
            web.power_supply_faults(told),
        ),
    ),
    "pools": ({"STATUS": OK, "POOLS": [POOL]}, lambda told: pool_readings(reply(told).rows("POOLS"))),
    "web pools": (
        {"POOLS": [{"index": 0, "url": "u", "user": "x", "status": "Alive", "priority": 0, "accepted": 5, "diffa": 9}]},
        lambda told: pool_readings(web.web_pools(told)),
    ),
    "summary.cgi": (
        {"SUMMARY": [{"status": [{"type": "rate", "status": "e", "code": 0, "msg": "m"}]}]},
        web.status_faults,
    ),
    "system info": (
        {"minertype": "Antminer S19 (x)", "macaddr": "02:AA", "serinum": "S", "hostname": "h"},
        web.identity,
    ),
    "configuration": (CONF, lambda told: read_conf(told) if isinstance(told, dict) else None),
    "devs": (
        {"STATUS": OK, "DEVS": [DEVICE]},
        lambda told: cgminer_telemetry(reply({"STATUS": OK, "SUMMARY": [SUMMARY]}), None, reply(told), None),
    ),
    "summary": ({"STATUS": OK, "SUMMARY": [SUMMARY]}, lambda told: cgminer_telemetry(reply(told), None, None, None)),
    "version": (
        {"STATUS": OK, "VERSION": [{"CGMiner": "4", "API": "3", "Type": "t", "MAC": "AA", "PROD": "p"}]},
        lambda told: cgminer_identity(reply(told), reply(told)),
    ),
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in members:
        yield from places(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    result = copy.deepcopy(value)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = odd
    return result


@pytest.mark.parametrize("name", READERS)
def test_an_odd_value_is_a_reading_or_a_named_error(name):
    told, read = READERS[name]
    read(told)
    for path in places(told):
        for odd in ODD:
            with contextlib.suppress(RigError):
                read(replaced(told, path, odd))


def test_names_that_a_rig_gives_itself_are_bounded_and_printable():
    evil = "\x1b[2J\r\n\u202e" + "x" * 1000
    told = replaced(replaced(STATS, ("STATS", 0, "Type"), evil), ("STATS", 0, "CompileTime"), evil)
    short = replaced(STATS, ("STATS", 0, "Type"), "Antminer\x1b[31m")
    for sample in (sample_stats(told), sample_stats(short)):
        for name in (sample.model, sample.firmware):
            assert name.isprintable()
            assert len(name) <= LONGEST_TEXT
