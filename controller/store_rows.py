"""What the store's tables hold and the statements on them; each function is one step inside the writer's transaction.

store.py calls these on its one thread; nothing here commits
"""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from controller.journal import stamp
from controller.plan import Control, Order
from controller.scribe import Intent
from controller.track import CommandState, Verdict
from shedload.device import RigName
from shedload.units import Watts

MAX_DETAIL = 300
"""Characters of a detail that are kept."""

MAX_EVENTS = 100_000
"""Rows of some 200 bytes: 20 MB."""

KEEP_INTENTS = timedelta(days=90)

PRUNE_ROWS = 20_000
"""Most rows that one pruning deletes: a wrong clock then costs some hours of history and not all of it."""

FORGET_UNKNOWN = timedelta(days=1)
"""An outcome that nobody learned within a day is closed: the rig has been read thousands of times since."""

OPEN = (CommandState.PLANNED, CommandState.SENT, CommandState.UNKNOWN)

ENTERED_FROM: Mapping[CommandState, tuple[CommandState, ...]] = {
    CommandState.PLANNED: (),
    CommandState.SENT: (CommandState.PLANNED,),
    CommandState.UNKNOWN: (CommandState.PLANNED, CommandState.SENT),
    **{state: OPEN for state in CommandState if state not in OPEN},
}
"""States from which each state may be entered: commands only go forwards, and an end is an end."""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command in the journal; instants are wall time."""

    number: int
    rig: RigName
    verb: str
    mode: str
    reason: str
    mode_before: str | None
    planned: datetime
    state: CommandState
    changed: datetime
    detail: str


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something worth knowing later."""

    at: datetime
    kind: str
    subject: str
    detail: str


@dataclass(slots=True)
class Remembered:
    """What the store keeps at hand in memory."""

    facts: dict[str, Any] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)  # in force, oldest first
    controls: dict[str, Control] = field(default_factory=dict)
    proven: set[str] = field(default_factory=set)
    unsettled: tuple[CommandRecord, ...] = ()
    next_intent: int = 1


def plain(text: str) -> str:
    """Text fit for a row: bounded, control characters made visible."""
    cut = text[:MAX_DETAIL]
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in cut)


def load(connection: sqlite3.Connection, now: datetime) -> Remembered:
    """Read what the last run left; commands without an outcome become unknown."""
    _close_old_unknowns(connection, now)
    connection.execute(
        "UPDATE intents SET state = 'unknown', changed = ?, detail = 'no outcome before the stop'"
        " WHERE state IN ('planned', 'sent')",
        (stamp(now),),
    )
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'intents'").fetchone()
    groups = connection.execute("SELECT name, control, proven FROM groups").fetchall()
    return Remembered(
        facts={key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM facts")},
        orders={order.number: order for order in _orders(connection)},
        controls={name: Control(control) for name, control, _ in groups if control is not None},
        proven={name for name, _, proven in groups if proven},
        unsettled=tuple(map(_command, connection.execute(f"{COMMANDS} WHERE state = 'unknown' ORDER BY id"))),
        next_intent=1 if last is None else last[0] + 1,
    )


def insert_intents(connection: sqlite3.Connection, first: int, intents: Sequence[Intent], now: datetime) -> list[int]:
    """Write intents under the numbers from `first` on."""
    numbers = list(range(first, first + len(intents)))
    at = stamp(now)
    connection.executemany(
        "INSERT INTO intents (id, rig, verb, mode, reason, mode_before, planned, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (number, item.rig, item.verb, item.mode, str(item.reason), item.mode_before, at, at)
            for number, item in zip(numbers, intents, strict=True)
        ),
    )
    return numbers


def settle(connection: sqlite3.Connection, verdicts: Iterable[Verdict], now: datetime) -> int:
    """Move commands forwards, in order; returns how many moves were made, the others would have gone back."""
    at, moved = stamp(now), 0
    for state, same in itertools.groupby(verdicts, key=lambda verdict: verdict.state):
        allowed = ENTERED_FROM[state]
        marks = ", ".join("?" * len(allowed))
        moved += connection.executemany(
            f"UPDATE intents SET state = ?, changed = ?, detail = ? WHERE id = ? AND state IN ({marks})",  # noqa: S608
            ((state.value, at, plain(verdict.detail), verdict.number, *allowed) for verdict in same),
        ).rowcount
    return moved


def put_facts(connection: sqlite3.Connection, facts: Mapping[str, str], now: datetime) -> None:
    """Write facts, values already JSON."""
    at = stamp(now)
    connection.executemany(
        "INSERT INTO facts (key, value, changed) VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed = excluded.changed",
        [(key, value, at) for key, value in facts.items()],
    )


