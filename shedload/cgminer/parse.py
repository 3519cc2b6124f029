"""What a decoded reply means: its status, its sections, and the refusals a rig can answer with.

Drivers get a decoded reply, call `raise_for_status`, take rows by section and read each field with `values.py`.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Self

from shedload.cgminer.repair import Repaired
from shedload.cgminer.values import number
from shedload.errors import Garbled, Refused, Unauthorized, Unsupported

INVALID_COMMAND: Final = 14
ACCESS_DENIED: Final = 45
INVALID_POOL_DETAILS: Final = 53
"""cgminer repeats the details in this message, password included."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """The STATUS of a reply. `when` is epoch seconds on most rigs and seconds since start on Avalon.

    `letter` is S, I, W, E or F, and empty where the reply has no STATUS. `message` is text, or an object on Whatsminer.
    """

    letter: str = ""
    code: int | None = None
    message: Any = field(default="", repr=False)
    when: float | None = None
    description: str = ""

    @property
    def failed(self) -> bool:
        """True for E (error) and F (fatal); W still means done."""
        return self.letter in _FAILED


@dataclass(frozen=True, slots=True)
class Reply:
    """A decoded reply, seen by status and sections; the value is kept out of logs, since it can hold credentials."""

    value: Row = field(repr=False)
    repairs: tuple[str, ...] = ()

    @classmethod
    def of(cls, decoded: Repaired) -> Self:
        """The view of a decoded reply; raises Garbled if it is not an object."""
        if not isinstance(decoded.value, dict):
            raise Garbled(f"a reply must be an object, this is {type(decoded.value).__name__}")
        return cls(decoded.value, decoded.repairs)

    @property
    def status(self) -> Status:
        """The status, given as an object, as a list of one, or as text with its fields beside it."""
        found = self.value.get("STATUS")
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            return _status(found)
        if not isinstance(found, str):
            return Status()
        return _status(self.value) if len(found) == 1 else Status("S", message=found)  # BYE, RESTART

    def rows(self, section: str) -> list[Row]:
        """The rows of a section; empty where it is missing or holds none (an Antminer asleep)."""
        found = self.value.get(section)
        if isinstance(found, list):
            return [row for row in found if isinstance(row, dict)]
        return [found] if isinstance(found, dict) else []

    def row(self, section: str) -> Row:
        """The first row of a section, or an empty one."""
        rows = self.rows(section)
        return rows[0] if rows else {}

    def joined(self, command: str) -> "Reply":
        """The part of a joined reply ("a+b") that answers one command.

        Raises what the whole reply's status says where the rig knows no joined commands, and Garbled where the part
        is missing.
        """
        found = self.value.get(command)
        if isinstance(found, list) and found:
            found = found[0]
        if isinstance(found, dict):
            return Reply(found, self.repairs)
        self.raise_for_status()
        raise Garbled(f"the joined reply has no part {command!r}")

    def raise_for_status(self) -> Self:
        """This reply, if the rig agreed; raises Unauthorized (E 45), Unsupported (E 14) or Refused for E and F."""
        status = self.status
        if status.failed:
            raise _refusal(status)
        return self


_FAILED = frozenset({"E", "F"})


def _status(members: Row) -> Status:
    code = number(members.get("Code", members.get("code")))
    return Status(
        letter=str(members.get("STATUS", "")).upper()[:1],
        code=None if code is None else int(code),
        message=members.get("Msg", members.get("msg", "")),
        when=number(members.get("When", members.get("when"))),
        description=str(members.get("Description", "")),
    )


def _refusal(status: Status) -> Refused:
    message = "invalid pool details" if status.code == INVALID_POOL_DETAILS else str(status.message)
    detail = f"{status.letter} {'-' if status.code is None else status.code}: {message}"
    lowered = message.lower()
    if status.code == ACCESS_DENIED or (status.code is None and lowered.startswith("access denied")):
        return Unauthorized(detail, status.code)
    if status.code == INVALID_COMMAND or (status.code is None and lowered.startswith("invalid command")):
        return Unsupported(detail, status.code)
    return Refused(detail, status.code)
