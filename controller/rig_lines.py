"""The per-rig metrics surface: lines are rendered when a reading arrives and joined when somebody scrapes.

    Telemetry --RigPage.live--> lines by family and rig --RigPage.render--> /metrics/rigs?group=

One page per group; site and group come as target labels from service discovery, so a line carries only the rig. A rig
that is not heard of any more keeps `up 0`, its info and the time it was last seen; everything else goes away, because a
last known power for ever would make a dead rig look like load.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from controller.metric_catalogue import Family, Kind
from shedload.device import Telemetry

MAX_LABEL = 128
"""Bytes of a label value; the shipped scrape configuration refuses longer ones."""
LARGEST = 1e300
"""No measurement comes near it; the text of a larger float may round to one that a scraper cannot read."""
INFO_LABELS = ("model", "firmware", "mac", "feeder")

Info = tuple[str, str, str, str]
"""Values of INFO_LABELS; empty where unknown."""


class Attention(StrEnum):
    """Why somebody should look at a rig. Closed set: a metric label."""

    REFUSING = "refusing"
    CONTESTED = "contested"
    SUSPICIOUS = "suspicious"
    FAULTY = "faulty"


@dataclass(frozen=True, slots=True)
class RigFamily:
    """One family; `read` gives the value of a live reading, None leaves the line out."""

    family: Family
    read: Callable[[Telemetry], float | None]


def _gauge(name: str, text: str, read: Callable[[Telemetry], float | None]) -> RigFamily:
    return RigFamily(Family(f"rig_{name}", Kind.GAUGE, text, ("rig",)), read)


def _counter(name: str, text: str, read: Callable[[Telemetry], float | None]) -> RigFamily:
    return RigFamily(Family(f"rig_{name}", Kind.COUNTER, text, ("rig",)), read)


def _slowest_fan(telemetry: Telemetry) -> float | None:
    return min(telemetry.fans) if telemetry.fans else None


LIVE: tuple[RigFamily, ...] = (
    _gauge("hashrate_hashes_per_second", "Hashrate by the rig's own account.", lambda t: t.hashrate),
    _gauge(
        "hashrate_nominal_hashes_per_second",
        "Hashrate of the present setting by the rig's own account.",
        lambda t: t.hashrate_nominal,
    ),
    _gauge("power_watts", "Power, reported by the rig or estimated from its hashrate.", lambda t: t.power),
    _gauge("power_limit_watts", "Power target set on the rig.", lambda t: t.power_limit),
    _gauge("chip_temperature_celsius", "Hottest chip.", lambda t: t.chip_temperature),
    _gauge("board_temperature_celsius", "Hottest hashboard.", lambda t: t.board_temperature),
    _gauge("inlet_temperature_celsius", "Air or water at the inlet.", lambda t: t.inlet_temperature),
    _gauge("fan_speed_revolutions_per_minute", "Slowest fan.", _slowest_fan),
    _counter("shares_accepted_total", "Accepted shares by the rig's own account.", lambda t: t.accepted),
    _counter("shares_rejected_total", "Rejected shares by the rig's own account.", lambda t: t.rejected),
    _counter("hardware_errors_total", "Hardware errors by the rig's own account.", lambda t: t.hardware_errors),
    _gauge("uptime_seconds", "Uptime of the mining process.", lambda t: t.uptime),
    _gauge("faults", "Faults that the rig reports.", lambda t: len(t.faults)),
)
UP = Family("rig_up", Kind.GAUGE, "1 while the rig's last reading is fresh.", ("rig",))
SEEN = Family("rig_last_seen_timestamp_seconds", Kind.GAUGE, "Unix time of the last good reading.", ("rig",))
INFO = Family("rig_info", Kind.GAUGE, "What stands in the slot; always 1.", ("rig", *INFO_LABELS))
ATTENTION = Family(
    "rig_attention", Kind.GAUGE, "1 for each reason to look at the rig; absent without one.", ("rig", "reason")
)
RIG_CATALOGUE: tuple[Family, ...] = (UP, SEEN, INFO, ATTENTION, *(live.family for live in LIVE))


class RigPage:
    """One group's page, family by family, a line per rig."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, bytes]] = {family.name: {} for family in RIG_CATALOGUE}
        self._live = [(live.read, f"{live.family.full_name}", self._lines[live.family.name]) for live in LIVE]
        self._known: dict[str, Info] = {}
        self._gone: set[str] = set()

    def live(self, rig: str, telemetry: Telemetry, seen: float, info: Info) -> None:
        """Render a rig's lines from a fresh reading taken at the Unix time `seen`."""
        label = f'{{rig="{escape(rig)}"'
        for read, name, lines in self._live:
            text = number(read(telemetry))
            if text is None:
                lines.pop(rig, None)
            else:
                lines[rig] = f"{name}{label}}} {text}\n".encode()
        self._lines[UP.name][rig] = f"{UP.full_name}{label}}} 1\n".encode()
        self._lines[SEEN.name][rig] = f"{SEEN.full_name}{label}}} {seen:.3f}\n".encode()
        self._gone.discard(rig)
        self._describe(rig, info)

    def gone(self, rig: str, info: Info) -> None:
        """Take away what a rig that is not heard of can no longer say."""
        for _, _, lines in self._live:
            lines.pop(rig, None)
        self._lines[UP.name][rig] = f'{UP.full_name}{{rig="{escape(rig)}"}} 0\n'.encode()
        self._gone.add(rig)
        self._describe(rig, info)

    def is_gone(self, rig: str) -> bool:
        """Whether `gone` was the last that was said of the rig."""
        return rig in self._gone

    def render(self, attention: Iterable[tuple[str, Attention]] = ()) -> bytes:
        """The page in the text format 0.0.4; families without a line keep their header."""
        parts: list[bytes] = []
        for family in RIG_CATALOGUE:
            parts.append(_header(family))
            parts.extend(self._lines[family.name].values())
            if family is ATTENTION:
                parts.extend(
                    f'{ATTENTION.full_name}{{rig="{escape(rig)}",reason="{reason.value}"}} 1\n'.encode()
                    for rig, reason in attention
                )
        return b"".join(parts)

    def _describe(self, rig: str, info: Info) -> None:
        if self._known.get(rig) == info:
            return
        self._known[rig] = info
        labels = ",".join(f'{key}="{escape(value)}"' for key, value in zip(INFO_LABELS, info, strict=True))
        self._lines[INFO.name][rig] = f'{INFO.full_name}{{rig="{escape(rig)}",{labels}}} 1\n'.encode()


def bounded(value: str) -> str:
    """A label value of at most MAX_LABEL bytes; what cannot be printed becomes a question mark: a NUL ends the page."""
    if not value.isprintable():
        value = "".join(sign if sign.isprintable() else "?" for sign in value[:MAX_LABEL])
    return value.encode()[:MAX_LABEL].decode(errors="ignore")


def escape(value: str) -> str:
    """A bounded label value as it stands between quotes."""
    return bounded(value).replace("\\", "\\\\").replace('"', '\\"')


def number(value: float | None) -> str | None:
    """A value as text; None for what is unknown, and for what a scraper would reject together with the whole page."""
    if value is None or not abs(value) <= LARGEST:  # NaN is not either
        return None
    return f"{value:.10g}" if isinstance(value, float) else str(int(value))


def _header(family: Family) -> bytes:
    return f"# HELP {family.full_name} {family.help}\n# TYPE {family.full_name} {family.kind.value}\n".encode()
