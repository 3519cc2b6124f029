"""What the site is doing, as plain JSON values: the one shape behind the API, the command line and MQTT.

Unknown values are null, never zero. Power in watts, hashrate in H/s, times in RFC 3339 UTC.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.actuate import Actuator
from controller.clock import Clock
from controller.control import Controller
from controller.farm import Farm, RigRecord
from controller.feed import PriceFeed
from controller.limits import believed_power
from controller.meter import SiteMeter
from controller.plan import Order, Plan, RigState, RigView
from controller.prices.series import PriceSlot
from controller.store_rows import CommandRecord
from controller.stratum.dispatch import Dispatch
from controller.stratum.upstream import Upstream
from shedload.device import PowerSource, RigName

NEXT_SLOTS = 12
NOTABLE = 50
"""Rigs that a status names for each kind of trouble; the counts are complete."""


@dataclass(frozen=True, slots=True)
class Site:
    """The live objects that a status is read from."""

    name: str
    currency: str
    simulated: bool
    farm: Farm
    actuator: Actuator
    controller: Controller
    feed: PriceFeed
    meter: SiteMeter
    upstream: Upstream
    dispatch: Dispatch
    clock: Clock


def site_status(site: Site) -> dict[str, Any]:
    """One screen's worth of the whole site."""
    plan = site.controller.plan
    return {
        "site": site.name,
        "simulated": site.simulated,
        "time": instant(site.clock.wall()),
        "ready": site.controller.ready,
        "power": _power(site, plan),
        "price": _price(site, plan),
        "orders": [order_status(order) for order in site.controller.orders],
        "rigs": _rigs(site),
        "groups": group_status(site),
        "attention": attention(site),
        "commands": _commands(site),
        "pools": _pools(site),
        "serial": _serial(site),
        "money": _money(site),
        "control": {
            "cycles": site.controller.cycles,
            "cycle_s": site.controller.cycle_seconds,
            "journal_failing": site.actuator.journal_failing,
            "guard_alarms": site.controller.guard_alarms,
        },
    }


def rig_status(site: Site, name: RigName) -> dict[str, Any] | None:
    """One rig with its last decision; None where there is no such rig."""
    record = site.farm.records.get(name)
    view = site.controller.views.get(name)
    if record is None:
        return None
    track = site.actuator.tracks[name]
    decision = site.controller.plan.decisions.get(name) if site.controller.plan is not None else None
    return {
        **rig_row(site, record, view),
        "failure": None if record.failure is None else {"kind": record.failure.kind, "detail": record.failure.detail},
        "failures_in_a_row": record.failures,
        "power_source": _source(view),
        "nominal_power_w": view.nominal_power if view is not None else None,
        "pools": [
            {"url": pool.url, "user": pool.user, "status": pool.status.value, "active": pool.active}
            for pool in (view.telemetry.pools or () if view is not None and view.telemetry is not None else ())
        ],
        "faults": [fault.detail for fault in (view.telemetry.faults if view and view.telemetry else ())],
        "decision": None
        if decision is None
        else {
            "mode": decision.mode,
            "reason": decision.reason.value,
            "power_w": decision.power,
            "steps": [
                {"stage": step.stage, "mode": step.mode, "reason": step.reason.value, "numbers": dict(step.numbers)}
                for step in decision.steps
            ],
        },
        "command": {
            "in_flight": track.in_flight,
            "confirmed": track.confirmed,
            "refusing": track.refusing,
            "contested": track.contested,
            "detail": track.detail,
        },
    }


def rig_row(site: Site, record: RigRecord, view: RigView | None) -> dict[str, Any]:
    """One line of a table of rigs."""
    name = record.member.name
    telemetry = view.telemetry if view is not None else None
    decision = site.controller.plan.decisions.get(name) if site.controller.plan is not None else None
    identity = record.telemetry.identity if record.telemetry is not None else None
    return {
        "rig": name,
        "group": record.member.group,
        "control": record.member.control.value,
        "model": (identity.model if identity is not None else None) or record.member.model,
        "state": view.state.value if view is not None else RigState.UNKNOWN.value,
        "mode": view.mode if view is not None else None,
        "wanted": decision.mode if decision is not None else None,
        "reason": decision.reason.value if decision is not None else None,
        "obstacle": view.obstacle.value if view is not None and view.obstacle is not None else None,
        "power_w": believed_power(view) if view is not None else None,
        "hashrate_hs": telemetry.hashrate if telemetry is not None else None,
        "chip_temperature_c": telemetry.chip_temperature if telemetry is not None else None,
        "efficiency_j_per_th": view.efficiency if view is not None else None,
        "age_s": view.age if view is not None else None,
        "suspicions": sorted(item.value for item in record.suspicions),
    }


def attention(site: Site) -> dict[str, list[dict[str, str]]]:
    """Rigs that somebody should look at, by kind, with the reason in words."""
    found: dict[str, list[dict[str, str]]] = {
        "refusing": [],
        "contested": [],
        "offline": [],
        "suspicious": [],
        "faulty": [],
    }
    for name, record in site.farm.records.items():
        track = site.actuator.tracks[name]
        state = site.farm.state(name)
        _add(found["refusing"], name, track.detail if track.refusing else "")
        _add(found["contested"], name, track.detail if track.contested else "")
        if state is RigState.OFFLINE:
            failure = record.failure
            _add(found["offline"], name, f"{failure.kind}: {failure.detail}" if failure is not None else "no reading")
        _add(found["suspicious"], name, ", ".join(sorted(item.value for item in record.suspicions)))
        live = site.farm.live(name)
        _add(found["faulty"], name, "; ".join(fault.detail for fault in live.faults[:3]) if live is not None else "")
    return found


