"""Shares scarce power out: the policy's wishes, cut to the site's limit, orders and feeders, no faster than allowed.

    Decision --shared out by hashes per watt--> what should be --head-room, ramps--> Decision --> secure

Two questions, answered one after the other. Where should the rigs end up: most hashes for the watts that there are,
with everything that cannot be commanded counted as it is believed to draw. And what may happen now: a lowering at once;
a raise only into head-room that is already free by observation, never into what lowerings promise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.curve import Curves
from controller.limits import Limits, SiteLimit, believed_power, believed_total, is_shadow
from controller.plan import Decision, Reason, RigState, RigView
from controller.ramp import Bucket
from controller.seats import Seat, is_immovable, seats_of
from shedload.device import Mode, RigName
from shedload.units import Watts

STAGE = "allocate"

STAY_BONUS = 1.02
"""A step that is taken already counts 2 % better, so that small changes of measured efficiency swap no rigs."""

RAMP_UP_SHARE, RAMP_DOWN_SHARE = 0.03, 0.10
"""Shares of the site per plant minute: up, and down for money. Down for a limit is never held back."""

SLACK = 1e-6
"""Watts by which sums of floats may be off."""


@dataclass(frozen=True, slots=True)
class AllocationSettings:
    """How fast the site may change; plant time, None is no limit."""

    ramp_up_per_minute: Watts | None = None
    ramp_down_per_minute: Watts | None = None  # for money; limits are kept at once
    wakes_per_cycle: int = 50
    minimum_off: float = 900.0  # plant seconds that a rig stays asleep, whatever put it to sleep
    meter_margin: float = 0.01  # share of the limit that a raise leaves free by the meter, whose noise is 0.1-0.5 %

    @classmethod
    def for_site(cls, cap: Watts) -> "AllocationSettings":
        """The usual ramps of a site with this cap."""
        return cls(Watts(cap * RAMP_UP_SHARE), Watts(cap * RAMP_DOWN_SHARE))


@dataclass(frozen=True, slots=True)
class AllocationMemory:
    """Levels of the two ramp buckets at a plant time, and the mode in which every commandable rig was left."""

    at: float | None = None
    up: float | None = None
    down: float | None = None
    modes: Mapping[RigName, str] = field(default_factory=dict)


def allocate(
    decisions: Mapping[RigName, Decision],
    views: Sequence[RigView],
    limits: Limits,
    memory: AllocationMemory,
    *,
    plant_now: float,
    settings: AllocationSettings,
    curves: Curves | None = None,
) -> tuple[dict[RigName, Decision], AllocationMemory]:
    """Decisions that keep the limits, never above a wish. Call `remember` with what safety leaves of them."""
    seats, fixed = seats_of(decisions, views, memory.modes, curves or Curves())
    elapsed = 0.0 if memory.at is None else plant_now - memory.at
    up = Bucket.filled(settings.ramp_up_per_minute, memory.up, elapsed)
    down = Bucket.filled(settings.ramp_down_per_minute, memory.down, elapsed)
    for seat in seats:
        _keep_off(seat, plant_now, settings.minimum_off)
    target = _Envelope.of(limits)
    target.charge(fixed, seats)
    target.share_out([seat for seat in seats if not seat.shadow])
    target.share_out([seat for seat in seats if seat.shadow])
    real = [seat for seat in seats if not seat.shadow]
    _lower_for_money(real, target, down)
    _raise(real, _headroom(limits, fixed, seats, settings.meter_margin), up, settings)
    left = dict(decisions)
    for seat in seats:
        if seat.mode.name != seat.decision.mode:
            left[seat.name] = seat.decision.changed(STAGE, seat.mode, seat.reason or Reason.SITE_CAP, seat.numbers)
    return left, AllocationMemory(plant_now, up.level, down.level, memory.modes)


def remember(
    memory: AllocationMemory, decisions: Mapping[RigName, Decision], views: Iterable[RigView]
) -> AllocationMemory:
    """Note what really stands at the end of a cycle: without it a rig that safety lowered would come back at once."""
    modes = {
        view.name: decisions[view.name].mode
        for view in views
        if view.name in decisions and not is_shadow(view) and not is_immovable(view)
    }
    return AllocationMemory(memory.at, memory.up, memory.down, modes)


def site_target(decisions: Mapping[RigName, Decision], views: Iterable[RigView], base_load: Watts) -> Watts:
    """What the site should draw once everything is carried out; what cannot be commanded counts as believed."""
    total = float(base_load)
    rest: list[RigView] = []
    for view in views:
        decision = decisions.get(view.name)
        if decision is None or not view.commandable:
            rest.append(view)
        else:
            total += decision.power
    return Watts(total + believed_total(rest))


def _keep_off(seat: Seat, plant_now: float, minimum_off: float) -> None:
    """A rig that has not slept for long enough is no candidate: its share goes to others."""
    since = seat.view.since
    if seat.shadow or seat.view.state is not RigState.ASLEEP or since is None or not seat.top:
        return
    if plant_now - since < minimum_off and seat.now is not None and seat.now.power <= seat.ladder[0].power:
        seat.ladder, seat.gains = seat.ladder[:1], seat.gains[:1]
        seat.reason = Reason.MINIMUM_OFF_TIME
        seat.numbers = {"elapsed_s": plant_now - since, "minimum_s": minimum_off}


class _Envelope:
    """What is left of every limit while power is shared out."""

    def __init__(self, site: SiteLimit | None, base_load: float, feeders: Mapping[str, Watts]) -> None:
        self.limit = site
        self.site = None if site is None else site.power - base_load
        self.feeders: dict[str, float] = dict(feeders)
        self._caps = feeders

    @classmethod
    def of(cls, limits: Limits) -> "_Envelope":
        return cls(limits.site, limits.base_load, limits.feeders)

    def charge(self, fixed: Iterable[RigView], seats: Iterable[Seat]) -> None:
        """Take off what is drawn in any case."""
        for view in fixed:
            self.take(view.feeder, believed_power(view))
        for seat in seats:
            self.take(seat.view.feeder, seat.believed if seat.shadow else seat.floor)

    def take(self, feeder: str, power: float) -> None:
        """Use power of the site and of one feeder."""
        if self.site is not None:
            self.site -= power
        if feeder in self.feeders:
            self.feeders[feeder] -= power

    def short(self, feeder: str, power: float) -> Reason | None:
        """Which limit does not have this power left; None when all have."""
        if self.feeders and feeder in self.feeders and power > self.feeders[feeder] + SLACK:
            return Reason.FEEDER_CAP
        if self.site is not None and self.limit is not None and power > self.site + SLACK:
            return self.limit.reason
        return None

    def numbers(self, reason: Reason, feeder: str, needed: float) -> dict[str, float]:
        """What stands in a decision that a limit cut."""
        if reason is Reason.FEEDER_CAP:
            return {"limit_w": self._caps[feeder], "left_w": self.feeders[feeder], "needed_w": needed}
        assert self.limit is not None
        assert self.site is not None
        numbers = {"limit_w": float(self.limit.power), "left_w": self.site, "needed_w": needed}
        if self.limit.order is not None:
            numbers["order"] = float(self.limit.order)
        return numbers

    def share_out(self, seats: Sequence[Seat]) -> None:
        """Give every rig the highest place that the limits have room for, most hashes per watt first."""
        if not seats:
            return
        if seats[0].shadow:  # shown as if they obeyed: what they draw now is theirs to use
            for seat in seats:
                self.take(seat.view.feeder, seat.floor - seat.believed)
        if self._fits(seats):
            for seat in seats:
                seat.place = seat.top
                self.take(seat.view.feeder, seat.draw(seat.ladder[seat.top]) - seat.floor)
            return
        for _, seat, place in _steps(seats):
            if seat.closed:
                continue
            cost = seat.cost(place)
            reason = self.short(seat.view.feeder, cost) if cost > 0 else None
            if reason is not None:
                seat.closed, seat.reason = True, reason
                seat.numbers = self.numbers(reason, seat.view.feeder, cost)
                continue
            self.take(seat.view.feeder, cost)
            seat.place = place

    def _fits(self, seats: Sequence[Seat]) -> bool:
        """Whether everybody may have what was wished."""
        total = 0.0
        feeders = dict.fromkeys(self.feeders, 0.0)
        for seat in seats:
            more = seat.draw(seat.ladder[-1]) - seat.floor
            total += more
            if seat.view.feeder in feeders:
                feeders[seat.view.feeder] += more
        if self.site is not None and total > self.site + SLACK:
            return False
        return all(power <= self.feeders[name] + SLACK for name, power in feeders.items())


def _steps(seats: Sequence[Seat]) -> list[tuple[tuple[float, bool, int], Seat, int]]:
    """Every step of every ladder, most hashes per watt first, of equals those taken already, then by name."""
    steps: list[tuple[tuple[float, bool, int], Seat, int]] = []
    for number, seat in enumerate(sorted(seats, key=lambda seat: seat.name)):
        reached = -1.0 if seat.now is None else seat.now.power
        for place in range(1, len(seat.ladder)):
            taken = seat.ladder[place].power <= reached + SLACK
            gain = seat.gains[place]
            worth = gain * STAY_BONUS if taken and gain > 0 else gain
            steps.append(((-worth, not taken, number), seat, place))
    steps.sort(key=lambda step: step[0])
    return steps


def _lower_for_money(seats: Iterable[Seat], target: _Envelope, bucket: Bucket) -> None:
    """Hold back lowerings that only the price asks for, where the site would fall too fast and the limits have room."""
    if bucket.per_minute is None:
        return
    falling = [seat for seat in seats if seat.now is not None and seat.now.power > seat.ladder[-1].power + SLACK]
    falling.sort(key=lambda seat: (-(seat.view.efficiency or 0.0), seat.name))
    held = False
    for seat in falling:
        assert seat.now is not None
        if not held and bucket.take(seat.committed - seat.ladder[-1].power):
            continue
        held = True
        more = seat.draw(seat.now) - seat.draw(seat.mode)
        if target.short(seat.view.feeder, more) is None:
            target.take(seat.view.feeder, more)
            seat.standing, seat.reason = seat.now, Reason.RAMP_LIMIT
            seat.numbers = {"ramp_w_per_min": bucket.per_minute, "left_w": bucket.level, "needed_w": more}


def _headroom(limits: Limits, fixed: Iterable[RigView], seats: Iterable[Seat], margin: float) -> _Envelope:
    """What is free by observation: everything counts at what it draws or may already be on its way to draw."""
    room = _Envelope.of(limits)
    coming = 0.0
    for view in fixed:
        room.take(view.feeder, believed_power(view))
    for seat in seats:
        drawn = seat.believed if seat.shadow else seat.committed
        room.take(seat.view.feeder, drawn)
        coming += drawn - seat.believed
    if room.site is not None and room.limit is not None and limits.meter is not None:
        room.site = min(room.site, room.limit.power * (1 - margin) - limits.meter - coming)
    return room


def _raise(seats: Iterable[Seat], room: _Envelope, bucket: Bucket, settings: AllocationSettings) -> None:
    """Let rigs rise as far as head-room, ramp and stagger allow, most hashes per watt first; the others stay."""
    rising = [seat for seat in seats if seat.now is not None and seat.mode.power > seat.now.power + SLACK]
    rising.sort(key=lambda seat: (-seat.gains[seat.place], seat.name))
    wakes = 0
    ramped_out = False
    for seat in rising:
        assert seat.now is not None
        wakes_up = seat.now.power <= seat.ladder[0].power + SLACK
        if wakes_up and wakes >= settings.wakes_per_cycle:
            _stay(seat, Reason.STAGGER, {"wakes_per_cycle": float(settings.wakes_per_cycle)})
            continue
        mode = _highest(seat, room)
        if mode is None:
            continue
        more = max(0.0, mode.power - seat.committed)
        if more > 0 and (ramped_out or not bucket.take(more)):
            ramped_out = True
            numbers = {"ramp_w_per_min": bucket.per_minute or 0.0, "left_w": bucket.level, "needed_w": more}
            _stay(seat, Reason.RAMP_LIMIT, numbers)
            continue
        room.take(seat.view.feeder, more)
        wakes += wakes_up


def _highest(seat: Seat, room: _Envelope) -> Mode | None:
    """Lower the seat to the highest place that head-room has power for; None where it must stay as it is."""
    assert seat.now is not None
    for place in range(seat.place, 0, -1):
        mode = seat.ladder[place]
        if mode.power <= seat.now.power + SLACK:
            break
        needed = mode.power - seat.committed
        reason = room.short(seat.view.feeder, needed) if needed > 0 else None
        if reason is None:
            seat.place = place
            return mode
        seat.reason, seat.numbers = reason, room.numbers(reason, seat.view.feeder, needed)
    seat.standing = seat.now
    return None


def _stay(seat: Seat, reason: Reason, numbers: Mapping[str, float]) -> None:
    seat.standing, seat.reason, seat.numbers = seat.now, reason, numbers
