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
ARRIVES_WITHIN = 20.0
"""Mono seconds after the rig's answer within which a sleep shows in the power: firmware needs 2 to 10."""
RETRY_PAUSE = 5.0
"""Mono seconds before the second attempt; each further one waits twice as long."""
FIRM_PAUSE = 300.0
"""Mono seconds after which a rig that did not obey is asked again where an order or a limit demands it."""
REASSERT_PAUSE = 60.0
"""Mono seconds between two assertions of our state against somebody who undoes it: each may write flash."""


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
    patience: float  # from the driver's answer to the reading that shows the effect
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
        "_missed_at",
        "_next_try",
        "_settings",
        "_tried",
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
        self._tried: str | None = None  # mode of the last command
        self._attempts = 0  # to set it
        self._missed_at = 0.0
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

    def arriving(self, mono: float) -> bool:
        """Whether a command on its way may be counted on: a first try that had no time to show its effect yet."""
        flight = self._flight
        if flight is None or self._attempts:
            return False
        return flight.answered is None or mono - flight.answered <= ARRIVES_WITHIN

    def ready(self, mode: str, observed: str | None, mono: float, plant: float, *, firm: bool) -> bool:
        """Whether a command for `mode` should go out now. Notes when something else undid what we had set.

        `firm` wishes (orders, caps, heat) go to contested rigs too: under an order our state is asserted again. A
        command on its way is countermanded even where the rig does not show its effect yet.
        """
        if observed is None:
            return False
        if self._flight is not None:
            return self._flight.mode != mode
        if observed == mode:
            return False
        if self.confirmed == mode:
            self._note_undoing(observed, mono, plant)
        if self.contested and plant - self._undone[-1] > CONTEST_REST:
            self.make_peace()
        if self.contested and not firm:
            return False
        return mono >= self._next_try or (firm and self.refusing and mono - self._missed_at >= FIRM_PAUSE)

    def sent(self, number: int, mode: str, patience: float) -> Verdict | None:
        """A command is handed over; one before it that was answered ends here, any other with its own conclusion."""
        before = self._flight
        if mode != self._tried and not self.refusing:
            self._attempts = 0
        self._tried = mode
        self._flight = _Flight(number, mode, patience)
        self.commanded = True
        self.confirmed = None
        if before is not None and before.answered is not None:
            return Verdict(before.number, CommandState.SUPERSEDED, f"now {mode}")
        return None

    def inherit(self, number: int, mode: str, mono: float, patience: float) -> None:
        """Take over a command of an earlier run whose outcome nobody knows; readings from now on settle it."""
        self._tried = mode
        self._flight = _Flight(number, mode, patience, answered=mono)

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
            self._missed(detail or conclusion.value, mono)
        elif conclusion is Conclusion.FAILED:  # it does not answer, which is not the same as not obeying
            self._next_try = mono + RETRY_PAUSE
        return Verdict(number, _ENDS[conclusion], detail)

    def observed(self, mode: str | None, taken: float) -> Verdict | None:
        """A live reading that is believed: confirms a command that was answered before it, or one given up too soon."""
        if mode is None:
            return None
        flight = self._flight
        if flight is None:
            if self.refusing and mode == self._tried:
                self._obeyed(mode)
            return None
        if flight.answered is None or taken <= flight.answered or mode != flight.mode:
            return None
        self._obeyed(mode)
        return Verdict(flight.number, CommandState.CONFIRMED)

    def overdue(self, observed: str | None, seen: float | None, mono: float) -> Verdict | None:
        """End the waiting: by what a reading since the answer shows, or expired when there was none."""
        flight = self._flight
        if flight is None or flight.answered is None or mono < flight.answered + flight.patience:
            return None
        if seen is None or seen <= flight.answered or observed is None:
            detail = f"asked for {flight.mode}, no reading since"
            self._flight = None
            self._missed(detail, mono)
            return Verdict(flight.number, CommandState.EXPIRED, detail)
        if observed == flight.mode:  # shown, and nothing came up against it in all this time
            self._obeyed(observed)
            return Verdict(flight.number, CommandState.CONFIRMED)
        detail = f"asked for {flight.mode}, still {observed}"
        self._flight = None
        self._missed(detail, mono)
        return Verdict(flight.number, CommandState.CONTRADICTED, detail)

    def make_peace(self) -> None:
        """Forget quarrels and refusals: the operator looked into it."""
        self.contested = False
        self.refusing = False
        self.detail = ""
        self._attempts = 0
        self._next_try = 0.0
        self._undone.clear()

    def _obeyed(self, mode: str) -> None:
        self._flight = None
        self._attempts = 0
        self._next_try = 0.0
        self.refusing = False
        self.confirmed = mode
        if not self.contested:
            self.detail = ""

    def _missed(self, detail: str, mono: float) -> None:
        self._attempts += 1
        self._missed_at = mono
        if not self.contested:
            self.detail = detail
        if self._attempts >= self._settings.attempts:
            self.refusing = True
            self._next_try = mono + self._settings.refusing_pause
        else:
            self._next_try = mono + RETRY_PAUSE * 2.0 ** (self._attempts - 1)

    def _note_undoing(self, observed: str, mono: float, plant: float) -> None:
        self.confirmed = None
        self._undone.append(plant)
        recent = [instant for instant in self._undone if plant - instant <= self._settings.contest_window]
        if self.contested:
            self._next_try = mono + REASSERT_PAUSE
        elif len(recent) >= self._settings.contest_count:
            self.contested = True
            minutes = self._settings.contest_window / 60
            self.detail = f"something else set it to {observed} {len(recent)} times within {minutes:g} min"
