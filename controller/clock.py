"""The one clock that is passed to everything: three times that must not be mixed.

`mono` runs deadlines and leases and is never scaled. `wall` dates prices and records. `plant` is the time of the
physics: dwell, ramps, minimum on and off times. A demonstration scales wall and plant together, so that a day passes
in minutes while every I/O deadline stays what it is.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where the program gets its time from."""

    def mono(self) -> float:
        """Seconds that only go forward; deadlines, leases, ages of readings."""
        ...

    def wall(self) -> datetime:
        """Aware UTC; prices and records."""
        ...

    def plant(self) -> float:
        """Seconds of the physical process; dwell, ramps."""
        ...

    @property
    def plant_rate(self) -> float:
        """Plant seconds per mono second."""
        ...


class SystemClock:
    """The machine's own time."""

    def mono(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)

    def plant(self) -> float:
        """The same seconds as mono: the plant runs in real time."""
        return time.monotonic()

    @property
    def plant_rate(self) -> float:
        """One."""
        return 1.0


class ScaledClock:
    """Wall and plant time that run `scale` times as fast as the loop's time, from a given wall instant.

    `mono` is the running loop's own time, so the same class serves the demonstration and the virtual loop of the tests.
    """

    def __init__(self, start: datetime, scale: float = 1.0) -> None:
        if start.tzinfo is None:
            raise ValueError("the starting instant must be aware")
        if not scale > 0:
            raise ValueError("the scale must be positive")
        self._start = start.astimezone(UTC)
        self._scale = scale
        self._loop = asyncio.get_running_loop()
        self._epoch = self._loop.time()

    def mono(self) -> float:
        """The loop's time."""
        return self._loop.time()

    def wall(self) -> datetime:
        """The starting instant plus the scaled time since."""
        return self._start + timedelta(seconds=self.plant())

    def plant(self) -> float:
        """Scaled seconds since the clock was made."""
        return (self.mono() - self._epoch) * self._scale

    @property
    def plant_rate(self) -> float:
        """The scale."""
        return self._scale
