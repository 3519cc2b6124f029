"""The border to the rigs: batches of observations in, instructions out, plain values only.

The daemon sees rigs through a `RigHost` and nothing else. `controller.local_host` keeps them in this process; worker
processes that own shards of rigs can stand behind the same border without any other change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from shedload.device import Command, Observation, ReadFailure, Receipt, RigName


@dataclass(frozen=True, slots=True)
class Instruction:
    """One command for one rig; `number` is the store's.

    `expires` is a Clock.mono() instant after which it must not be sent any more.
    """

    number: int
    rig: RigName
    command: Command
    lowering: bool
    expires: float


class Conclusion(StrEnum):
    """How the carrying out of an instruction ended. None of them means that the rig obeyed."""

    ANSWERED = "answered"  # the driver gave a receipt
    UNKNOWN = "unknown"  # sent, no answer: read back
    FAILED = "failed"  # never reached the rig
    REFUSED = "refused"  # the rig or its driver said no
    EXPIRED = "expired"  # not sent in time
    SUPERSEDED = "superseded"  # a newer instruction took its place before it was sent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an instruction."""

    number: int
    rig: RigName
    conclusion: Conclusion
    finished: float
    receipt: Receipt | None = None
    failure: ReadFailure | None = None


class HostSink(Protocol):
    """Who listens to a host. Calls come from the host's own loop and must return at once."""

    def observed(self, batch: Sequence[Observation]) -> None:
        """Take readings, in the order in which they were completed."""
        ...

    def concluded(self, outcome: Outcome) -> None:
        """Take the outcome of an instruction; comes exactly once for each."""
        ...


class RigHost(Protocol):
    """Where rigs live."""

    async def run(self, sink: HostSink) -> None:
        """Poll and obey until cancelled; closes every rig on the way out."""
        ...

    def instruct(self, instruction: Instruction) -> None:
        """Queue an instruction; the latest for a rig wins, a lowering one cancels a poll in progress."""
        ...

    def refresh(self, rig: RigName) -> None:
        """Read this rig as soon as its lane is free."""
        ...
