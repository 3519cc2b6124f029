"""Doubts about our own instruments: a wall clock that was set, a meter that tells another power than the rigs do.

clocks, meter, views --Controller, each cycle--> Doubts --> no raises for a while; a warning and a mark in the status
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from controller.limits import believed_power
from controller.plan import RigState, RigView
from shedload.units import Watts

CLOCK_STEP = 5.0
"""Seconds by which wall and plant time may part in one cycle; more is a clock that was set, and prices may be wrong."""
DISAGREEMENT = 0.15
"""Relative difference between meter and rigs that is no bias any more: firmware is off by 0-8 %, one phase by 33 %."""
SMALLEST = Watts(300.0)
"""Differences below it are the lights and the router."""
PATIENCE = 120.0
"""Plant seconds for which they must disagree at rest: sleep takes seconds, and the meter follows at once."""
AT_REST = frozenset({RigState.HASHING, RigState.IDLE, RigState.ASLEEP})
OUT_OF_REACH = frozenset({RigState.OFFLINE, RigState.UNKNOWN})

log = structlog.get_logger(__name__)


class ClockDoubt:
    """Compares wall and plant time from cycle to cycle."""

    def __init__(self, wall: datetime, plant: float) -> None:
        self._wall = wall
        self._plant = plant

    def stepped(self, wall: datetime, plant: float) -> float | None:
        """Seconds by which the wall clock was set since the last look; None where it ran on as it should."""
        step = (wall - self._wall).total_seconds() - (plant - self._plant)
        self._wall, self._plant = wall, plant
        return step if abs(step) > CLOCK_STEP else None


class MeterDoubt:
    """Compares the meter with what rigs and base load are believed to draw, while nothing moves."""

    def __init__(self) -> None:
        self.disagrees = False
        self._since: float | None = None

    def look(
        self, meter: Watts | None, views: Iterable[RigView], base_load: Watts, plant: float, *, busy: bool
    ) -> None:
        """Take one cycle; `busy` while commands are on their way, and then nothing is compared."""
        if meter is None or busy:
            self._since = None
            return
        believed, unsure = float(base_load), 0.0
        for view in views:
            power = believed_power(view)
            believed += power
            if view.state in OUT_OF_REACH:
                unsure += power
            elif view.state not in AT_REST:
                self._since = None
                return
        apart = abs(meter - believed)
        if apart <= max(SMALLEST, DISAGREEMENT * max(meter, believed)) + unsure:
            self._since, self.disagrees = None, False
            return
        self._since = plant if self._since is None else self._since
        if plant - self._since >= PATIENCE and not self.disagrees:
            self.disagrees = True
            log.warning("meter_disagrees", meter_w=round(meter), believed_w=round(believed), unsure_w=round(unsure))
