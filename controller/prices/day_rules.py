"""Words of a calendar rule: hours, days and months as an operator writes them.

    "22:00-06:00", "Mon-Fri", "Nov-Feb" --> spans of minutes, weekdays, months

A rule judges an instant by its local wall time alone: "Mon-Fri" with "22:00-06:00" means the first six hours of Monday
and not those of Saturday.
"""

import re

MINUTES_PER_DAY = 1440
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Span = tuple[int, int]
"""Minutes of the local day, half-open."""

_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


def spans_of(hours: str | None) -> tuple[Span, ...]:
    """Spans of "HH:MM-HH:MM, ..."; a span may run past midnight; None is the whole day. Raises ValueError."""
    if hours is None:
        return ((0, MINUTES_PER_DAY),)
    return tuple(span for part in hours.split(",") for span in _span(part.strip()))


def days_of(days: str | None) -> frozenset[int]:
    """Weekdays, Monday is 0, of "Mon-Fri, Sun"; None is every day. Raises ValueError."""
    return frozenset(range(7)) if days is None else _places(days, DAYS, numbers=False)


def months_of(months: str | None) -> frozenset[int]:
    """Months, January is 0, of "6-9" or "Nov-Feb"; None is the whole year. Raises ValueError."""
    return frozenset(range(12)) if months is None else _places(months, MONTHS, numbers=True)


def _span(text: str) -> tuple[Span, ...]:
    match = _HOURS.fullmatch(text)
    if not match:
        raise ValueError(f'"{text}" is not a span of hours such as 07:00-22:00')
    start, end = _minute(match[1], match[2]), _minute(match[3], match[4])
    if start == end:
        raise ValueError(f'"{text}" is no time at all; leave hours out for the whole day')
    return ((start, end),) if start < end else tuple(s for s in ((start, MINUTES_PER_DAY), (0, end)) if s[0] < s[1])


def _minute(hour: str, minute: str) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > MINUTES_PER_DAY:
        raise ValueError(f"{hour}:{minute} is not a time of day")
    return value


def _places(text: str, names: tuple[str, ...], *, numbers: bool) -> frozenset[int]:
    """Places of names in a list of ranges; a range may run past the end ("Sat-Mon")."""
    places: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start = _place(first, names, numbers=numbers)
        end = _place(last, names, numbers=numbers) if dash else start
        places |= {place % len(names) for place in range(start, end + 1 + (len(names) if end < start else 0))}
    return frozenset(places)


def _place(word: str, names: tuple[str, ...], *, numbers: bool) -> int:
    if numbers and word.isascii() and word.isdigit() and 1 <= int(word) <= len(names):
        return int(word) - 1
    if word.capitalize() in names:
        return names.index(word.capitalize())
    raise ValueError(f'"{word}" is none of {", ".join(names)}')
