"""Second owners, crashes, full disks, damaged and foreign files."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from controller import journal as journal_module
from controller.clock import SystemClock
from controller.store import Store
from controller.track import CommandState
from shedload.errors import StoreError
from tests.unit.store.test_store import intent

ROOT = Path(__file__).resolve().parents[3]

PRELUDE = f"""
import asyncio, os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from controller.actuate import Intent
from controller.clock import SystemClock
from controller.store import Store
from controller.track import CommandState, Verdict
from shedload.errors import StoreError
folder = Path(sys.argv[1])
def intents(count, rig="r"):
    return [Intent(f"{{rig}}{{n}}", "sleep", "sleep", "site_cap", "normal") for n in range(count)]
"""


def script(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    main = (
        "async def main():\n" + "".join(f"    {line}\n" for line in body.strip().splitlines()) + "asyncio.run(main())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + main, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )


async def reopened(folder: Path) -> Store:
    return await Store.open(folder, SystemClock())


async def test_killed_between_intent_and_outcome(tmp_path):
    killed = script(
        tmp_path,
        """
store = await Store.open(folder, SystemClock())
await store.intend(intents(3))
await store.outcome(1, CommandState.CONFIRMED)
await store.outcome(2, CommandState.SENT)
await store.place(5000.0, "olga")
os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    assert killed.returncode == -signal.SIGKILL
    store = await reopened(tmp_path)
    try:
        assert [(record.number, record.rig, record.state) for record in store.unsettled] == [
            (2, "r1", CommandState.UNKNOWN),
            (3, "r2", CommandState.UNKNOWN),
        ]
        assert [order.limit for order in store.orders] == [5000]
        event = (await store.events())[0]
        assert (event.kind, event.detail) == ("unclean_stop", "2 commands without an outcome")
    finally:
        await store.close()


async def test_killed_in_the_middle_of_many_writes(tmp_path):
    killed = script(
        tmp_path,
        """
store = await Store.open(folder, SystemClock())
asyncio.get_running_loop().call_later(0.3, os.kill, os.getpid(), signal.SIGKILL)
while True:
    numbers = await store.intend(intents(50))
    os.write(1, f"{numbers[-1]}\\n".encode())
""",
    )
    assert killed.returncode == -signal.SIGKILL
    told = int(killed.stdout.splitlines()[-1])
    store = await reopened(tmp_path)
    try:
        found = [record.number for record in store.unsettled]
        assert found == list(range(1, len(found) + 1))  # whole commits, no gaps
        assert len(found) >= told  # every number that was given out is on disk
        assert len(found) % 50 == 0
    finally:
        await store.close()


async def test_the_second_owner_is_told_who_is_first(tmp_path):
    store = await reopened(tmp_path)
    try:
        other = script(
            tmp_path,
            """
try:
    await Store.open(folder, SystemClock())
except StoreError as error:
    print(error)
""",
        )
        assert f"owned by process {os.getpid()} on " in other.stdout
        assert " since 20" in other.stdout
        assert await store.heartbeat()  # the first is not disturbed
        with pytest.raises(StoreError, match=f"owned by process {os.getpid()}"):
            await reopened(tmp_path)
        (tmp_path / "owner").write_bytes(b"garbage")
        with pytest.raises(StoreError, match="owned by another process"):
            await reopened(tmp_path)
    finally:
        await store.close()
    await (await reopened(tmp_path)).close()


FILL = """
store = await Store.open(folder, SystemClock())
await store.intend(intents(1))
{full}
alive = True
while alive:  # the log is folded in when the disk fails, which makes a little room again
    try:
        await store.intend(intents(100, "big" * 20))
    except StoreError as error:
        print("full:", error)
        alive = await store.heartbeat()
print("failing:", store.failing)
store.note("lost")
print("beats:", await store.heartbeat())
{room}
print("beats:", await store.heartbeat(), store.failing, store.lost_events)
print("numbers:", len(await store.intend(intents(2, "after"))))
await store.close()
"""


def check_recovery(done: subprocess.CompletedProcess[str]) -> None:
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if not line.startswith("beats"))
    beats = [line for line in done.stdout.splitlines() if line.startswith("beats")]
    assert "cannot be written" in lines["full"], done
    assert "cannot be written" in lines["failing"]
    assert beats[0] == "beats: False"
    assert beats[1] == "beats: True None 1", done
    assert lines["numbers"] == "2"


async def test_a_limit_on_file_size_and_recovery(tmp_path):
    done = script(
        tmp_path,
        FILL.format(
            full="resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))",
            room="resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
        ),
    )
    check_recovery(done)
    store = await reopened(tmp_path)
    try:
        assert [record.rig for record in store.unsettled][-2:] == ["after0", "after1"]
        assert store._journal.connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    finally:
        await store.close()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")  # the limit on file size above shows the same
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_and_recovery(small_disk):
    (small_disk / "fill").write_bytes(bytes(200_000))
    check_recovery(
        script(
            small_disk / "state",
            FILL.format(full="", room="(folder.parent / 'fill').unlink()"),
        )
    )


