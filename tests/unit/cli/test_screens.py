"""Status and why as people see them: at 80 columns, with everything wrong, with nothing known."""

import io
from typing import Any

import pytest
from rich.console import Console

from controller.cli.status import judged
from controller.cli.views import site_screen
from controller.cli.why import rig_screen

STATES = ("unknown", "offline", "hashing", "ramping", "idle", "asleep")


def status(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "site": "hall-1",
        "simulated": False,
        "time": "2026-03-01T10:00:00.000Z",
        "ready": True,
        "power": {
            "has_meter": True,
            "meter_w": 180_000.0,
            "estimated_w": 179_000.0,
            "cap_w": 190_000.0,
            "limit_w": 190_000.0,
            "limit_reason": "site_cap",
            "target_w": 181_000.0,
            "base_load_w": 6000.0,
            "meter_age_s": 0.5,
            "meter_disagrees": False,
        },
        "price": {
            "currency": "EUR",
            "now": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z", "price_per_kwh": 0.05},
            "strike_per_kwh": 0.083,
            "next": [{"start": "2026-03-01T11:00:00Z", "end": "2026-03-01T12:00:00Z", "price_per_kwh": 0.09}],
            "failures": 0,
            "last_failure": None,
        },
        "orders": [],
        "rigs": {
            "total": 60,
            "by_state": {**dict.fromkeys(STATES, 0), "hashing": 58, "asleep": 2},
            "hashrate_hs": 9e15,
            "power_w": 1.7e5,
        },
        "groups": {
            "j": {
                "control": "auto",
                "proven": False,
                "canary_stalled": False,
                "rigs": 60,
                "by_state": {"hashing": 58},
                "power_w": 1.7e5,
                "hashrate_hs": None,
            }
        },
        "attention": {kind: [] for kind in ("refusing", "contested", "offline", "suspicious", "faulty")},
        "commands": {"confirmed": 12, "in_flight": 0},
        "pools": [],
        "serial": [],
        "money": {
            "currency": "EUR",
            "hashprice_per_ph_day": 45.0,
            "energy_kwh": 1.0,
            "cost": 1.0,
            "earned": 2.0,
            "margin": 1.0,
            "always_on_margin": 0.5,
            "gained": 0.5,
            "seconds": 3600.0,
            "gap_seconds": 0.0,
        },
        "control": {"cycles": 3, "cycle_s": 0.01, "journal_failing": False, "guard_alarms": 0},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = found
        for parent in parents:
            node = node[parent]
        node[last] = value
    return found


def shown(screen: Any, width: int = 80) -> str:
    written = io.StringIO()
    Console(file=written, width=width, color_system=None).print(screen)
    return written.getvalue()


def test_a_calm_site_fits_80_columns_and_says_so() -> None:
    text = shown(site_screen(status()))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "180.0 kW measured, limit 190.0 kW (site cap)" in text
    assert "95% of the limit" in text
    assert "0.0500 EUR/kWh until 11:00, strike 0.0830" in text
    assert "Attention  none" in text
    assert "SIMULATED" not in text
    assert judged(status()) == 0


def test_a_simulated_site_says_so() -> None:
    assert "SIMULATED" in shown(site_screen(status(simulated=True)))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention__refusing": [{"rig": "a", "detail": "asked for sleep, still normal"}]},
        {"attention__offline": [{"rig": "a", "detail": "no reading"}]},
        {"power__meter_w": 195_000.0},
        {"price__now": None},
        {"control__journal_failing": True},
        {"power__meter_disagrees": True},
        {"groups__j__canary_stalled": True},
    ],
)
def test_trouble_is_named_and_is_the_exit_code(changes: dict[str, Any]) -> None:
    found = status(**changes)
    assert judged(found) == 1
    assert shown(site_screen(found)) != shown(site_screen(status()))


def test_an_order_that_is_not_on_disk_says_so() -> None:
    order = {"number": -1, "limit_w": 4e4, "author": "jo", "note": "", "created": "2026-03-01T09:00:00.000Z"}
    assert "in memory only" in shown(site_screen(status(orders=[order])), 120)
    assert "in memory only" not in shown(site_screen(status(orders=[{**order, "number": 1}])), 120)


def test_nothing_known_is_shown_as_unknown() -> None:
    found = status(
        power__meter_w=None,
        power__estimated_w=None,
        power__limit_w=None,
        power__target_w=None,
        price__now=None,
        price__strike_per_kwh=None,
        price__next=[],
        rigs__hashrate_hs=None,
        ready=False,
        money__hashprice_per_ph_day=None,
    )
    text = shown(site_screen(found))
    assert "unknown, THE METER IS SILENT" in text
    assert "first pass over the rigs" in text


def test_what_a_rig_says_cannot_steer_the_terminal() -> None:
    found = status(attention__faulty=[{"rig": "a", "detail": "\x1b[2J[bold]fan lost[/bold]"}])
    text = shown(site_screen(found))
    assert "\x1b" not in text
    assert "[bold]fan lost[/bold]" in text, "markup from outside is text"


def test_why_marks_the_stage_that_decided() -> None:
    rig = {
        "rig": "j-001",
        "group": "j",
        "control": "auto",
        "model": "Antminer S19j Pro",
        "state": "asleep",
        "mode": "sleep",
        "wanted": "sleep",
        "reason": "order",
        "obstacle": None,
        "power_w": 80.0,
        "power_source": "estimated",
        "hashrate_hs": None,
        "chip_temperature_c": None,
        "efficiency_j_per_th": 29.5,
        "age_s": 1.0,
        "suspicions": [],
        "failure": None,
        "failures_in_a_row": 0,
        "faults": [],
        "pools": [],
        "command": {"in_flight": None, "confirmed": "sleep", "refusing": False, "contested": False, "detail": ""},
        "decision": {
            "mode": "sleep",
            "reason": "order",
            "power_w": 80.0,
            "steps": [
                {
                    "stage": "policy",
                    "mode": "normal",
                    "reason": "price_below_break_even",
                    "numbers": {"price_per_kwh": 0.036},
                },
                {
                    "stage": "allocate",
                    "mode": "sleep",
                    "reason": "order",
                    "numbers": {"limit_w": 1e5, "left_w": 1700.0, "needed_w": 2988.0, "order": 1.0},
                },
                {"stage": "safety", "mode": "sleep", "reason": "meter_over_cap", "numbers": {}},
            ],
        },
        "history": [
            {
                "at": "2026-03-01T09:21:00Z",
                "verb": "sleep",
                "mode": "sleep",
                "reason": "order",
                "state": "confirmed",
                "detail": "",
            }
        ],
    }
    text = shown(rig_screen(rig, status()), 120)
    marked = [line for line in text.splitlines() if "▶ decided" in line]
    assert len(marked) == 1
    assert "allocate" in marked[0]
    assert "Order 1 allows 100.0 kW; 1.7 kW of that is left after better rigs, and it needs 3.0 kW." in " ".join(
        text.split()
    )
    assert "confirmed" in text
