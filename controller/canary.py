"""The first automatic commands of a group go to a few rigs; the rest follows when those have been seen to obey."""

from dataclasses import dataclass, field

from shedload.device import RigName


@dataclass(slots=True)
class Canary:
    """One group's way from untried to proven.

    A rig that refused is named elsewhere and makes room for another. So does one that fell silent under its command,
    but only as many of those as may be tried at a time: what silences rigs must not go through the whole group.
    """

    limit: int  # rigs that may be tried before the group is proven, at least 1
    proven: bool = False
    trying: set[RigName] = field(default_factory=set)
    confirmed: set[RigName] = field(default_factory=set)
    lost: set[RigName] = field(default_factory=set)

    @property
    def stalled(self) -> bool:
        """Too many rigs fell silent under their first command: nothing goes on until some of them are seen to obey."""
        return not self.proven and len(self.lost) > self.limit

    def allows(self, rig: RigName) -> bool:
        """Whether an economic command may go to this rig now."""
        if self.proven or rig in self.trying or rig in self.confirmed or rig in self.lost:
            return True
        return not self.stalled and len(self.trying) + len(self.confirmed) < self.limit

    def touch(self, rig: RigName) -> None:
        """Note a command that went out."""
        if not self.proven and rig not in self.confirmed:
            self.lost.discard(rig)
            self.trying.add(rig)

    def confirm(self, rig: RigName) -> bool:
        """Note a rig that obeyed. True when this proved the group."""
        if self.proven or (rig not in self.trying and rig not in self.lost):
            return False
        self._release(rig)
        self.confirmed.add(rig)
        self.proven = len(self.confirmed) >= self.limit
        return self.proven

    def lose(self, rig: RigName) -> bool:
        """Note a rig that fell silent. True when this stalled the group."""
        if self.proven or rig not in self.trying:
            return False
        stalled = self.stalled
        self._release(rig)
        self.lost.add(rig)
        return self.stalled and not stalled

    def name(self, rig: RigName) -> None:
        """Note a rig that refused, or that the command never reached."""
        self._release(rig)

    def _release(self, rig: RigName) -> None:
        self.trying.discard(rig)
        self.lost.discard(rig)


def canary_limit(size: int, *, rigs: int, percent: float) -> int:
    """How many rigs of a group of `size` may be tried first: a number or a share, whichever is less, but one."""
    return max(1, min(rigs, int(size * percent / 100.0), size))
