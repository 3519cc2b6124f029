"""What the allocator knows of each rig: the steps it may climb, what it draws before the first, and where it stands."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.curve import Curve, Curves, mode_named, mode_now
from controller.limits import believed_power, is_shadow
from controller.plan import Decision, Reason, RigState, RigView
from shedload.device import Mode, RigName

IMMOVABLE = frozenset({Reason.CONTESTED, Reason.UNREACHABLE})
"""Obstacles of rigs that nothing is decided for: they stay, and count as they are believed to draw."""


@dataclass(slots=True)
class Seat:
    """One rig in one allocation."""

    name: RigName
    view: RigView
    decision: Decision  # of the policy
    ladder: tuple[Mode, ...]  # from sleep to the mode that is wanted, along the hull
    gains: tuple[float, ...]  # H/s per watt of each step, by the rig's own efficiency
    now: Mode | None  # where it stands: as last decided, else as seen
    believed: float  # watts it must be taken to draw now
    floor: float  # watts that it draws even if it gets nothing
    shadow: bool
    place: int = 0  # on the ladder, as allocated
    closed: bool = False  # no further step is possible
    reason: Reason | None = None  # why not
    numbers: Mapping[str, float] | None = None
    standing: Mode | None = None  # kept where it stands instead

    @property
    def top(self) -> int:
        """Place of the wanted mode."""
        return len(self.ladder) - 1

    @property
    def mode(self) -> Mode:
        """The mode as allocated."""
        return self.standing if self.standing is not None else self.ladder[self.place]

    @property
    def committed(self) -> float:
        """Watts that it may draw by what was decided before, a raise on its way included."""
        return self.believed if self.now is None else max(self.believed, self.now.power)

    def cost(self, place: int) -> float:
        """Watts that the step to a place adds to what is counted for the rig."""
        below = self.ladder[place - 1].power if place else 0.0
        return max(0.0, self.ladder[place].power - max(self.floor, below))

    def draw(self, mode: Mode) -> float:
        """Watts to count for the rig in a mode."""
        return max(self.floor, mode.power)


def seats_of(
    decisions: Mapping[RigName, Decision],
    views: Iterable[RigView],
    standing: Mapping[RigName, str],
    curves: Curves,
) -> tuple[list[Seat], list[RigView]]:
    """Seats of the rigs that can be decided for, and the views of those that cannot."""
    seats: list[Seat] = []
    fixed: list[RigView] = []
    for view in views:
        decision = decisions.get(view.name)
        seat = None if decision is None else _seat(view, decision, standing.get(view.name), curves)
        if seat is None:
            fixed.append(view)
        else:
            seats.append(seat)
    return seats, fixed


def is_immovable(view: RigView) -> bool:
    """Whether nothing can be decided for the rig."""
    return view.obstacle in IMMOVABLE or view.state in (RigState.UNKNOWN, RigState.OFFLINE) or not view.modes


def _seat(view: RigView, decision: Decision, standing: str | None, curves: Curves) -> Seat | None:
    if is_immovable(view):
        return None
    wanted = mode_named(view.modes, decision.mode)
    curve = curves.of(view.modes)
    if wanted is None or curve is None:
        return None
    shadow = is_shadow(view)
    ladder, gains = _ladder(curve, wanted, curve.correction(view.efficiency))
    now = None if shadow else mode_named(view.modes, standing)
    believed = believed_power(view)
    return Seat(
        name=view.name,
        view=view,
        decision=decision,
        ladder=ladder,
        gains=gains,
        now=now or mode_now(view),
        believed=believed,
        floor=ladder[0].power if view.commandable or shadow else believed,
        shadow=shadow,
    )


def _ladder(curve: Curve, wanted: Mode, factor: float) -> tuple[tuple[Mode, ...], tuple[float, ...]]:
    """The hull up to the wanted mode, which need not lie on it, and the hashes per watt of each step."""
    if wanted is curve.modes[-1]:  # the usual case
        gains = curve.gains
        return curve.modes, gains if factor == 1.0 else tuple([gain * factor for gain in gains])
    below = () if wanted is curve.modes[0] else tuple(mode for mode in curve.modes if mode.power < wanted.power)
    if not below:
        return (wanted,), (0.0,)
    last = (wanted.hashrate - below[-1].hashrate) / (wanted.power - below[-1].power)
    return (*below, wanted), tuple([gain * factor for gain in (*curve.gains[: len(below)], last)])