async def test_a_disk_that_turns_read_only(small_disk):
    store = await reopened(small_disk / "state")
    await store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match="Read-only file system"):
        await reopened(small_disk / "state")


async def test_no_folder_to_be_had(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="state folder cannot be used: Not a directory"):
        await reopened(tmp_path / "file" / "state")
    (tmp_path / "state" / "journal.db").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be opened: Is a directory"):
        await reopened(tmp_path / "state")


async def filled(folder: Path) -> Path:
    store = await reopened(folder)
    for _ in range(20):
        await store.intend([intent() for _ in range(100)])
    await store.close()
    return folder / "journal.db"


@pytest.mark.parametrize("unclean", [True, False])
@pytest.mark.parametrize("damage", ["header", "pages", "emptied"])
async def test_a_damaged_file_is_moved_aside_and_named(tmp_path, damage, unclean):
    path = await filled(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:100] = os.urandom(100)
    elif damage == "pages":
        content[4096 : len(content)] = bytes(len(content) - 4096)
    else:
        content = content[:5000]
    path.write_bytes(content)
    if unclean:
        (tmp_path / "owner").write_text("somebody")
    with pytest.raises(StoreError, match="is damaged") as caught:
        await reopened(tmp_path)
    (aside,) = tmp_path.glob("journal.db.damaged-*")
    assert str(path) in str(caught.value)
    assert str(aside) in str(caught.value)
    assert aside.read_bytes() == content
    assert not path.exists()
    store = await reopened(tmp_path)  # the operator has seen it and starts again: empty, and it says so
    try:
        event = (await store.events())[0]
        assert (event.kind, event.detail) == ("journal_begun_anew", f"beside {aside.name}")
    finally:
        await store.close()


async def test_a_damaged_row_deep_inside_shows_after_an_unclean_stop(tmp_path):
    path = await filled(tmp_path)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"site_cap") // 4096 * 4096
    content[at : at + 200] = b"\xff" * 200
    path.write_bytes(content)
    (tmp_path / "owner").write_text("somebody")
    with pytest.raises(StoreError, match="is damaged"):
        await reopened(tmp_path)


async def test_another_program_s_database_is_left_alone(tmp_path):
    other = sqlite3.connect(tmp_path / "journal.db")
    other.execute("CREATE TABLE photos (id)")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="is no journal of shedload"):
        await reopened(tmp_path)
    assert [path.name for path in tmp_path.glob("journal.db*")] == ["journal.db"]


async def test_a_newer_schema_is_refused(tmp_path):
    path = await filled(tmp_path)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 7")
    newer.close()
    with pytest.raises(StoreError, match=r"newer shedload \(schema 7, this one knows 1\)"):
        await reopened(tmp_path)
    assert path.exists()


async def test_migration_keeps_a_backup_and_all_rows(tmp_path, monkeypatch):
    await filled(tmp_path)
    step = ("ALTER TABLE intents ADD COLUMN cost REAL", "UPDATE intents SET cost = 1")
    monkeypatch.setattr(journal_module, "MIGRATIONS", (*journal_module.MIGRATIONS, step))
    store = await reopened(tmp_path)
    try:
        connection = store._journal.connection
        assert connection.execute("SELECT sum(cost) FROM intents").fetchone() == (2000,)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    finally:
        await store.close()
    backup = sqlite3.connect(tmp_path / "journal.db.schema-1")
    try:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT count(*) FROM intents").fetchone() == (2000,)
    finally:
        backup.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = await filled(tmp_path)
    step = ("ALTER TABLE intents ADD COLUMN cost REAL", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(journal_module, "MIGRATIONS", (*journal_module.MIGRATIONS, step))
    with pytest.raises(StoreError, match="no such table: nowhere"):
        await reopened(tmp_path)
    monkeypatch.undo()
    store = await reopened(tmp_path)
    await store.close()
    assert path.exists()


async def test_cancelled_while_opening_leaves_no_lock(tmp_path):
    task = asyncio.create_task(reopened(tmp_path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store = await reopened(tmp_path)
    await store.close()


async def test_a_copied_journal_opens(tmp_path):
    path = await filled(tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.copy(path, tmp_path / "b")
    store = await reopened(tmp_path / "b")
    try:
        assert len(store.unsettled) == 2000
    finally:
        await store.close()


FOREIGN_ROWS = [
    "INSERT INTO facts VALUES ('ledger', '{not json', '2026-01-01T00:00:00.000+00:00')",
    "INSERT INTO groups VALUES ('hall', 'evil', 'x', 0, '2026-01-01T00:00:00.000+00:00')",
    "INSERT INTO orders (number, limit_w, author, note, created) VALUES (7, 5.0, 'a', 'b', 'long ago')",
]


@pytest.mark.parametrize("row", FOREIGN_ROWS, ids=["fact", "group", "order"])
async def test_a_row_that_no_shedload_wrote_is_named_and_nothing_is_moved(tmp_path, row):
    await (await reopened(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / "journal.db")
    with connection:
        connection.execute(row)
    connection.close()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"journal\.db: holds a row that no shedload wrote"):
            await reopened(tmp_path)
    assert (tmp_path / "journal.db").exists()
