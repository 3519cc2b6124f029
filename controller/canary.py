"""The first automatic commands of a group go to a few rigs; the rest follows when those have been seen to obey."""

import math
from dataclasses import dataclass, field

from shedload.device import RigName

FEW = 10
SHARE = 0.01
ENOUGH = 0.8
"""Part of the first rigs that must have obeyed: refusing rigs are named elsewhere and must not hold a hall back."""


@dataclass(slots=True)
class Canary:
    """One group's way from untried to proven."""

    size: int  # rigs in the group
    proven: bool = False
    touched: set[RigName] = field(default_factory=set)
    confirmed: set[RigName] = field(default_factory=set)
    named: set[RigName] = field(default_factory=set)  # did not obey and were named

    @property
    def limit(self) -> int:
        """How many rigs may be touched before the group is proven: ten, or one in a hundred of a larger group."""
        return max(FEW, math.ceil(self.size * SHARE))

    def allows(self, rig: RigName) -> bool:
        """Whether an economic command may go to this rig now."""
        return self.proven or rig in self.touched or len(self.touched) < self.limit

    def touch(self, rig: RigName) -> None:
        """Note a command that went out."""
        if not self.proven:
            self.touched.add(rig)

    def confirm(self, rig: RigName) -> bool:
        """Note a rig that obeyed. True when this proved the group."""
        return self._settle(rig, self.confirmed)

    def name(self, rig: RigName) -> bool:
        """Note a rig that did not obey. True when this proved the group."""
        return self._settle(rig, self.named)

    def _settle(self, rig: RigName, place: set[RigName]) -> bool:
        if self.proven or rig not in self.touched:
            return False
        self.confirmed.discard(rig)
        self.named.discard(rig)
        place.add(rig)
        full = len(self.touched) >= min(self.limit, self.size)
        settled = len(self.confirmed) + len(self.named) == len(self.touched)
        self.proven = full and settled and len(self.confirmed) >= ENOUGH * len(self.touched)
        return self.proven
