"""The last word on every plan: it may lower a rig and never raise one.

    Decision --too hot, blind, over the cap--> Decision --> Plan --> actuate
    meter sample --guard--> rigs to put to sleep now

`secure` belongs to the planning cycle, `guard` to the fast loop: it looks at one meter sample and names rigs to lower.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.curve import mode_named, mode_now
from controller.limits import SiteLimit, believed_power, is_shadow
from controller.plan import Decision, Reason, RigState, RigView
from controller.seats import is_immovable
from shedload.device import FaultCode, Mode, RigName
from shedload.units import Celsius, Watts

STAGE = "safety"

CHIP_LIMIT = Celsius(95.0)
"""Hottest chip at which makers still let their machines run, by default; a configuration may say otherwise."""

GUARD_TOLERANCE = 0.004
"""Share above the limit that the fast loop takes for the meter's noise, which is 0.1-0.5 %."""

EXPLAINED = 0.9
"""Lowerings on their way that explain this share of an excess are given their time; less, and more is lowered now."""


@dataclass(frozen=True, slots=True)
class SafetySettings:
    """When a rig is too hot, and when it has cooled."""

    chip_temperature_limit: Celsius = CHIP_LIMIT
    cooled_below: float = 10.0  # K under the limit before an overheated rig may run again
    cooling: float = 600.0  # plant seconds asleep after which a rig that then tells no temperature counts as cooled


@dataclass(frozen=True, slots=True)
class Conditions:
    """What safety must know besides the rigs."""

    plant_now: float
    ready: bool = True  # every rig has been tried once
    store_failing: bool = False
    meter_expected: bool = False  # the site has a meter
    meter: Watts | None = None  # its reading while fresh
    limit: SiteLimit | None = None
    lowering: frozenset[RigName] = frozenset()  # lowering commands on their way
    standing: Mapping[RigName, str] = field(default_factory=dict)  # modes as last decided: AllocationMemory.modes
    overheated: frozenset[RigName] = frozenset()  # as of the last cycle


def secure(
    decisions: Mapping[RigName, Decision], views: Sequence[RigView], conditions: Conditions, settings: SafetySettings
) -> dict[RigName, Decision]:
    """The decisions with everything lowered that is not safe; power and mode of no rig go up."""
    left = dict(decisions)
    blocked = _blocked(conditions)
    over = conditions.limit is not None and conditions.meter is not None and conditions.meter > conditions.limit.power
    for view in views:
        decision = left.get(view.name)
        if decision is None or is_immovable(view):
            continue
        if too_hot(view, conditions, settings):
            decision = _lowered(decision, view.modes[0], Reason.OVERHEAT, _heat(view, settings))
        reason = blocked if blocked is not None else (Reason.METER_OVER_CAP if over else None)
        if reason is not None and not is_shadow(view):
            decision = _not_raised(decision, view, reason, conditions)
        left[view.name] = decision
    if over:
        _shed_excess(left, views, conditions)
    return left


def overheated(decisions: Mapping[RigName, Decision]) -> frozenset[RigName]:
    """Rigs that safety holds for heat: `Conditions.overheated` of the next cycle."""
    return frozenset(
        name
        for name, decision in decisions.items()
        if any(step.stage == STAGE and step.reason is Reason.OVERHEAT for step in decision.steps)
    )


def guard(
    meter: Watts,
    limit: Watts,
    views: Iterable[RigView],
    pending: Mapping[RigName, Watts],
    *,
    tolerance: float = GUARD_TOLERANCE,
) -> tuple[RigName, ...]:
    """Rigs to put to sleep now because the meter is over the limit; `pending`: watts that lowerings on their way free.

    Nothing where the excess is noise or explained. Minimum on times do not count here.
    """
    excess = meter - limit
    if excess <= limit * tolerance:
        return ()
    candidates = [view for view in views if view.name not in pending and _can_shed(view)]
    return tuple(view.name for view, _ in _cover(excess, sum(pending.values()), candidates))


