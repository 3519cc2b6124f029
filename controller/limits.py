"""The limits that a site keeps: its cap, operators' orders, its feeders; and what draws power beside the rigs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.plan import Order, Reason, RigView
from shedload.units import Watts

NOTHING = Watts(0.0)

SHADOW = frozenset({Reason.OBSERVE_ONLY, Reason.CANARY})
"""Obstacles of rigs that are decided for as if they obeyed, but are counted as they are."""


@dataclass(frozen=True, slots=True)
class SiteLimit:
    """The tightest limit in force on the site, and where it comes from."""

    power: Watts
    reason: Reason  # SITE_CAP or ORDER
    order: int | None = None  # the order's number


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that bounds the power of one site in one cycle."""

    site_cap: Watts | None = None
    orders: tuple[Order, ...] = ()
    feeders: Mapping[str, Watts] = field(default_factory=dict)
    base_load: Watts = NOTHING  # drawn beside the rigs, inside the site's limit
    meter: Watts | None = None  # fresh reading of the site, None where there is none

    @property
    def site(self) -> SiteLimit | None:
        """The least of cap and orders; an order that equals the cap is the cap."""
        found = [] if self.site_cap is None else [SiteLimit(self.site_cap, Reason.SITE_CAP)]
        found += [SiteLimit(order.limit, Reason.ORDER, order.number) for order in self.orders]
        return min(found, key=lambda limit: limit.power, default=None)


def believed_power(view: RigView) -> Watts:
    """What a rig must be taken to draw now: as observed, else the most that its model draws, else nothing."""
    if view.power is not None:
        return view.power
    if view.nominal_power is not None:
        return view.nominal_power
    return max((mode.power for mode in view.modes), default=Watts(0.0))


def believed_total(views: Iterable[RigView]) -> Watts:
    """What all rigs must be taken to draw now."""
    return Watts(sum(believed_power(view) for view in views))


def is_shadow(view: RigView) -> bool:
    """Whether decisions about the rig are only shown."""
    return view.obstacle in SHADOW
