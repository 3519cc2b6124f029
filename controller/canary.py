"""The first automatic commands of a group go to a few rigs; the rest follows when those have been seen to obey."""

from dataclasses import dataclass, field

from shedload.device import RigName


@dataclass(slots=True)
class Canary:
    """One group's way from untried to proven. A rig that did not obey is named elsewhere and makes room for another."""

    limit: int  # rigs that may be tried before the group is proven, at least 1
    proven: bool = False
    trying: set[RigName] = field(default_factory=set)
    confirmed: set[RigName] = field(default_factory=set)

    def allows(self, rig: RigName) -> bool:
        """Whether an economic command may go to this rig now."""
        known = rig in self.trying or rig in self.confirmed
        return self.proven or known or len(self.trying) + len(self.confirmed) < self.limit

    def touch(self, rig: RigName) -> None:
        """Note a command that went out."""
        if not self.proven and rig not in self.confirmed:
            self.trying.add(rig)

    def confirm(self, rig: RigName) -> bool:
        """Note a rig that obeyed. True when this proved the group."""
        if self.proven or rig not in self.trying:
            return False
        self.trying.discard(rig)
        self.confirmed.add(rig)
        self.proven = len(self.confirmed) >= self.limit
        return self.proven

    def name(self, rig: RigName) -> None:
        """Note a rig that did not obey."""
        self.trying.discard(rig)


def canary_limit(size: int, *, rigs: int, percent: float) -> int:
    """How many rigs of a group of `size` may be tried first: a number or a share, whichever is less, but one."""
    return max(1, min(rigs, int(size * percent / 100.0), size))
