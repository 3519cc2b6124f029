"""One planning cycle from end to end: wish, allocate, secure, remember. Pure: everything goes in and comes out.

views, price, limits, conditions, memory --decide--> Plan, memory
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.allocate import AllocationMemory, AllocationSettings, allocate, remember, site_target
from controller.curve import Curves
from controller.economics import Economics
from controller.limits import Limits
from controller.plan import Plan, RigView
from controller.policy import PolicyMemory, PolicySettings, strike, wish
from controller.prices.series import PriceSlot
from controller.safety import Conditions, SafetySettings, overheated, secure
from controller.tariff import Tariff
from shedload.device import RigName


@dataclass(frozen=True, slots=True)
class DecideSettings:
    """Settings of the three stages."""

    policy: PolicySettings = field(default_factory=PolicySettings)
    allocation: AllocationSettings = field(default_factory=AllocationSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one cycle hands to the next; starts empty, lives as long as the process."""

    policy: PolicyMemory = field(default_factory=PolicyMemory)
    allocation: AllocationMemory = field(default_factory=AllocationMemory)
    overheated: frozenset[RigName] = frozenset()


def decide(
    views: Sequence[RigView],
    slot: PriceSlot | None,
    economics: Economics | None,
    tariff: Tariff,
    limits: Limits,
    conditions: Conditions,
    memory: Memory,
    *,
    now: datetime,
    settings: DecideSettings,
) -> tuple[Plan, Memory]:
    """The plan for this moment. Limit, standing modes and overheated rigs of `conditions` are filled in from the rest."""
    curves = Curves()
    plant_now = conditions.plant_now
    limit = limits.site
    decisions, policy = wish(
        views, slot, economics, tariff, memory.policy, plant_now=plant_now, settings=settings.policy, curves=curves
    )
    decisions, allocation = allocate(
        decisions, views, limits, memory.allocation, plant_now=plant_now, settings=settings.allocation, curves=curves
    )
    conditions = replace(
        conditions, limit=limit, standing=memory.allocation.modes, overheated=memory.overheated, meter=limits.meter
    )
    decisions = secure(decisions, views, conditions, settings.safety)
    plan = Plan(
        decided=now,
        decisions=decisions,
        site_target=site_target(decisions, views, limits.base_load),
        site_limit=None if limit is None else limit.power,
        limit_reason=None if limit is None else limit.reason,
        price=None if slot is None else slot.price,
        strike=strike(views, economics, tariff),
    )
    return plan, Memory(policy, remember(allocation, decisions, views), overheated(decisions))
