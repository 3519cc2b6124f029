"""What every store does, on disk and in memory alike; then what only the disk can show."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller import store as store_module
from controller import store_rows
from controller.actuate import Intent, Journal
from controller.plan import Control
from controller.store import Store
from controller.store_port import StorePort
from controller.track import CommandState, Verdict
from shedload.device import RigName
from shedload.errors import StoreError
from tests.support.memory_store import MemoryStore
from tests.support.virtual import virtual


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 5, 12, tzinfo=UTC)
        self.seconds = 100.0

    def mono(self) -> float:
        return self.seconds

    def wall(self) -> datetime:
        return self.now

    def plant(self) -> float:
        return self.seconds

    async def plant_sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)
        self.seconds += timedelta(**span).total_seconds()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@asynccontextmanager
async def opened(folder: Path, clock: HandClock) -> AsyncIterator[Store]:
    store = await Store.open(folder, clock)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["disk", "memory"])
async def store(request, tmp_path, clock) -> AsyncIterator[StorePort]:
    if request.param == "memory":
        yield MemoryStore(clock)
    else:
        async with opened(tmp_path / "state", clock) as on_disk:
            yield on_disk


def intent(rig: str = "r1", verb: str = "sleep") -> Intent:
    return Intent(RigName(rig), verb, "sleep", "site_cap", "normal")


async def test_it_is_the_actuator_s_journal(store):
    journal: Journal = store
    port: StorePort = store
    assert await journal.intend([]) == []
    assert port.failing is None


async def test_a_command_from_intent_to_confirmation(store, clock):
    numbers = await store.intend([intent("r1"), intent("r2")])
    assert numbers == [1, 2]
    clock.move(seconds=4)
    await store.settle([Verdict(1, CommandState.SENT), Verdict(2, CommandState.REFUSED, "no such\nverb")])
    await store.settle([Verdict(1, CommandState.CONFIRMED)])
    (first,) = await store.commands("r1")
    (second,) = await store.commands("r2")
    assert (first.state, first.mode_before, first.reason) == (CommandState.CONFIRMED, "normal", "site_cap")
    assert first.changed - first.planned == timedelta(seconds=4)
    assert (second.state, second.detail) == (CommandState.REFUSED, "no such\\nverb")


async def test_several_verdicts_on_one_command_keep_their_order(store):
    (number,) = await store.intend([intent()])
    await store.settle(
        [Verdict(number, state) for state in (CommandState.SENT, CommandState.UNKNOWN, CommandState.EXPIRED)]
    )
    assert (await store.commands("r1"))[0].state is CommandState.EXPIRED
    assert store.ignored == 0


@pytest.mark.parametrize("end", [state for state in CommandState if state not in store_rows.OPEN])
async def test_an_end_is_an_end(store, end):
    (number,) = await store.intend([intent()])
    assert await store.outcome(number, end, "first")
    for state in CommandState:
        assert not await store.outcome(number, state, "again")
    (record,) = await store.commands("r1")
    assert (record.state, record.detail) == (end, "first")
    assert store.ignored == len(CommandState)


async def test_commands_go_forwards_only(store):
    (number,) = await store.intend([intent()])
    assert await store.outcome(number, CommandState.UNKNOWN)
    assert not await store.outcome(number, CommandState.PLANNED)
    assert not await store.outcome(number, CommandState.SENT)
    assert await store.outcome(number, CommandState.CONFIRMED)
    assert not await store.outcome(999, CommandState.SENT)


async def test_orders_stay_until_they_are_released(store, clock):
    first = await store.place(5e6, "olga", "grid\ncall")
    second = await store.place(0.0, "ivan")
    assert (first.number, second.number) == (1, 2)
    assert first.note == "grid\\ncall"
    assert first.created == clock.now
    assert store.orders == (first, second)
    assert await store.release(1, "olga")
    assert not await store.release(1, "olga")
    assert store.orders == (second,)
    for limit in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is no limit"):
            await store.place(limit, "x")
    assert [event.kind for event in await store.events(3)] == ["order_released", "order_placed", "order_placed"]


async def test_facts(store):
    await store.remember({"mode/r1": "normal", "mode/r2": {"level": 80}, "peak": 1.5})
    await store.remember({"peak": 2.5})
    assert store.fact("peak") == 2.5
    assert store.fact("none") is None
    assert store.facts("mode/") == {"mode/r1": "normal", "mode/r2": {"level": 80}}
    await store.forget("peak", "none")
    assert store.fact("peak") is None


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"": 1}, {"x" * 301: 1}, {"x": "y" * 70_000}, {"x": object()}])
async def test_facts_that_cannot_be_kept(store, facts):
    with pytest.raises((ValueError, TypeError)):
        await store.remember(facts)
    assert store.facts("") == {}


async def test_facts_are_bounded(store, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_FACTS", 2)
    await store.remember({"a": 1, "b": 2})
    await store.remember({"a": 3})
    with pytest.raises(StoreError, match="facts are kept already"):
        await store.remember({"c": 3})


async def test_controls_and_proof(store):
    await store.set_control("hall", Control.AUTO, "olga")
    await store.prove("hall")
    await store.prove("yard")
    assert store.controls == {"hall": Control.AUTO}
    assert store.proven == {"hall", "yard"}


async def test_a_closed_store_takes_nothing(tmp_path, clock):
    store = await Store.open(tmp_path, clock)
    await store.close()
    await store.close()
    store.note("late")
    assert store.lost_events == 1
    with pytest.raises(StoreError, match="closed"):
        await store.intend([intent()])
    with pytest.raises(StoreError, match="closed"):
        await store.commands("r1")


async def test_everything_survives_a_restart(tmp_path, clock):
    async with opened(tmp_path / "a" / "state", clock) as store:
        await store.intend([intent("r1"), intent("r2"), intent("r3")])
        await store.settle([Verdict(1, CommandState.CONFIRMED), Verdict(2, CommandState.SENT)])
        await store.set_control("hall", Control.AUTO, "olga")
        await store.prove("hall")
        await store.remember({"k": [1, None, "x"]})
        order = await store.place(7e3, "olga", "n")
        gone = await store.place(8e3, "olga")
        await store.release(gone.number, "olga")
    async with opened(tmp_path / "a" / "state", clock) as store:
        assert [(record.number, record.state) for record in store.unsettled] == [
            (2, CommandState.UNKNOWN),
            (3, CommandState.UNKNOWN),
        ]
        assert store.controls == {"hall": Control.AUTO}
        assert store.proven == {"hall"}
        assert store.fact("k") == [1, None, "x"]
        assert store.orders == (order,)
        assert await store.intend([intent()]) == [4]
        assert (await store.place(1.0, "x")).number == 3
        assert await store.outcome(2, CommandState.CONFIRMED, "read back")
        assert not any(event.kind == "unclean_stop" for event in await store.events())


async def test_memory_restarts_alike(clock):
    store = MemoryStore(clock)
    await store.intend([intent("r1"), intent("r2")])
    await store.outcome(1, CommandState.CONFIRMED)
    again = store.restarted()
    assert [(record.number, record.state) for record in again.unsettled] == [(2, CommandState.UNKNOWN)]


async def test_files_are_private(tmp_path, clock):
    async with opened(tmp_path / "state", clock) as store:
        await store.intend([intent()])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert set(modes) >= {"journal.db", "journal.db-wal", "owner"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def test_an_intent_is_on_disk_before_it_returns(tmp_path, clock):
    async with opened(tmp_path, clock) as store:
        await store.intend([intent()])
        other = sqlite3.connect(tmp_path / "journal.db")
        try:
            assert other.execute("SELECT count(*) FROM intents").fetchone() == (1,)
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        finally:
            other.close()
        assert store._journal.connection.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_what_queues_up_shares_commits(tmp_path, clock):
    async with opened(tmp_path, clock) as store:
        numbers = await asyncio.gather(*(store.intend([intent(), intent()]) for _ in range(200)))
        assert sorted(number for pair in numbers for number in pair) == list(range(1, 401))
        assert store.commits <= 3


async def test_a_full_queue_is_an_error_and_no_hang(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(store_module, "MAX_QUEUED", 3)
    async with opened(tmp_path, clock) as store:
        writes = [asyncio.create_task(store.intend([intent()])) for _ in range(3)]
        await asyncio.sleep(0)
        store.note("no room")
        assert store.lost_events == 1
        with pytest.raises(StoreError, match="does not keep up"):
            await store.intend([intent()])
        assert [await write for write in writes] == [[1], [2], [3]]


async def test_who_is_cancelled_while_queued_writes_nothing(tmp_path, clock):
    async with opened(tmp_path, clock) as store:
        write = asyncio.create_task(store.intend([intent()]))
        await asyncio.sleep(0)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        assert await store.commands("r1") == ()
        assert await store.intend([intent()]) == [1]


async def test_closing_writes_what_is_queued(tmp_path, clock):
    store = await Store.open(tmp_path, clock)
    store.note("last", "words")
    await store.close()
    async with opened(tmp_path, clock) as store:
        assert (await store.events())[0].kind == "last"


async def test_old_things_are_pruned(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(store_rows, "MAX_EVENTS", 10)
    async with opened(tmp_path, clock) as store:
        await store.intend([intent("old"), intent("lost")])
        await store.outcome(1, CommandState.CONFIRMED)
        await store.outcome(2, CommandState.UNKNOWN)
        for number in range(30):
            store.note("e", str(number))
        clock.move(days=2)
        await store.heartbeat()
        assert (await store.commands("lost"))[0].state is CommandState.EXPIRED
        clock.move(days=89)
        await store.intend([intent("new")])
        assert await store.commands("old") == ()
        assert len(await store.commands("new")) == 1
        assert [event.subject for event in await store.events()] == [str(number) for number in range(29, 19, -1)]
        clock.move(hours=1)
        assert await store.intend([intent("new")]) == [4]  # numbers never come twice


async def test_a_wrong_clock_costs_a_bounded_piece(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(store_rows, "PRUNE_ROWS", 5)
    async with opened(tmp_path, clock) as store:
        await store.intend([intent("r") for _ in range(20)])
        await store.settle([Verdict(number, CommandState.CONFIRMED) for number in range(1, 21)])
        clock.move(days=3650)
        await store.heartbeat()
        assert len(await store.commands("r", 100)) == 15


async def test_an_outcome_never_learned_is_closed_after_a_day(tmp_path, clock):
    async with opened(tmp_path, clock) as store:
        await store.intend([intent()])
    async with opened(tmp_path, clock) as store:
        assert len(store.unsettled) == 1
    clock.move(days=2)
    async with opened(tmp_path, clock) as store:
        assert store.unsettled == ()
        assert (await store.commands("r1"))[0].state is CommandState.EXPIRED


def test_it_works_in_virtual_time(tmp_path):
    @virtual
    async def run():
        async with opened(tmp_path, HandClock()) as store:
            numbers = await asyncio.gather(*(store.intend([intent()]) for _ in range(10)))
            assert [number for (number,) in numbers] == list(range(1, 11))
            assert store.commits == 1
            store.note("x")
            assert await store.heartbeat()
        async with opened(tmp_path, HandClock()) as store:
            assert len(store.unsettled) == 10

    run()
