"""Ledger, meter, feed, clock, memory: small pieces that the loops stand on."""

import asyncio
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
import structlog

from controller import memory
from controller.clock import ScaledClock, SystemClock
from controller.farm import Farm, Member
from controller.feed import ASK_EVERY, RETRY_FIRST, RETRY_MAX, PriceFeed
from controller.ledger import MAX_INTERVAL, Interval, Ledger
from controller.meter import SiteMeter
from controller.prices.merge import merge
from controller.prices.series import PriceSeries, PriceSlot
from shedload.device import RigName
from shedload.errors import ConfigError
from shedload.units import HashesPerSecond, PricePerKilowattHour, Watts
from tests.support.memory_store import MemoryStore
from tests.support.site import NOON, HandClock
from tests.support.virtual import START_WALL, virtual, virtual_loop

FULL = Interval(3600.0, Watts(10e3), HashesPerSecond(1e15), 0.10, 1e-18, Watts(20e3), HashesPerSecond(2e15))


def without(**changes):
    from dataclasses import replace

    return replace(FULL, **changes)


class TestLedger:
    def test_an_hour_in_money(self):
        ledger = Ledger().with_interval(FULL)
        assert ledger.energy_joules == 36e6
        assert ledger.cost == pytest.approx(1.0)
        assert ledger.earned == pytest.approx(3.6)
        assert ledger.always_on_cost == pytest.approx(2.0)
        assert ledger.always_on_earned == pytest.approx(7.2)
        assert ledger.gained == pytest.approx(2.6 - 5.2)
        assert ledger.gap_seconds == 0

    def test_a_negative_price_pays(self):
        assert Ledger().with_interval(without(price=-0.05)).cost == pytest.approx(-0.5)

    @pytest.mark.parametrize("missing", ["price", "hashrate", "earned_per_hash", "always_on_power"])
    def test_energy_counts_where_money_is_unknown(self, missing):
        ledger = Ledger().with_interval(without(**{missing: None}))
        assert ledger.energy_joules == 36e6
        assert ledger.cost == ledger.earned == 0
        assert ledger.gap_seconds == ledger.seconds == 3600

    def test_without_power_nothing_is_invented(self):
        ledger = Ledger().with_interval(without(power=None))
        assert ledger == Ledger(seconds=3600.0, gap_seconds=3600.0)

    def test_a_long_silence_is_a_gap(self):
        ledger = Ledger().with_interval(without(seconds=MAX_INTERVAL + 1))
        assert ledger.energy_joules == 0
        assert ledger.gap_seconds == MAX_INTERVAL + 1

    @pytest.mark.parametrize("seconds", [0.0, -5.0])
    def test_time_that_does_not_pass_counts_nothing(self, seconds):
        assert Ledger().with_interval(without(seconds=seconds)) == Ledger()

    def test_numbers_that_are_none_are_a_gap(self):
        for changes in ({"power": Watts(float("nan"))}, {"hashrate": HashesPerSecond(float("inf"))}):
            ledger = Ledger().with_interval(without(**changes))
            assert ledger.gap_seconds == 3600
            assert ledger.cost == 0

    def test_it_survives_the_store(self):
        ledger = Ledger().with_interval(FULL)
        assert Ledger.of_fact(ledger.fact()) == ledger
        assert Ledger.of_fact({"cost": 3, "earned": "x", "seconds": float("nan"), "new": 1}) == Ledger(cost=3.0)


