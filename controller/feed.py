"""The prices in force: asks the source, keeps what it had when the source fails, merges what is new."""

import asyncio
import random
from datetime import datetime, timedelta

import structlog

from controller.clock import Clock
from controller.prices import PriceSource
from controller.prices.merge import merge
from controller.prices.series import PriceSeries, PriceSlot
from shedload.errors import ShedloadError

ASK_EVERY = 300.0
"""Mono seconds between two looks at a source that answered."""
RETRY_FIRST, RETRY_MAX = 5.0, 120.0
"""Mono seconds before asking again after a failure: doubled from the first to the longest, with jitter."""
FETCH_DEADLINE = 60.0
KEPT = timedelta(days=2)
"""How long slots that are over are kept, for displays and questions about yesterday."""

log = structlog.get_logger(__name__)


class PriceFeed:
    """A price source and what it has said so far."""

    def __init__(self, source: PriceSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self.series = PriceSeries()
        self._taken: PriceSeries | None = None
        self.failures = 0
        self.last_failure = ""  # since the source last answered
        self.fetched: datetime | None = None

    def at(self, now: datetime) -> PriceSlot | None:
        """The slot in force, None where the price is unknown."""
        return self.series.at(now)

    def take(self, newer: PriceSeries) -> None:
        """Merge slots that came in; they replace only the instants they cover."""
        now = self._clock.wall()
        self.fetched = now
        if newer is self._taken:
            return  # a file that did not change: merging years of quarter-hours again would hold the event loop up
        self._taken = newer
        if tuple(newer) != tuple(self.series):
            self.series = merge(self.series, newer, forget_before=now - KEPT)

    async def refresh(self) -> None:
        """Ask the source once. Raises ShedloadError."""
        async with asyncio.timeout(FETCH_DEADLINE):
            self.take(await self._source.fetch(self._clock.wall()))

    async def run(self) -> None:
        """Keep asking, for as long as the daemon runs."""
        retry = RETRY_FIRST
        while True:
            if await self._asked():
                wait, retry = ASK_EVERY / max(1.0, self._clock.plant_rate), RETRY_FIRST
            else:
                wait, retry = retry, min(RETRY_MAX, retry * 2.0)
            await asyncio.sleep(max(1.0, wait * random.uniform(0.9, 1.1)))

    async def _asked(self) -> bool:
        """Ask once and say whether it answered; whatever a source does, what it said before stays."""
        try:
            await self.refresh()
        except (ShedloadError, TimeoutError, OSError) as error:
            self._failed(str(error)[:200] or type(error).__name__)
            return False
        except Exception as error:  # a bug in one source must not take the daemon down
            log.exception("price_source_bug")
            self._failed(f"{type(error).__name__}: {error}"[:200])
            return False
        self.last_failure = ""
        return True

    def _failed(self, detail: str) -> None:
        self.failures += 1
        if detail != self.last_failure:
            log.warning("price_fetch_failed", detail=detail, keeps_until=str(self.series.valid_until))
        self.last_failure = detail