def order_status(order: Order) -> dict[str, Any]:
    """One order."""
    return {
        "number": order.number,
        "limit_w": order.limit,
        "author": order.author,
        "note": order.note,
        "created": instant(order.created),
    }


def command_status(record: CommandRecord) -> dict[str, Any]:
    """One command of a rig's history."""
    return {
        "at": instant(record.planned),
        "verb": record.verb,
        "mode": record.mode,
        "reason": record.reason,
        "state": record.state.value,
        "detail": record.detail,
    }


def instant(moment: datetime) -> str:
    """RFC 3339 with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add(rows: list[dict[str, str]], name: str, detail: str) -> None:
    if detail and len(rows) < NOTABLE:
        rows.append({"rig": name, "detail": detail})


def _power(site: Site, plan: Plan | None) -> dict[str, Any]:
    return {
        "has_meter": site.controller.site.has_meter,
        "meter_w": site.meter.power,
        "meter_age_s": None if site.meter.last is None else site.clock.mono() - site.meter.last.taken,
        "meter_disagrees": site.controller.meter_doubt.disagrees,
        "estimated_w": site.controller.estimated_power if site.controller.views else None,
        "cap_w": site.controller.site.power_cap,
        "limit_w": plan.site_limit if plan is not None else None,
        "limit_reason": plan.limit_reason.value if plan is not None and plan.limit_reason is not None else None,
        "target_w": plan.site_target if plan is not None else None,
        "base_load_w": site.controller.site.base_load,
    }


def _price(site: Site, plan: Plan | None) -> dict[str, Any]:
    now = site.clock.wall()
    slot, until = site.controller.price, site.feed.series.valid_until
    return {
        "currency": site.currency,
        "now": _slot(slot) if slot is not None else None,
        "strike_per_kwh": plan.strike if plan is not None else None,
        "next": [_slot(later) for later in site.feed.series.after(now)[:NEXT_SLOTS]],
        "valid_until": instant(until) if until is not None else None,
        "failures": site.feed.failures,
        "last_failure": site.feed.last_failure or None,
    }


def _slot(slot: PriceSlot) -> dict[str, Any]:
    return {"start": instant(slot.start), "end": instant(slot.end), "price_per_kwh": slot.price}


def _rigs(site: Site) -> dict[str, Any]:
    views = site.controller.views.values()
    return {
        "total": len(site.farm.records),
        "by_state": _by_state(views),
        "hashrate_hs": _hashrate(views),
        "power_w": sum(believed_power(view) for view in views),
    }


def _hashrate(views: Iterable[RigView]) -> float | None:
    """The sum of what is known, None where no rig tells."""
    rates = [view.telemetry.hashrate for view in views if view.telemetry and view.telemetry.hashrate is not None]
    return sum(rates) if rates else None


def _by_state(views: Iterable[RigView]) -> dict[str, int]:
    counts = Counter(view.state for view in views)
    return {state.value: counts[state] for state in RigState}


def group_status(site: Site) -> dict[str, dict[str, Any]]:
    """Each group's totals."""
    groups: dict[str, list[RigView]] = {}
    for view in site.controller.views.values():
        groups.setdefault(view.group, []).append(view)
    return {
        name: {
            "control": views[0].control.value,
            "proven": site.actuator.canaries[name].proven,
            "canary_stalled": site.actuator.canaries[name].stalled,
            "rigs": len(views),
            "by_state": _by_state(views),
            "power_w": sum(believed_power(view) for view in views),
            "hashrate_hs": _hashrate(views),
        }
        for name, views in sorted(groups.items())
    }


def _commands(site: Site) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (_, state), count in site.actuator.states.items():
        totals[state.value] += count
    totals["in_flight"] = sum(track.in_flight is not None for track in site.actuator.tracks.values())
    return dict(totals)


def _pools(site: Site) -> list[dict[str, Any]]:
    now = site.clock.mono()
    return [
        {
            "pool": name,
            "active": book.active,
            "connected": book.connected,
            "submitted": book.submitted,
            "accepted": book.accepted,
            "rejected": sum(book.rejected.values()),
            "lost": sum(book.lost.values()),
            "difficulty": book.difficulty or None,
            "last_accepted_age_s": None if book.last_accepted is None else now - book.last_accepted,
            "last_failure": book.last_failure or None,
        }
        for name, book in site.upstream.books.items()
    ]


def _serial(site: Site) -> list[dict[str, Any]]:
    return [
        {
            "rig": name,
            "hashrate_hs": book.hashrate,
            "nonces": {verdict.value: count for verdict, count in book.verdicts.items()},
            "best_difficulty": book.best_difficulty or None,
            "failure": book.failure or None,
            "reopened": book.reopened,
        }
        for name, book in site.dispatch.books.items()
    ]


def _money(site: Site) -> dict[str, Any]:
    ledger, economics = site.controller.ledger, site.controller.economics
    return {
        "currency": site.currency,
        "hashprice_per_ph_day": economics.hashprice_per_ph_day if economics is not None else None,
        "energy_kwh": ledger.energy_joules / 3.6e6,
        "cost": ledger.cost,
        "earned": ledger.earned,
        "margin": ledger.margin,
        "always_on_margin": ledger.always_on_margin,
        "gained": ledger.gained,
        "seconds": ledger.seconds,
        "gap_seconds": ledger.gap_seconds,
    }


def _source(view: RigView | None) -> str | None:
    source: PowerSource | None = view.power_source if view is not None else None
    return source.value if source is not None else None