class TestMeter:
    def test_silence_is_not_zero(self):
        clock = HandClock()
        meter = SiteMeter(clock.mono, 30.0)
        assert meter.power is None
        meter.heard(Watts(5000.0))
        clock.now += 30
        assert meter.power == 5000
        clock.now += 0.1
        assert meter.power is None
        assert meter.last.power == 5000

    def test_a_reading_that_is_none_is_a_failure_and_keeps_the_last(self):
        meter = SiteMeter(HandClock().mono, 30.0)
        meter.heard(Watts(5000.0))
        for value in ("nan", "inf", "-inf"):
            meter.heard(Watts(float(value)))
        assert meter.power == 5000
        assert meter.failures == 3
        assert meter.last_failure
        meter.heard(Watts(-100.0))  # feeding in
        assert meter.power == -100
        assert meter.last_failure == ""

    def test_failure_texts_are_bounded(self):
        meter = SiteMeter(HandClock().mono, 30.0)
        meter.failed("x" * 10_000)
        assert len(meter.last_failure) == 200

    def test_listeners_hear_each_reading(self):
        heard = []
        meter = SiteMeter(HandClock().mono, 30.0)
        meter.listen(heard.append)
        meter.heard(Watts(1.0))
        assert [reading.power for reading in heard] == [1.0]


