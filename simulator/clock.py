"""The plant's clock: physics may run faster than the wall, I/O never does."""

from collections.abc import Callable


class PlantClock:
    """Seconds of plant time since the farm was started, and the rigs' own idea of the date.

    `read` is a monotonic clock (usually `loop.time`); `scale` plant seconds pass in each of its seconds.
    """

    def __init__(self, read: Callable[[], float], scale: float = 1.0, epoch: float = 0.0) -> None:
        self.scale = scale
        self.epoch = epoch
        self._read = read
        self._start = read()

    def now(self) -> float:
        """Plant seconds since start."""
        return (self._read() - self._start) * self.scale

    def wall(self) -> float:
        """Unix time as a rig would tell it."""
        return self.epoch + self.now()

    def delay(self, plant_seconds: float) -> float:
        """How long the reading clock takes for so much plant time."""
        return plant_seconds / self.scale