def drop_facts(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Remove facts."""
    connection.executemany("DELETE FROM facts WHERE key = ?", [(key,) for key in keys])


def insert_order(connection: sqlite3.Connection, limit: Watts, author: str, note: str, now: datetime) -> Order:
    """Write an order that stays until it is released."""
    author, note = plain(author), plain(note)
    cursor = connection.execute(
        "INSERT INTO orders (limit_w, author, note, created) VALUES (?, ?, ?, ?)", (limit, author, note, stamp(now))
    )
    assert cursor.lastrowid is not None
    insert_event(connection, "order_placed", str(cursor.lastrowid), f"{limit:.0f} W by {author}: {note}", now)
    return Order(cursor.lastrowid, limit, author, note, now)


def release_order(connection: sqlite3.Connection, number: int, author: str, now: datetime) -> bool:
    """End an order; False where none of that number is in force."""
    released = connection.execute(
        "UPDATE orders SET released = ?, released_by = ? WHERE number = ? AND released IS NULL",
        (stamp(now), plain(author), number),
    ).rowcount
    if released:
        insert_event(connection, "order_released", str(number), f"by {author}", now)
    return released > 0


def put_control(connection: sqlite3.Connection, group: str, control: Control, author: str, now: datetime) -> None:
    """Remember how far the daemon may go with a group."""
    connection.execute(
        "INSERT INTO groups (name, control, author, changed) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
        " DO UPDATE SET control = excluded.control, author = excluded.author, changed = excluded.changed",
        (group, control.value, plain(author), stamp(now)),
    )
    insert_event(connection, "control_changed", group, f"{control.value} by {author}", now)


def put_proven(connection: sqlite3.Connection, group: str, now: datetime) -> None:
    """Remember that a group's first automatic commands were obeyed."""
    connection.execute(
        "INSERT INTO groups (name, proven, changed) VALUES (?, 1, ?)"
        " ON CONFLICT (name) DO UPDATE SET proven = 1, changed = excluded.changed",
        (group, stamp(now)),
    )


def insert_event(connection: sqlite3.Connection, kind: str, subject: str, detail: str, at: datetime) -> None:
    """Write an event."""
    connection.execute(
        "INSERT INTO events (at, kind, subject, detail) VALUES (?, ?, ?, ?)",
        (stamp(at), plain(kind), plain(subject), plain(detail)),
    )


def commands_of(connection: sqlite3.Connection, rig: str, limit: int) -> tuple[CommandRecord, ...]:
    """The last commands to a rig, newest first."""
    rows = connection.execute(f"{COMMANDS} WHERE rig = ? ORDER BY id DESC LIMIT ?", (rig, limit))
    return tuple(map(_command, rows))


def last_events(connection: sqlite3.Connection, limit: int) -> tuple[EventRecord, ...]:
    """The last events, newest first."""
    rows = connection.execute("SELECT at, kind, subject, detail FROM events ORDER BY id DESC LIMIT ?", (limit,))
    return tuple(EventRecord(datetime.fromisoformat(at), kind, subject, detail) for at, kind, subject, detail in rows)


def prune(connection: sqlite3.Connection, now: datetime) -> int:
    """Delete what is past keeping, a bounded number of rows; returns how many."""
    _close_old_unknowns(connection, now)
    gone = connection.execute(
        "DELETE FROM intents WHERE id IN (SELECT id FROM intents WHERE planned < ?"
        " AND state NOT IN ('planned', 'sent', 'unknown') ORDER BY id LIMIT ?)",
        (stamp(now - KEEP_INTENTS), PRUNE_ROWS),
    ).rowcount
    gone += connection.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events"
        " WHERE id <= (SELECT max(id) FROM events) - ? ORDER BY id LIMIT ?)",
        (MAX_EVENTS, PRUNE_ROWS),
    ).rowcount
    return gone


COMMANDS = "SELECT id, rig, verb, mode, reason, mode_before, planned, state, changed, detail FROM intents"


def _close_old_unknowns(connection: sqlite3.Connection, now: datetime) -> None:
    connection.execute(
        "UPDATE intents SET state = 'expired', changed = ?, detail = 'outcome never learned'"
        " WHERE state = 'unknown' AND planned < ?",
        (stamp(now), stamp(now - FORGET_UNKNOWN)),
    )


def _orders(connection: sqlite3.Connection) -> list[Order]:
    rows = connection.execute(
        "SELECT number, limit_w, author, note, created FROM orders WHERE released IS NULL ORDER BY number"
    )
    return [
        Order(number, Watts(limit), author, note, datetime.fromisoformat(created))
        for number, limit, author, note, created in rows
    ]


def _command(row: tuple[Any, ...]) -> CommandRecord:
    number, rig, verb, mode, reason, mode_before, planned, state, changed, detail = row
    return CommandRecord(
        number,
        RigName(rig),
        verb,
        mode,
        reason,
        mode_before,
        datetime.fromisoformat(planned),
        CommandState(state),
        datetime.fromisoformat(changed),
        detail,
    )