def too_hot(view: RigView, conditions: Conditions, settings: SafetySettings) -> bool:
    """Over the limit, or not yet cooled since it was."""
    telemetry = view.telemetry
    if telemetry is None:
        return view.name in conditions.overheated
    chip = telemetry.chip_temperature
    if (chip is not None and chip > settings.chip_temperature_limit) or any(
        fault.code is FaultCode.OVERHEAT for fault in telemetry.faults
    ):
        return True
    if view.name not in conditions.overheated:
        return False
    if chip is not None:
        return chip > settings.chip_temperature_limit - settings.cooled_below
    asleep = view.state is RigState.ASLEEP and view.since is not None
    return not (asleep and conditions.plant_now - (view.since or 0.0) >= settings.cooling)


def _heat(view: RigView, settings: SafetySettings) -> dict[str, float]:
    numbers = {
        "limit_celsius": float(settings.chip_temperature_limit),
        "release_celsius": settings.chip_temperature_limit - settings.cooled_below,
    }
    if view.telemetry is not None and view.telemetry.chip_temperature is not None:
        numbers["chip_celsius"] = view.telemetry.chip_temperature
    return numbers


def _blocked(conditions: Conditions) -> Reason | None:
    """Why nothing may be raised in this cycle, if so."""
    if not conditions.ready:
        return Reason.NOT_READY
    if conditions.store_failing:
        return Reason.STORE_FAILING
    if conditions.meter_expected and conditions.meter is None:
        return Reason.METER_STALE
    return None


def _not_raised(decision: Decision, view: RigView, reason: Reason, conditions: Conditions) -> Decision:
    """Keep a rig at or below the higher of what it is in and what was decided before."""
    stands = [mode for mode in (mode_now(view), mode_named(view.modes, conditions.standing.get(view.name))) if mode]
    wanted = mode_named(view.modes, decision.mode)
    if not stands or wanted is None:
        return decision
    highest = max(stands, key=lambda mode: mode.power)
    if wanted.power <= highest.power:
        return decision
    return _lowered(decision, highest, reason, {"wanted_w": wanted.power, "held_w": highest.power})


def _lowered(decision: Decision, mode: Mode, reason: Reason, numbers: Mapping[str, float]) -> Decision:
    """The decision at a mode that draws no more; a decision that is there already says why it must stay there."""
    if mode.power > decision.power:
        return decision
    return decision.changed(STAGE, mode, reason, numbers)


def _shed_excess(left: dict[RigName, Decision], views: Iterable[RigView], conditions: Conditions) -> None:
    """Lower as many rigs as it takes to bring the meter under the limit."""
    assert conditions.limit is not None
    assert conditions.meter is not None
    excess = conditions.meter - conditions.limit.power
    explained = 0.0
    candidates: list[RigView] = []
    for view in views:
        decision = left.get(view.name)
        if decision is None or not _can_shed(view):
            continue
        freed = believed_power(view) - decision.power
        asked_now = decision.mode != conditions.standing.get(view.name, view.mode)
        if freed > 0 and (asked_now or view.name in conditions.lowering):
            explained += freed
        elif decision.power > view.modes[0].power:
            candidates.append(view)
    numbers = {"meter_w": float(conditions.meter), "limit_w": float(conditions.limit.power), "explained_w": explained}
    for view, freed in _cover(excess, explained, candidates):
        left[view.name] = _lowered(left[view.name], view.modes[0], Reason.METER_OVER_CAP, {**numbers, "freed_w": freed})


def _can_shed(view: RigView) -> bool:
    """A sleep command may go out and would free power."""
    return (
        view.commandable
        and not is_immovable(view)
        and view.state is not RigState.ASLEEP
        and believed_power(view) > view.modes[0].power
    )


def _cover(excess: float, explained: float, candidates: Iterable[RigView]) -> list[tuple[RigView, float]]:
    """Rigs whose sleep covers what is not explained, the least efficient first, and what each frees."""
    chosen: list[tuple[RigView, float]] = []
    if explained >= excess * EXPLAINED:
        return chosen
    for view in sorted(candidates, key=lambda view: (-(view.efficiency or 0.0), view.name)):
        if explained >= excess:
            break
        freed = believed_power(view) - view.modes[0].power
        explained += freed
        chosen.append((view, freed))
    return chosen
