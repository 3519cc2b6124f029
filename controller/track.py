"""The fate of commands, rig by rig: planned, sent, confirmed, contradicted, expired. Only an observation confirms.

    decision --Track.want--> Move --host--> Outcome --Track.concluded--> readings --Track.observed--> Verdict

No I/O and no clock: instants are arguments. `mono` times run deadlines, `plant` times measure how often something else
undoes our state.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

from controller.host import Conclusion
from controller.plan import Reason

CONTEST_REST = 4 * 3600.0
"""Plant seconds after the last undoing until we try again: a night shift's manual work is over by then."""
RETRY_PAUSE = 5.0
"""Mono seconds before the second attempt; each further one waits twice as long."""


class CommandState(StrEnum):
    """States of a command in the store; closed set, also a metric label."""

    PLANNED = "planned"  # on disk, not yet answered
    SENT = "sent"  # the driver gave a receipt
    UNKNOWN = "unknown"  # sent, no answer
    CONFIRMED = "confirmed"  # an observation after the command shows the mode
    CONTRADICTED = "contradicted"  # an observation after the deadline shows another
    EXPIRED = "expired"  # no observation came, or it was never sent in time
    REFUSED = "refused"  # the rig said no
    FAILED = "failed"  # it never reached the rig
    SUPERSEDED = "superseded"  # a newer command took its place


_ENDS = {
    Conclusion.FAILED: CommandState.FAILED,
    Conclusion.REFUSED: CommandState.REFUSED,
    Conclusion.EXPIRED: CommandState.EXPIRED,
    Conclusion.SUPERSEDED: CommandState.SUPERSEDED,
}


@dataclass(slots=True)
class _Flight:
    number: int
    mode: str
    sent: float
    deadline: float
    answered: float | None = None  # when the driver was done with it, well or not


