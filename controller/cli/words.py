"""Numbers as people read them. An unknown value is a dash, never a zero.

Everything here is plain text: what rigs and pools say is made harmless before it reaches a terminal.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

DASH = "–"
RATES = ((1e18, "EH/s"), (1e15, "PH/s"), (1e12, "TH/s"), (1e9, "GH/s"), (1e6, "MH/s"), (1e3, "kH/s"))
SPARKS = "▁▂▃▄▅▆▇█"


def power(watts: float | None) -> str:
    """Watts as W, kW or MW."""
    if watts is None:
        return DASH
    if abs(watts) >= 1e6:
        return f"{watts / 1e6:.2f} MW"
    return f"{watts / 1e3:.1f} kW" if abs(watts) >= 100 else f"{watts:.0f} W"


def rate(hashes: float | None) -> str:
    """H/s with the prefix that leaves one to four digits."""
    if hashes is None:
        return DASH
    factor, unit = next(((factor, unit) for factor, unit in RATES if hashes >= factor), (1.0, "H/s"))
    if not hashes:
        return "0 H/s"
    value = hashes / factor
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def span(seconds: float | None) -> str:
    """A length of time."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def price(value: float | None, currency: str = "") -> str:
    """Money per kWh."""
    return DASH if value is None else f"{value:.4f} {currency}/kWh" if currency else f"{value:.4f}"


def money(value: float | None, currency: str) -> str:
    """An amount."""
    return DASH if value is None else f"{round(value, 2) + 0.0:+,.2f} {currency}"  # + 0.0: never "-0.00"


def count(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def clock(instant: str | None) -> str:
    """Hours and minutes of an instant in RFC 3339."""
    return DASH if not instant else datetime.fromisoformat(instant).strftime("%H:%M")


def moment(instant: str | None) -> str:
    """Date and time of an instant in RFC 3339."""
    return DASH if not instant else datetime.fromisoformat(instant).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(text: object, most: int = 200) -> str:
    """Text from outside on one line: bounded, without anything that steers a terminal."""
    cut = str(text)[:most]
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in cut)


def bar(share: float, width: int) -> str:
    """A bar that is full at 1; eighths of a cell."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def spark(values: Sequence[float | None]) -> str:
    """A line of small bars between the least and the greatest value; a gap stays a gap."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    step = (high - low) or 1.0
    return "".join(" " if value is None else SPARKS[round((value - low) / step * 7)] for value in values)


def number(name: str, value: Any) -> str:
    """A named number of a decision with the unit that its name carries."""
    if not isinstance(value, int | float):
        return plain(value)
    for end, show in (
        ("_per_kwh", lambda v: f"{v:.4f}"),
        ("_w_per_min", lambda v: f"{power(v)}/min"),
        ("_w", power),
        ("_s", span),
        ("_celsius", lambda v: f"{v:.0f} °C"),
        ("_j_per_th", lambda v: f"{v:.1f} J/TH"),
    ):
        if name.endswith(end):
            return str(show(float(value)))
    return f"{value:g}"
