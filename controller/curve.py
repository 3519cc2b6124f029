"""The part of a power curve that is ever worth choosing: its upper hull from sleep, and where on it a rig stands.

    Mode, Mode, ... --hull--> Curve --> policy (by price), allocate (by scarcity)

A mode below the line between two others is never best at any price. The hull does not depend on price or hashprice:
both only decide how far up one goes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from controller.plan import RigState, RigView
from shedload.device import Mode
from shedload.units import TERA

NORMAL = "normal"
"""Name of the mode that a rig's own efficiency is stated for, where its curve has one; else its highest mode."""

PLAUSIBLE_CORRECTION = (0.25, 2.0)
"""A rig that seems to hash less than a quarter or more than twice its curve is misread; its curve is believed."""

SAME_POWER = 0.9
"""A rig whose mode is not known is in the lowest mode that draws at least its power less this share for tolerance."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Modes on the hull, sleep first, power rising; `gains[k]` is H/s per watt from mode k-1 to mode k, falling."""

    modes: tuple[Mode, ...]
    gains: tuple[float, ...]
    normal: Mode  # what nominal figures of the rig speak of

    @property
    def runs(self) -> bool:
        """There is something beside sleep."""
        return len(self.modes) > 1

    def place(self, mode: Mode) -> int:
        """The highest place on the hull that draws no more than `mode`; at least 1 for anything that is not sleep."""
        if mode == self.modes[0]:
            return 0
        place = 1 if self.runs else 0
        while place + 1 < len(self.modes) and self.modes[place + 1].power <= mode.power:
            place += 1
        return place

    def correction(self, efficiency: float | None) -> float:
        """What the rig's own J/TH says its hashrate is, as a multiple of the curve's; 1 where nothing can be said."""
        if not efficiency or not self.normal.hashrate:
            return 1.0
        factor = self.normal.power * TERA / self.normal.hashrate / efficiency
        low, high = PLAUSIBLE_CORRECTION
        return factor if low <= factor <= high else 1.0


class Curves:
    """Curves by the tuple of modes that they were made of; rigs of one model share one. Lives for one cycle."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[tuple[Mode, ...], Curve]] = {}

    def of(self, modes: tuple[Mode, ...]) -> Curve | None:
        """The curve, or None where there are no modes."""
        known = self._known.get(id(modes))
        if known is not None:
            return known[1]
        if not modes:
            return None
        curve = curve_of(modes)
        self._known[id(modes)] = (modes, curve)  # holding the modes keeps their id from being used again
        return curve


def curve_of(modes: Sequence[Mode]) -> Curve:
    """The hull of at least one mode; the first is sleep."""
    if len(modes) == 2 and modes[1].power > modes[0].power and modes[1].hashrate > 0:  # most rigs: saves 50,000 hulls
        sleep, on = modes
        return Curve((sleep, on), (0.0, (on.hashrate - sleep.hashrate) / (on.power - sleep.power)), on)
    hull = upper_hull(modes)
    gains = [0.0]
    gains += [(b.hashrate - a.hashrate) / (b.power - a.power) for a, b in pairwise(hull)]
    normal = next((mode for mode in modes[1:] if mode.name == NORMAL), modes[-1])
    return Curve(hull, tuple(gains), normal)


def upper_hull(modes: Sequence[Mode]) -> tuple[Mode, ...]:
    """Modes that no mixture of two others beats, from sleep to the highest power."""
    hull = [modes[0]]
    for mode in _rising(modes):
        while len(hull) > 1 and not _bends_down(hull[-2], hull[-1], mode):
            hull.pop()
        hull.append(mode)
    return tuple(hull)


def mode_named(modes: Iterable[Mode], name: str | None) -> Mode | None:
    """The mode of this name, or None."""
    for mode in modes:
        if mode.name == name:
            return mode
    return None


def mode_now(view: RigView) -> Mode | None:
    """The mode that a rig is in: by its own word, by being asleep, or by its power; None where nothing tells."""
    mode = mode_named(view.modes, view.mode)
    if mode is not None or not view.modes:
        return mode
    if view.state is RigState.ASLEEP:
        return view.modes[0]
    if view.state not in AWAKE or view.power is None or len(view.modes) < 2:
        return None
    running = sorted(view.modes[1:], key=lambda mode: mode.power)
    return next((mode for mode in running if mode.power >= view.power * SAME_POWER), running[-1])


AWAKE = frozenset({RigState.HASHING, RigState.RAMPING, RigState.IDLE})
"""States in which a rig answers and was not sent to sleep."""


def _rising(modes: Sequence[Mode]) -> list[Mode]:
    """Modes that draw more than sleep and hash, by power; of equal power the one that hashes most."""
    best: dict[float, Mode] = {}
    for mode in modes[1:]:
        if mode.power > modes[0].power and mode.hashrate > 0:
            known = best.get(mode.power)
            if known is None or mode.hashrate > known.hashrate:
                best[mode.power] = mode
    return [best[power] for power in sorted(best)]


def _bends_down(a: Mode, b: Mode, c: Mode) -> bool:
    """Going a, b, c the gain falls at b."""
    return (b.hashrate - a.hashrate) * (c.power - b.power) > (c.hashrate - b.hashrate) * (b.power - a.power)
