"""What each rig should do for money alone: the best mode on its own curve at this price, without caps and neighbours.

    RigView, PriceSlot, Economics, Tariff --wish--> Decision per rig --> allocate --> secure

Going up a step of the curve pays while a kWh at the plug costs less than the step earns. Between the two thresholds
around that break-even a rig stays as it is, and after falling asleep or waking it stays so for a while.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from controller.curve import AWAKE, Curve, Curves, mode_named, mode_now
from controller.economics import Economics
from controller.limits import believed_power, is_shadow
from controller.plan import Decision, Reason, RigState, RigView, Step
from controller.prices.series import PriceSlot
from controller.tariff import Tariff
from shedload.device import Mode, RigName
from shedload.units import TERA, PricePerKilowattHour

STAGE = "policy"
UNKNOWN_MODE = "unknown"
"""Mode of a decision about a rig of which nothing is known; no curve has it, so nothing is ever commanded."""

OUT_OF_REACH = frozenset({RigState.UNKNOWN, RigState.OFFLINE})
"""States in which a rig does not answer."""


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Width of the hysteresis, dwell in plant seconds, and what to do without a price."""

    off_above: float = 1.05  # times the break-even
    on_below: float = 0.95
    minimum_on: float = 1800.0
    minimum_off: float = 900.0
    without_price: Literal["hold", "run", "sleep"] = "hold"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The mode that the policy last wanted, and since when (plant time) it wants the rig asleep or awake."""

    mode: str
    since: float | None = None  # None: as it was found


@dataclass(frozen=True, slots=True)
class PolicyMemory:
    """What the policy wanted of each rig that exists."""

    rigs: Mapping[RigName, Wanted] = field(default_factory=dict)


def wish(
    views: Iterable[RigView],
    slot: PriceSlot | None,
    economics: Economics | None,
    tariff: Tariff,
    memory: PolicyMemory,
    *,
    plant_now: float,
    settings: PolicySettings,
    curves: Curves | None = None,
) -> tuple[dict[RigName, Decision], PolicyMemory]:
    """One decision for each rig, with its numbers, and the memory for the next cycle. `slot` None: price unknown."""
    judge = _Judge(slot, economics, tariff, settings, plant_now, curves or Curves())
    decisions: dict[RigName, Decision] = {}
    rigs: dict[RigName, Wanted] = {}
    for view in views:
        wanted = memory.rigs.get(view.name)
        decision = judge.decide(view, wanted)
        decisions[view.name] = decision
        kept = judge.remember(view, wanted, decision)
        if kept is not None:
            rigs[view.name] = kept
    return decisions, PolicyMemory(rigs)


def strike(views: Iterable[RigView], economics: Economics | None, tariff: Tariff) -> PricePerKilowattHour | None:
    """The market price at which the median awake rig breaks even; where none is awake, the median of all.

    Rigs that are only watched count where there are no others. None where no rig tells its efficiency.
    """
    if economics is None:
        return None
    known = [view for view in views if view.efficiency]
    steered = [view for view in known if view.obstacle is not Reason.OBSERVE_ONLY] or known
    awake = [view for view in steered if view.state in AWAKE] or steered
    if not awake:
        return None
    middle = median(view.efficiency for view in awake if view.efficiency)
    return tariff.market_price(economics.net_per_th_day * 1000 / 24 / middle)


class _Judge:
    """The market of one cycle, and the judgement of one rig after the other in it."""

    def __init__(
        self,
        slot: PriceSlot | None,
        economics: Economics | None,
        tariff: Tariff,
        settings: PolicySettings,
        plant_now: float,
        curves: Curves,
    ) -> None:
        self._settings = settings
        self._plant_now = plant_now
        self._curves = curves
        self._per_gain = None if economics is None else economics.per_hash * 1000  # break-even of 1 H/s per watt
        self._price = None if slot is None else tariff.at_rig(slot.price)
        self._market: dict[str, float] = {}
        if slot is not None:
            self._market |= {"price_per_kwh": slot.price, "price_at_rig_per_kwh": tariff.at_rig(slot.price)}
        if economics is not None:
            self._market["hashprice_per_ph_day"] = economics.hashprice_per_ph_day

    def decide(self, view: RigView, wanted: Wanted | None) -> Decision:
        """The decision for one rig."""
        curve = self._curves.of(view.modes)
        now = mode_now(view)
        if view.state in OUT_OF_REACH:
            return self._hold(view, wanted, now, Reason.UNREACHABLE)
        if view.obstacle is Reason.CONTESTED:
            return self._hold(view, None, now, Reason.CONTESTED)
        if curve is None or not curve.runs or self._per_gain is None:
            return self._hold(view, wanted, now, Reason.ECONOMICS_UNKNOWN)
        if self._price is None and self._settings.without_price == "hold":
            return self._hold(view, wanted, now, Reason.PRICE_UNKNOWN)
        standing = self._standing(curve, wanted, now)
        if self._price is None:
            place, step = self._blind(curve, standing)
        else:
            place, step = self._climb(view, curve, standing, self._price, self._per_gain)
        place, steps = self._dwell(view, curve, standing, place, step, wanted)
        mode = curve.modes[place]
        if view.obstacle is not None:
            steps = (*steps, Step(STAGE, mode.name, view.obstacle))
        return Decision(view.name, mode.name, mode.power, steps)

    def remember(self, view: RigView, wanted: Wanted | None, decision: Decision) -> Wanted | None:
        """What to keep of a decision; the time moves when the wish changes between asleep and awake."""
        if decision.mode == UNKNOWN_MODE or view.obstacle is Reason.CONTESTED:
            return wanted
        if wanted is None:
            return Wanted(decision.mode)
        if wanted.mode == decision.mode:
            return wanted
        asleep = view.modes[0].name if view.modes else None
        crossed = (wanted.mode == asleep) != (decision.mode == asleep)
        return Wanted(decision.mode, self._plant_now if crossed else wanted.since)

    def _hold(self, view: RigView, wanted: Wanted | None, now: Mode | None, reason: Reason) -> Decision:
        """Leave a rig in the mode that was wanted last, or that it is in; a rig out of reach counts as believed."""
        name = wanted.mode if wanted is not None else (now.name if now is not None else UNKNOWN_MODE)
        mode = mode_named(view.modes, name)
        power = mode.power if mode is not None and view.commandable else believed_power(view)
        return Decision(view.name, name, power, (Step(STAGE, name, reason, self._market),))

    def _standing(self, curve: Curve, wanted: Wanted | None, now: Mode | None) -> int | None:
        """The place on the curve that stands: as wanted, else as it is; None where neither is known."""
        mode = mode_named(curve.modes, wanted.mode) if wanted is not None else None
        if mode is None:
            mode = now
        return None if mode is None else curve.place(mode)

    def _blind(self, curve: Curve, standing: int | None) -> tuple[int, Step]:
        """Without a price: run as it ran, or in the normal mode; or sleep."""
        place = 0
        if self._settings.without_price == "run":
            place = standing or curve.place(curve.normal)
        return place, Step(STAGE, curve.modes[place].name, Reason.PRICE_UNKNOWN, self._market)

    def _climb(
        self, view: RigView, curve: Curve, standing: int | None, price: float, per_gain: float
    ) -> tuple[int, Step]:
        """Go up or down the curve as far as the price moves the rig from where it stands."""
        worth = per_gain * curve.correction(view.efficiency)
        even = [worth * gain for gain in curve.gains]
        plain = sum([price < break_even for break_even in even[1:]])
        place = plain if standing is None else self._settle(even, standing, price)
        step = place if place > plain or (place == plain and place > 0) else place + 1
        leaving = step == place
        numbers = {**self._market, "break_even_per_kwh": even[step]}
        numbers["threshold_per_kwh"] = self._off(even[step]) if leaving else self._on(even[step])
        if curve.gains[step] > 0:
            numbers["efficiency_j_per_th"] = per_gain * TERA / even[step]
        reason = Reason.HYSTERESIS
        if place == plain:
            reason = Reason.PRICE_BELOW_BREAK_EVEN if place else Reason.PRICE_ABOVE_BREAK_EVEN
        return place, Step(STAGE, curve.modes[place].name, reason, numbers)

    def _settle(self, even: list[float], place: int, price: float) -> int:
        start = place
        while place + 1 < len(even) and price < self._on(even[place + 1]):
            place += 1
        if place == start:
            while place > 0 and price > self._off(even[place]):
                place -= 1
        return place

    def _on(self, break_even: float) -> float:
        """Below it a step up is taken."""
        return break_even - (1 - self._settings.on_below) * abs(break_even)

    def _off(self, break_even: float) -> float:
        """Above it a step is given up."""
        return break_even + (self._settings.off_above - 1) * abs(break_even)

    def _dwell(
        self, view: RigView, curve: Curve, standing: int | None, place: int, step: Step, wanted: Wanted | None
    ) -> tuple[int, tuple[Step, ...]]:
        """Hold a rig awake or asleep that has not been so for long enough."""
        if standing is None or (standing > 0) == (place > 0):
            return place, (step,)
        awake = standing > 0
        shadow = is_shadow(view)
        if not shadow and awake != (view.state in AWAKE):
            return place, (step,)  # it already is as it is wanted now: there is nothing to wait for
        times = (None if shadow else view.since, wanted.since if wanted is not None else None)
        since = max((at for at in times if at is not None), default=None)
        least = self._settings.minimum_on if awake else self._settings.minimum_off
        if since is None or self._plant_now - since >= least:
            return place, (step,)
        reason = Reason.MINIMUM_ON_TIME if awake else Reason.MINIMUM_OFF_TIME
        held = 1 if awake else 0  # awake against its interest: in the most efficient mode
        numbers = {"elapsed_s": self._plant_now - since, "minimum_s": least}
        return held, (step, Step(STAGE, curve.modes[held].name, reason, numbers))
