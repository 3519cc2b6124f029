"""The site's power meter as the control loops see it: the last reading and its age. Silence is not zero."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from shedload.units import Watts


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What the meter said, and when it was heard (Clock.mono())."""

    power: Watts
    taken: float


class SiteMeter:
    """Takes readings from wherever they come and knows whether the last one still counts."""

    def __init__(self, mono: Callable[[], float], max_age: float) -> None:
        self._mono = mono
        self._max_age = max_age
        self._last: MeterReading | None = None
        self._listeners: list[Callable[[MeterReading], None]] = []
        self.failures = 0
        self.last_failure = ""  # since the last good reading

    def listen(self, listener: Callable[[MeterReading], None]) -> None:
        """Call `listener` with each reading; it must return at once."""
        self._listeners.append(listener)

    def heard(self, power: Watts) -> None:
        """Take a reading; one that is no number counts as a failure."""
        if not math.isfinite(power):
            self.failed(f"the reading {power} is no power")
            return
        self.last_failure = ""
        self._last = MeterReading(power, self._mono())
        for listener in self._listeners:
            listener(self._last)

    def failed(self, detail: str) -> None:
        """Note that a reading could not be had."""
        self.failures += 1
        self.last_failure = detail[:200]

    @property
    def last(self) -> MeterReading | None:
        """The last reading, however old."""
        return self._last

    @property
    def power(self) -> Watts | None:
        """The last reading while it is fresh."""
        if self._last is None or self._mono() - self._last.taken > self._max_age:
            return None
        return self._last.power