@dataclass(frozen=True, slots=True)
class Verdict:
    """A command that reached an end, or was answered, and what is to be written down of it."""

    number: int
    state: CommandState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How patient we are with one rig."""

    attempts: int = 3
    refusing_pause: float = 3600.0  # mono seconds before a rig that did not obey is tried again
    contest_count: int = 2  # undoings within the window that make a rig contested
    contest_window: float = 1800.0  # plant seconds


class Track:
    """One rig's command in flight, its attempts and its quarrels."""

    __slots__ = (
        "_attempts",
        "_flight",
        "_next_try",
        "_settings",
        "_undone",
        "commanded",
        "confirmed",
        "contested",
        "detail",
        "refusing",
    )

    def __init__(self, settings: TrackSettings) -> None:
        self._settings = settings
        self.confirmed: str | None = None  # mode that our last obeyed command set
        self.commanded = False  # we have sent it something since the start
        self.refusing = False
        self.contested = False
        self.detail = ""  # why it is refusing or contested, for people
        self._flight: _Flight | None = None
        self._attempts = 0
        self._next_try = 0.0
        self._undone: deque[float] = deque(maxlen=settings.contest_count)

    @property
    def obstacle(self) -> Reason | None:
        """Why the planner should count on nothing from this rig."""
        if self.contested:
            return Reason.CONTESTED
        return Reason.REFUSING if self.refusing else None

    @property
    def in_flight(self) -> str | None:
        """The mode that a command on its way will set."""
        return self._flight.mode if self._flight is not None else None

    @property
    def awaiting(self) -> bool:
        """The driver is done and a reading is to show the effect."""
        return self._flight is not None and self._flight.answered is not None

    def ready(self, mode: str, observed: str | None, mono: float, plant: float, *, firm: bool) -> bool:
        """Whether a command for `mode` should go out now. Notes when something else undid what we had set.

        `firm` wishes (orders, caps, heat) go to contested rigs too: under an order our state is asserted again.
        """
        if observed is None or observed == mode:
            return False
        if self._flight is not None:
            return self._flight.mode != mode
        if self.confirmed == mode:
            self._note_undoing(observed, plant)
        if self.contested and plant - self._undone[-1] > CONTEST_REST:
            self.make_peace()
        if self.contested and not firm:
            return False
        return mono >= self._next_try

    def sent(self, number: int, mode: str, mono: float, deadline: float) -> Verdict | None:
        """A command is handed over; the one before it, if any, ends here."""
        before = self._flight
        if before is None or before.mode != mode:
            self._attempts = 0 if not self.refusing else self._attempts
        self._flight = _Flight(number, mode, mono, deadline)
        self.commanded = True
        self.confirmed = None
        if before is not None and before.answered is not None:
            return Verdict(before.number, CommandState.SUPERSEDED, f"now {mode}")
        return None

    def concluded(self, number: int, conclusion: Conclusion, detail: str, mono: float) -> Verdict | None:
        """The host is done with a command."""
        flight = self._flight
        if flight is None or flight.number != number:
            end = _ENDS.get(conclusion, CommandState.SUPERSEDED)
            return Verdict(number, end, detail)
        if conclusion in (Conclusion.ANSWERED, Conclusion.UNKNOWN):
            flight.answered = mono
            state = CommandState.SENT if conclusion is Conclusion.ANSWERED else CommandState.UNKNOWN
            return Verdict(number, state, detail)
        self._flight = None
        if conclusion is Conclusion.REFUSED:
            self._attempts = self._settings.attempts
        if conclusion in (Conclusion.REFUSED, Conclusion.FAILED):
            self._missed(detail or conclusion.value, mono)
        return Verdict(number, _ENDS[conclusion], detail)

    def observed(self, mode: str | None, taken: float) -> Verdict | None:
        """A live reading: confirms a command that was answered before it, settles a quarrel that is over."""
        flight = self._flight
        if mode is None or flight is None or flight.answered is None or taken <= flight.answered:
            return None
        if mode != flight.mode:
            return None
        self._flight = None
        self._attempts = 0
        self._next_try = 0.0
        self.refusing = False
        self.confirmed = mode
        if not self.contested:
            self.detail = ""
        return Verdict(flight.number, CommandState.CONFIRMED)

    def overdue(self, observed: str | None, seen: float | None, mono: float) -> Verdict | None:
        """Give up waiting: contradicted when a reading since shows another mode, expired when there was none."""
        flight = self._flight
        if flight is None or mono < flight.deadline:
            return None
        self._flight = None
        told = flight.answered is not None and seen is not None and seen > flight.answered and observed is not None
        if told:
            detail = f"asked for {flight.mode}, still {observed}"
            self._missed(detail, mono)
            return Verdict(flight.number, CommandState.CONTRADICTED, detail)
        detail = f"asked for {flight.mode}, no reading since"
        self._missed(detail, mono)
        return Verdict(flight.number, CommandState.EXPIRED, detail)

    def make_peace(self) -> None:
        """Forget quarrels and refusals: the operator looked into it."""
        self.contested = False
        self.refusing = False
        self.detail = ""
        self._attempts = 0
        self._next_try = 0.0
        self._undone.clear()

    def _missed(self, detail: str, mono: float) -> None:
        self._attempts += 1
        self.detail = detail
        if self._attempts >= self._settings.attempts:
            self.refusing = True
            self._next_try = mono + self._settings.refusing_pause
        else:
            self._next_try = mono + RETRY_PAUSE * 2.0 ** (self._attempts - 1)

    def _note_undoing(self, observed: str, plant: float) -> None:
        self.confirmed = None
        self._undone.append(plant)
        recent = [instant for instant in self._undone if plant - instant <= self._settings.contest_window]
        if len(recent) >= self._settings.contest_count and not self.contested:
            self.contested = True
            minutes = self._settings.contest_window / 60
            self.detail = f"something else set it to {observed} {len(recent)} times within {minutes:g} min"
