"""One pass over all rigs for the aggregates of `/metrics`, made once a control cycle however often it is scraped.

Controller.views, Plan, Farm, Actuator --summarise--> RigSummary --samples--> Metrics
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from controller.limits import believed_power
from controller.metric_samples import Sample
from controller.plan import SLEEP, Control, Decision, Reason, RigState, RigView
from controller.plausible import Suspicion
from controller.status import Site
from shedload.device import FaultCode, RigName

OBSTACLES = (
    Reason.CONTESTED,
    Reason.REFUSING,
    Reason.UNREACHABLE,
    Reason.OBSERVE_ONLY,
    Reason.ECONOMICS_UNKNOWN,
)


@dataclass(slots=True)
class RigSummary:
    """Sums over all rigs, in watts and H/s."""

    states: Counter[tuple[str, str]] = field(default_factory=Counter)
    power: dict[str, float] = field(default_factory=dict)
    rate: dict[str, float] = field(default_factory=dict)  # only groups in which a rig tells one
    expected: dict[str, float] = field(default_factory=dict)
    obstructed: Counter[str] = field(default_factory=Counter)
    suspicions: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    decided: Counter[str] = field(default_factory=Counter)
    curtailed: dict[str, float] = field(default_factory=dict)


def summarise(site: Site) -> RigSummary:
    """Sum up what the last cycle saw and decided."""
    summary = RigSummary()
    plan = site.controller.plan
    for name, view in site.controller.views.items():
        _seen(summary, view)
        track = site.actuator.tracks[name]
        # By the track: under an order the planner counts on contested rigs too, and they are contested all the same.
        if track.obstacle is not None:
            summary.obstructed[track.obstacle.value] += 1
        elif view.obstacle is not None:
            summary.obstructed[view.obstacle.value] += 1
        if suspicions := site.farm.records[name].suspicions:
            summary.suspicions.update(item.value for item in suspicions)
        decision = plan.decisions.get(name) if plan is not None else None
        if decision is not None:
            _decided(summary, view, decision)
    return summary


def rig_samples(site: Site, summary: RigSummary, groups: dict[str, list[RigName]]) -> Iterator[Sample]:
    """Every aggregate of rigs; what can occur is there with zero."""
    for group, names in groups.items():
        for state in RigState:
            yield "rigs", (group, state.value), summary.states[group, state.value]
        control = site.farm.records[names[0]].member.control
        yield "group_automatic", (group,), float(control is Control.AUTO)
        yield "group_proven", (group,), float(site.actuator.canaries[group].proven)
        yield "group_power_watts", (group,), summary.power.get(group, 0.0)
        if group in summary.rate:
            yield "group_hashrate_hashes_per_second", (group,), summary.rate[group]
        yield "group_hashrate_expected_hashes_per_second", (group,), summary.expected.get(group, 0.0)
    yield from _each("rigs_obstructed", (reason.value for reason in OBSTACLES), summary.obstructed)
    yield from _each("rigs_suspicious", (item.value for item in Suspicion), summary.suspicions)
    yield from _each("rigs_faulty", (code.value for code in FaultCode), summary.faults)
    yield from _each("rigs_decided", (reason.value for reason in Reason), summary.decided)
    yield from _each("curtailed_watts", (reason.value for reason in Reason), summary.curtailed)


def _seen(summary: RigSummary, view: RigView) -> None:
    group, telemetry = view.group, view.telemetry
    summary.states[group, view.state.value] += 1
    summary.power[group] = summary.power.get(group, 0.0) + believed_power(view)
    if telemetry is None:
        return
    if telemetry.hashrate is not None:
        summary.rate[group] = summary.rate.get(group, 0.0) + telemetry.hashrate
    if telemetry.faults:
        summary.faults.update({fault.code.value for fault in telemetry.faults})


def _decided(summary: RigSummary, view: RigView, decision: Decision) -> None:
    reason = decision.reason
    summary.decided[reason.value] += 1
    # A rig that nobody commands does what it shows; one that is gone should do what was decided for it.
    followed = view.commandable or reason is Reason.UNREACHABLE
    mode = decision.mode if followed else view.mode
    if mode is not None and mode != SLEEP:
        rate = next((item.hashrate for item in view.modes if item.name == mode), 0.0)
        summary.expected[view.group] = summary.expected.get(view.group, 0.0) + rate
    if view.commandable and decision.mode == SLEEP and view.modes:
        held = view.modes[-1].power - decision.power
        summary.curtailed[reason.value] = summary.curtailed.get(reason.value, 0.0) + held


def _each(name: str, keys: Iterable[str], values: Counter[str] | dict[str, float]) -> Iterator[Sample]:
    for key in keys:
        yield name, (key,), values.get(key, 0)
