"""How fast a site may change: a bucket of watts that fills with plant time and is emptied by every change."""

from dataclasses import dataclass

SECONDS_PER_MINUTE = 60.0


@dataclass(slots=True)
class Bucket:
    """Watts that may still change now. A full bucket lets one change pass that is larger than it, and owes the rest."""

    per_minute: float | None  # None: no limit
    level: float

    @classmethod
    def filled(cls, per_minute: float | None, level: float | None, elapsed: float) -> "Bucket":
        """The bucket after some plant seconds; level None is the first use, full. It holds a minute's worth."""
        if per_minute is None:
            return cls(None, 0.0)
        before = per_minute if level is None else level
        return cls(per_minute, min(per_minute, before + per_minute * max(0.0, elapsed) / SECONDS_PER_MINUTE))

    def take(self, power: float) -> bool:
        """Spend watts; False and nothing spent where they are not there yet."""
        if self.per_minute is None or power <= 0:
            return True
        if power > self.level and self.level < self.per_minute:
            return False
        self.level -= power
        return True
