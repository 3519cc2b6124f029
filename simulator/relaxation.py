"""A quantity on its way to a new value: first-order response in closed form.

Everything a simulated rig does with power, hashes and heat is made of these. So a rig that nobody asks costs nothing,
and what it answers does not depend on how often it was asked.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Relaxation:
    """`value` at `start`, then towards `target` with time constant `tau` (seconds)."""

    start: float
    value: float
    target: float
    tau: float

    def at(self, now: float) -> float:
        """The quantity at a time not before `start`."""
        return self.target + (self.value - self.target) * math.exp(-(now - self.start) / self.tau)

    def integral(self, until: float) -> float:
        """The integral over time from `start` to `until`."""
        span = until - self.start
        return self.target * span + (self.value - self.target) * self.tau * -math.expm1(-span / self.tau)

    def crosses(self, level: float) -> float | None:
        """When the quantity reaches `level`, or None if it never does."""
        if self.value == level:
            return self.start
        remaining, distance = level - self.target, self.value - self.target
        if distance == 0 or remaining / distance <= 0 or remaining / distance > 1:
            return None
        return self.start + self.tau * math.log(distance / remaining)

    def redirect(self, now: float, target: float, tau: float) -> "Relaxation":
        """The same quantity, from `now` on towards something else."""
        return Relaxation(now, self.at(now), target, tau)
