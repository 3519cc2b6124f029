"""The file under the store: one owner, one schema, checked after an unclean stop, never replaced in silence.

state_dir/owner       locked while a daemon lives; empty after a clean stop
state_dir/journal.db  SQLite, write-ahead log, every commit on the disk before it counts
"""

import contextlib
import fcntl
import json
import os
import socket
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from shedload.errors import StoreError

DATABASE = "journal.db"
OWNER = "owner"

APPLICATION_ID = 0x5EED10AD
"""Marks the file as ours, so that no other program's database is taken for a journal."""

BUSY_TIMEOUT_MS = 5000
"""How long a commit waits for a backup that is reading; a backup holds no lock for longer."""

WAL_AUTOCHECKPOINT_PAGES = 1000
"""4 MB of log before it is folded into the database."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE intents (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            rig TEXT NOT NULL,
            verb TEXT NOT NULL,
            mode TEXT NOT NULL,
            reason TEXT NOT NULL,
            mode_before TEXT,
            planned TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'planned',
            changed TEXT NOT NULL,
            detail TEXT NOT NULL DEFAULT ''
        ) STRICT""",
        "CREATE INDEX intents_of_rig ON intents (rig, id)",
        "CREATE INDEX intents_open ON intents (id) WHERE state IN ('planned', 'sent', 'unknown')",
        "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, changed TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE orders (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            limit_w REAL NOT NULL,
            author TEXT NOT NULL,
            note TEXT NOT NULL,
            created TEXT NOT NULL,
            released TEXT,
            released_by TEXT
        ) STRICT""",
        """CREATE TABLE groups (
            name TEXT PRIMARY KEY,
            control TEXT,
            author TEXT NOT NULL DEFAULT '',
            proven INTEGER NOT NULL DEFAULT 0,
            changed TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        ) STRICT""",
    ),
)
"""The schema, one step a version, only ever added to; each step runs in one transaction with its version number."""


def stamp(instant: datetime) -> str:
    """An instant as it is stored: UTC with milliseconds, in the order of time also as text."""
    return instant.isoformat(timespec="milliseconds")


@dataclass(slots=True)
class Journal:
    """An open database and the lock on its folder."""

    connection: sqlite3.Connection
    path: Path
    created: bool  # there was no database before
    unclean: bool  # the owner before us did not close it
    damaged_before: tuple[str, ...]  # names of damaged files that stand aside
    _lock: int

    @classmethod
    def open(cls, folder: Path, now: datetime) -> Self:
        """Lock the folder, open or create the database, check and migrate it. Raises StoreError."""
        lock, unclean = _own(folder, now)
        path = folder / DATABASE
        try:
            created = not path.exists()
            connection = _connect(path, now, check=unclean)
            damaged = tuple(sorted(item.name for item in folder.glob(f"{DATABASE}.damaged-*")))
        except BaseException:
            os.close(lock)  # the owner's note stays: the next start checks again
            raise
        return cls(connection, path, created, unclean, damaged, lock)

    def reopen(self) -> None:
        """Connect afresh after the disk failed; raises sqlite3.Error while it still does."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self.connection = _plain_connection(self.path)

    def close(self) -> None:
        """Fold the log in and give the lock back. Never raises; what failed shows as an unclean stop next time."""
        try:
            self.connection.close()
            os.ftruncate(self._lock, 0)
        except (sqlite3.Error, OSError):
            pass
        finally:
            os.close(self._lock)

    def abandon(self) -> None:
        """Let go and leave the owner's note, so that the next start checks the file."""
        self.connection.close()
        os.close(self._lock)


def _own(folder: Path, now: datetime) -> tuple[int, bool]:
    """Take the lock; also whether the owner before us left without closing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{folder}: the state folder cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 1000, 0)
        os.close(lock)
        raise StoreError(f"{folder}: {_describe_owner(owner)}; stop that one first") from None
    except OSError as error:
        os.close(lock)
        raise StoreError(f"{folder}: the state folder cannot be locked: {error.strerror}") from None
    try:
        unclean = os.fstat(lock).st_size > 0
        note = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": stamp(now)}) + "\n"
        os.ftruncate(lock, 0)
        os.pwrite(lock, note.encode(), 0)
    except OSError as error:
        os.close(lock)
        raise StoreError(f"{folder}: the state folder cannot be written: {error.strerror}") from None
    return lock, unclean


def _describe_owner(note: bytes) -> str:
    try:
        owner = json.loads(note)
        return f"owned by process {int(owner['pid'])} on {owner['host']!s:.100} since {owner['since']!s:.40}"
    except (ValueError, KeyError, TypeError):
        return "owned by another process"


def _connect(path: Path, now: datetime, *, check: bool) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it readable to all
        connection = _plain_connection(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error.strerror}") from None
    except sqlite3.DatabaseError as error:
        raise _failed(path, now, error) from None
    try:
        if check:
            _quick_check(connection)
        _migrate(connection, path)
        _touch(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _failed(path, now, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _plain_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _quick_check(connection: sqlite3.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if found != ["ok"]:
        raise sqlite3.DatabaseError("; ".join(found)[:300])


def _touch(connection: sqlite3.Connection) -> None:
    """Read the tables that the store starts from, so that damage shows here."""
    for table in ("facts", "orders", "groups"):
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own names


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (mark or tables) and mark != APPLICATION_ID:
        raise StoreError(f"{path}: is no journal of shedload; name another state_dir")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path}: was written by a newer shedload (schema {version}, this one knows {len(MIGRATIONS)}); "
            "install that version again, or restore the backup made before the upgrade"
        )
    if 0 < version < len(MIGRATIONS):
        _back_up(connection, path.with_name(f"{path.name}.schema-{version}"))
    for number, steps in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for step in steps:
                connection.execute(step)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    copy = sqlite3.connect(target)
    try:
        connection.backup(copy)
    finally:
        copy.close()


def _failed(path: Path, now: datetime, error: sqlite3.DatabaseError) -> StoreError:
    """The StoreError for a database that cannot be used; a damaged one is moved aside first."""
    if isinstance(error, sqlite3.OperationalError):  # full, read-only, locked: the content is not to blame
        return StoreError(f"{path}: cannot be used: {error}")
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    for end in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    return StoreError(
        f"{path}: the journal is damaged ({error}) and was moved to {aside}; "
        "restore a backup in its place, or start again to begin an empty one (modes and orders must be set anew)"
    )