class Source:
    """Answers with what `answers` holds, one after the other, the last for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def fetch(self, now):
        self.asked.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if answer == "hang":
            await asyncio.sleep(1e6)
        return answer

    def waits(self):
        return [later - earlier for earlier, later in zip(self.asked, self.asked[1:], strict=False)]


def prices(start=START_WALL, hours=24, price=0.05):
    return PriceSeries(
        [
            PriceSlot(
                start + timedelta(hours=hour), start + timedelta(hours=hour + 1), PricePerKilowattHour(price), "EUR"
            )
            for hour in range(hours)
        ]
    )


async def run_for(feed, seconds):
    random.seed(1)
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(seconds)
    assert not task.done(), task.exception()
    task.cancel()


class TestFeed:
    @virtual
    async def test_asks_at_its_cadence(self):
        source = Source(prices())
        feed = PriceFeed(source, ScaledClock(START_WALL))
        await run_for(feed, 3000)
        assert all(0.9 * ASK_EVERY <= wait <= 1.1 * ASK_EVERY for wait in source.waits())
        assert feed.at(START_WALL).price == 0.05

    @virtual
    async def test_asks_in_the_plant_s_time_where_that_runs_fast(self):
        source = Source(prices())
        await run_for(PriceFeed(source, ScaledClock(START_WALL, 100.0)), 60)
        assert 15 <= len(source.asked) <= 24

    @virtual
    async def test_keeps_what_it_had_and_retries_ever_slower(self):
        source = Source(prices(), *[ConfigError("feed", "is gone")] * 9, prices(), ConfigError("feed", "is gone"))
        feed = PriceFeed(source, ScaledClock(START_WALL))
        with structlog.testing.capture_logs() as logs:
            await run_for(feed, 2400)
        waits = source.waits()
        for place, nominal in enumerate([ASK_EVERY, 5, 10, 20, 40, 80, RETRY_MAX, RETRY_MAX]):
            assert 0.9 * nominal <= waits[place] <= 1.1 * nominal, (place, waits)
        # It answered once in between: after that retries begin anew.
        assert 0.9 * RETRY_FIRST <= waits[11] <= 1.1 * RETRY_FIRST, waits
        assert feed.at(START_WALL) is not None
        assert [entry["event"] for entry in logs].count("price_fetch_failed") == 2  # once for each outage

    @virtual
    async def test_a_source_that_hangs_is_given_up(self):
        source = Source("hang", prices())
        feed = PriceFeed(source, ScaledClock(START_WALL))
        await run_for(feed, 120)
        assert feed.failures == 1
        assert feed.at(START_WALL) is not None

    @virtual
    async def test_what_did_not_change_is_not_merged_again(self, monkeypatch):
        merged = []

        def counting(known, newer, **options):
            merged.append(newer)
            return merge(known, newer, **options)

        monkeypatch.setattr("controller.feed.merge", counting)
        old = PriceSlot(
            START_WALL - timedelta(days=9), START_WALL - timedelta(days=8), PricePerKilowattHour(0.01), "EUR"
        )
        kept, changed = PriceSeries([old, *prices()]), prices()  # with a slot that the feed forgets at once
        feed = PriceFeed(Source(kept), ScaledClock(START_WALL))
        for series in (kept, kept, changed, changed, kept):
            feed.take(series)
        assert merged == [kept, kept]  # the same slots once more are no change either

    @virtual
    async def test_a_bug_in_a_source_costs_its_prices_and_not_the_daemon(self):
        feed = PriceFeed(Source(ZeroDivisionError("oops"), prices()), ScaledClock(START_WALL))
        with structlog.testing.capture_logs() as logs:
            await run_for(feed, 30)
        assert "ZeroDivisionError" in str(logs)
        assert feed.at(START_WALL) is not None

    def test_a_gap_stays_a_gap_and_old_slots_go(self):
        clock = HandClock()
        feed = PriceFeed(Source(), clock)
        feed.take(prices(NOON - timedelta(days=5), 24))
        feed.take(prices(NOON, 1))
        feed.take(prices(NOON + timedelta(hours=2), 1))
        assert feed.at(NOON + timedelta(minutes=30)) is not None
        assert feed.at(NOON + timedelta(minutes=90)) is None
        assert feed.at(NOON - timedelta(days=4, hours=12)) is None


class TestClock:
    def test_the_system_s_times_go_forward_and_are_aware(self):
        clock = SystemClock()
        assert clock.mono() <= clock.mono()
        assert clock.wall().tzinfo is UTC
        assert clock.plant_rate == 1.0

    @virtual
    async def test_scaled_time_leaves_deadlines_alone(self):
        clock = ScaledClock(datetime(2026, 3, 29, 2, tzinfo=timezone(timedelta(hours=1))), 60.0)
        mono = clock.mono()
        await asyncio.sleep(10)
        assert clock.mono() - mono == pytest.approx(10)
        assert clock.plant() == pytest.approx(600)
        assert clock.wall() == datetime(2026, 3, 29, 1, 10, tzinfo=UTC)
        assert clock.mono() == virtual_loop().time()

    @virtual
    async def test_nonsense_is_refused(self):
        with pytest.raises(ValueError, match="aware"):
            ScaledClock(datetime(2026, 1, 1))  # noqa: DTZ001
        for scale in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match="positive"):
                ScaledClock(START_WALL, scale)


class TestMemory:
    def farm(self, count=3):
        members = [Member(RigName(f"r{number}"), model="Antminer S21") for number in range(count)]
        return Farm(members, HandClock(), stale_after=45.0)

    @virtual
    async def test_what_was_measured_comes_back(self):
        store = MemoryStore(HandClock())
        farm = self.farm()
        farm.restore_normal(RigName("r1"), 3333.0, 190e12)
        known = memory.recall(farm, store)
        await store.remember(memory.facts(memory.changed(farm, known)))
        other = self.farm()
        known = memory.recall(other, store)
        assert other.normal(RigName("r1")) == (3333.0, 190e12)
        assert other.normal(RigName("r0")) is None
        assert memory.changed(other, known) == {}

    @virtual
    async def test_only_what_changed_is_written_and_not_all_at_once(
        self,
    ):
        farm = self.farm(memory.AT_ONCE + 5)
        for rig in farm.records:
            farm.restore_normal(rig, 3000.0, 200e12)
        known = {}
        found = memory.changed(farm, known)
        assert len(found) == memory.AT_ONCE
        known.update(found)
        assert len(memory.changed(farm, known)) == 5
        known.update(memory.changed(farm, known))
        farm.restore_normal(RigName("r1"), 3020.0, 200e12)
        assert memory.changed(farm, known) == {}
        farm.restore_normal(RigName("r1"), 3040.0, 200e12)
        assert set(memory.changed(farm, known)) == {"r1"}

    @virtual
    async def test_facts_of_another_shape_are_passed_over(self):
        store = MemoryStore(HandClock())
        await store.remember({"normal/r0": "x", "normal/r1": [1], "normal/r2": [-1, 5.0], "normal/gone": [1, 2]})
        farm = self.farm()
        memory.recall(farm, store)
        assert all(farm.normal(rig) is None for rig in farm.records)
