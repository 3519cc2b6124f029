"""The journal's keeper: a disk that is full, that hangs, that comes back."""

import asyncio

import pytest
import structlog

from controller import scribe as module
from controller.clock import ScaledClock
from controller.scribe import PATIENCE, Intent, Scribe
from controller.track import CommandState, Verdict
from shedload.device import RigName
from shedload.errors import StoreError
from tests.support.memory_store import MemoryStore
from tests.support.virtual import START_WALL, virtual, virtual_loop

INTENT = Intent(RigName("a"), "sleep", "sleep", "order", "normal")


class Disk(MemoryStore):
    """A store whose writes can be made to hang."""

    def __init__(self):
        super().__init__(ScaledClock(START_WALL))
        self.open = asyncio.Event()
        self.open.set()

    async def intend(self, intents):
        await self.open.wait()
        return await super().intend(intents)

    async def settle(self, verdicts):
        await self.open.wait()
        await super().settle(verdicts)

    async def heartbeat(self):
        await self.open.wait()
        return await super().heartbeat()


def confirmed(number):
    return Verdict(number, CommandState.CONFIRMED)


def states(store):
    return [record.state.value for record in store.records.values()]


@virtual
async def test_intents_facts_and_verdicts_reach_the_disk():
    store = Disk()
    scribe = Scribe(store)
    assert await scribe.intend([INTENT, INTENT], {"mode_before_sleep/a": "normal"}) == [1, 2]
    scribe.verdict(confirmed(1))
    scribe.prove("hall")
    await scribe.flush()
    assert states(store) == ["confirmed", "planned"]
    assert store.fact("mode_before_sleep/a") == "normal"
    assert store.proven == {"hall"}


@virtual
async def test_a_full_disk_is_told_once_and_healed_by_a_probe():
    store = Disk()
    scribe = Scribe(store)
    await scribe.intend([INTENT], {})
    store.fail("disk full")
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            assert await scribe.intend([INTENT], {}) is None
        scribe.verdict(confirmed(1))
        await scribe.flush()
        await scribe.probe()
        assert scribe.failing
        store.heal()
        assert scribe.failing  # nobody has tried since
        await scribe.probe()
        assert not scribe.failing
    assert [entry["event"] for entry in logs] == ["journal_failing", "journal_healed"]
    task = asyncio.create_task(scribe.write_down())
    await asyncio.sleep(0.1)
    task.cancel()
    assert states(store) == ["confirmed"]  # what waited was written without anything new


@virtual
async def test_a_disk_that_is_well_is_not_worn_by_probes():
    store = Disk()
    scribe = Scribe(store)
    for _ in range(10):
        await scribe.probe()
    await scribe.intend([INTENT], {})
    beats = []
    store.heartbeat = lambda: beats.append(1)
    await scribe.probe()
    assert beats == []


@virtual
async def test_a_failure_that_another_write_met_is_told_too():
    store = Disk()
    scribe = Scribe(store)
    store.fail("disk full")
    with pytest.raises(StoreError):
        await store.remember({"ledger": 1})
    assert scribe.failing
    with structlog.testing.capture_logs() as logs:
        await scribe.probe()
        store.heal()
        await scribe.probe()
    assert [entry["event"] for entry in logs] == ["journal_failing", "journal_healed"]
    assert not scribe.failing


@virtual
async def test_a_disk_that_hangs_costs_one_patience_and_no_more():
    store = Disk()
    scribe = Scribe(store)
    store.open.clear()
    began = virtual_loop().time()
    for _ in range(5):
        assert await scribe.intend([INTENT], {}) is None
    assert virtual_loop().time() - began == pytest.approx(PATIENCE)
    await scribe.probe()
    assert scribe.failing
    store.open.set()
    await scribe.probe()
    assert not scribe.failing
    assert await scribe.intend([INTENT], {}) is not None


@virtual
async def test_verdicts_survive_a_cancelled_write():
    store = Disk()
    scribe = Scribe(store)
    await scribe.intend([INTENT], {})
    store.open.clear()
    scribe.verdict(confirmed(1))
    task = asyncio.create_task(scribe.write_down())
    await asyncio.sleep(1)
    scribe.verdict(Verdict(2, CommandState.EXPIRED))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.open.set()
    await scribe.flush()
    assert states(store) == ["confirmed"]


@virtual
async def test_what_waits_is_bounded_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setattr(module, "MAX_VERDICTS", 10)
    store = Disk()
    scribe = Scribe(store)
    await scribe.intend([INTENT] * 30, {})
    store.fail()
    for number in range(1, 26):
        scribe.verdict(confirmed(number))
        await scribe.flush()
    assert scribe.dropped == 15
    store.heal()
    await scribe.flush()
    assert states(store)[:15] == ["planned"] * 15
    assert states(store)[15:25] == ["confirmed"] * 10
