"""Variable difficulty after ckpool's rule: one share per few seconds from each rig, changed rarely. Knows no protocol.

The rate is a decaying average over five minutes, corrected for a short history. Between 0.5 and 1.33 times the wanted
rate nothing changes, and nothing changes before 72 shares or four minutes.
"""

import math
from dataclasses import dataclass

from shedload.bitcoin.target import floor_power_of_two

DECAY_SECONDS = 300.0
"""Window of the average."""

MIN_SHARES = 72
MIN_SECONDS = 240.0
"""A change needs this many shares or this much time since the last one: ckpool's figures."""

LOW_RATIO = 0.15
HIGH_RATIO = 0.4
"""Shares per second between which all is well; 0.3 is the aim."""

FLOOR_RATIO = 0.5
"""The same lower edge where the rig itself asked for a minimum: such a rig gets one share per 2.4 s."""

FACTOR = 3.33
FACTOR_WITH_FLOOR = 2.4
"""Seconds between shares that a new difficulty aims at."""

SILENT_SECONDS = 240.0
"""A rig without any share for this long gets half; ckpool would wait for ever for a rig that started too high."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a difficulty may be: `minimum`, `maximum` are the pool's, `floor` the rig's wish, `network` the block's."""

    minimum: float = 1.0
    maximum: float | None = None
    floor: float | None = None
    network: float | None = None
    powers_of_two: bool = True


class Vardiff:
    """Difficulty of one rig. `share` and `tick` return a new difficulty when one is due, else None."""

    def __init__(self, difficulty: float, now: float, bounds: Bounds | None = None) -> None:
        self.difficulty = difficulty
        self.bounds = bounds or Bounds()
        self.rate = 0.0
        self._shares = 0
        self._changed = now
        self._first: float | None = None
        self._last = now

    def share(self, difficulty: float, now: float) -> float | None:
        """Count an accepted or stale share of a job of this difficulty."""
        if self._first is None:
            self._first = now
        self.rate = decay(self.rate, difficulty, now - self._last, DECAY_SECONDS)
        self._last = now
        self._shares += 1
        if self._shares < MIN_SHARES and now - self._changed < MIN_SECONDS:
            return None
        if difficulty != self.difficulty:
            self._shares = 0
            return None
        return self._adjust(now)

    def tick(self, now: float) -> float | None:
        """Halve where nothing came at all for SILENT_SECONDS."""
        if now - max(self._last, self._changed) < SILENT_SECONDS:
            return None
        halved = self._bounded(self.difficulty / 2)
        return self._change(halved, now) if halved < self.difficulty else None

    def _adjust(self, now: float) -> float | None:
        since_first = now - (self._first if self._first is not None else now)
        weight = bias(since_first, DECAY_SECONDS)
        if weight <= 0:
            return None
        rate = self.rate / weight
        ratio = rate / self.difficulty
        floor = self.bounds.floor
        if LOW_RATIO < ratio < HIGH_RATIO or (floor and ratio < FLOOR_RATIO):
            return None
        wanted = self._bounded(rate * (FACTOR_WITH_FLOOR if floor else FACTOR))
        if wanted == self.difficulty:
            return None
        if wanted < self.difficulty and self._shares == 1:
            self._changed = now  # the first share after an absence says nothing about the rate
            return None
        return self._change(wanted, now)

    def _bounded(self, wanted: float) -> float:
        """Apply the bounds; rounding comes before them, and the smaller of two bounds wins."""
        bounds = self.bounds
        value = _powers_of_two(wanted) if bounds.powers_of_two else _whole(wanted)
        value = max(value, bounds.minimum, bounds.floor or 0.0)
        for ceiling in (bounds.maximum, bounds.network):
            value = value if ceiling is None else min(value, ceiling)
        return value

    def _change(self, difficulty: float, now: float) -> float:
        self.difficulty = difficulty
        self._shares = 0
        self._changed = now
        return difficulty


def decay(average: float, added: float, seconds: float, window: float) -> float:
    """Fold `added`, which took `seconds` to come, into an average per second over `window` seconds."""
    if seconds <= 0:
        return average
    weight = 1 - math.exp(-min(36.0, seconds / window))
    result = (average + added / seconds * weight) / (1 + weight)
    return 0.0 if result < 2e-16 else result


def bias(seconds: float, window: float) -> float:
    """Share of the window that a history of `seconds` has filled: divide an average by it."""
    return 1 - math.exp(-min(36.0, max(0.0, seconds) / window))


def _powers_of_two(value: float) -> float:
    return float(floor_power_of_two(value)) if value > 0 else 0.0


def _whole(value: float) -> float:
    return float(round(value)) if value >= 1 else value
