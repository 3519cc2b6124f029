"""Killed at any moment of a command: what is on disk, what the rigs saw, and what the next run makes of it."""

import asyncio
from collections import Counter

import pytest

from controller.track import CommandState
from simulator.rig import RigState as Truth
from tests.scenarios.test_faults import DEAR
from tests.support.virtual import run_virtual
from tests.support.whole import Wanted, daemon_of, farm_of

OPEN = {CommandState.PLANNED, CommandState.SENT, CommandState.UNKNOWN}
CUTS = [5.0 + 0.25 * step for step in range(28)]
"""Seconds after the start: from before the first command to after the last confirmation."""


@pytest.mark.parametrize("cut", CUTS)
def test_killed_at_any_moment(tmp_path, cut):
    run_virtual(_live(tmp_path, cut))


async def _live(tmp_path, cut):
    wanted = Wanted(price=DEAR, scale=1, s19=2, s21=2, latency_s=0.2, polling="interval_s = 3\nstale_after_s = 20")
    async with farm_of(wanted) as farm:
        async with daemon_of(tmp_path / "one", wanted, farm) as site:
            await asyncio.sleep(cut)
            # What a kill leaves: the disk as it is in this moment. What the first daemon still says is not heard.
            left, seen = site.store.restarted(), Counter(site.writes())
            clock = site.clock
        intents = Counter(record.rig for record in left.records.values())
        assert all(intents[rig] >= count for rig, count in seen.items()), "a write without an intent on disk"
        at_stop = Counter(site.writes())
        async with daemon_of(tmp_path / "two", wanted, farm, store=left, clock=clock) as site:
            await site.until(lambda: site.truly(Truth.ASLEEP) == set(farm.rigs), 120)
            await site.until(lambda: not any(r.state in OPEN for r in site.store.records.values()), 300, "settled")
            assert site.pools() == site.pools_before
            for rig, count in site.writes().items():
                # A rig that had slept already is not written to again.
                assert count - at_stop[rig] == (0 if at_stop[rig] else 1), rig
            assert not site.daemon.actuator._verbs
            assert site.named("refusing") == set()
