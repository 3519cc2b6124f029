"""The per-rig metrics surface: lines are rendered when a reading arrives and joined when somebody scrapes.

One page per group; site and group come as target labels from service discovery, so a line carries only the rig. A rig
that is not heard of any more keeps `up 0`, its info and the time it was last seen; everything else goes away, because a
last known power for ever would make a dead rig look like load.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shedload.device import Telemetry

PREFIX = "shedload_rig_"
MAX_LABEL = 128
"""Bytes of a label value; the shipped scrape configuration refuses longer ones."""


@dataclass(frozen=True, slots=True)
class RigMetric:
    """One family; `read` gives the value of a live reading, None leaves the line out."""

    name: str
    kind: str
    help: str
    read: Callable[[Telemetry], float | None]


def _coolest_fan(telemetry: Telemetry) -> float | None:
    return min(telemetry.fans) if telemetry.fans else None


RIG_METRICS: tuple[RigMetric, ...] = (
    RigMetric("hashrate_hashes_per_second", "gauge", "Hashrate by the rig's own account.", lambda t: t.hashrate),
    RigMetric(
        "hashrate_nominal_hashes_per_second",
        "gauge",
        "Hashrate of the present setting by the rig's own account.",
        lambda t: t.hashrate_nominal,
    ),
    RigMetric("power_watts", "gauge", "Power, reported by the rig or estimated from its hashrate.", lambda t: t.power),
    RigMetric("power_limit_watts", "gauge", "Power target set on the rig.", lambda t: t.power_limit),
    RigMetric("chip_temperature_celsius", "gauge", "Hottest chip.", lambda t: t.chip_temperature),
    RigMetric("board_temperature_celsius", "gauge", "Hottest hashboard.", lambda t: t.board_temperature),
    RigMetric("inlet_temperature_celsius", "gauge", "Air or water at the inlet.", lambda t: t.inlet_temperature),
    RigMetric("fan_speed_rpm", "gauge", "Slowest fan, in revolutions per minute.", _coolest_fan),
    RigMetric("shares_accepted_total", "counter", "Accepted shares by the rig's own account.", lambda t: t.accepted),
    RigMetric("shares_rejected_total", "counter", "Rejected shares by the rig's own account.", lambda t: t.rejected),
    RigMetric("hardware_errors_total", "counter", "Hardware errors.", lambda t: t.hardware_errors),
    RigMetric("uptime_seconds", "gauge", "Uptime of the mining process.", lambda t: t.uptime),
    RigMetric("faults", "gauge", "Faults that the rig reports.", lambda t: float(len(t.faults))),
)
ALWAYS: tuple[tuple[str, str, str], ...] = (
    ("up", "gauge", "1 while the rig's last reading is fresh."),
    ("last_seen_timestamp_seconds", "gauge", "Unix time of the last good reading."),
    ("info", "gauge", "What stands in the slot; always 1."),
)


class RigPage:
    """One group's page, family by family, a line per rig."""

    def __init__(self) -> None:
        names = [metric.name for metric in RIG_METRICS] + [name for name, _, _ in ALWAYS]
        self._lines: dict[str, dict[str, bytes]] = {name: {} for name in names}

    def live(self, rig: str, telemetry: Telemetry, seen: float, info: Mapping[str, str]) -> None:
        """Render a rig's lines from a fresh reading taken at the Unix time `seen`."""
        label = escape(rig)
        for metric in RIG_METRICS:
            lines = self._lines[metric.name]
            value = metric.read(telemetry)
            if value is None:
                lines.pop(rig, None)
            else:
                lines[rig] = f'{PREFIX}{metric.name}{{rig="{label}"}} {_number(value)}\n'.encode()
        self._lines["up"][rig] = f'{PREFIX}up{{rig="{label}"}} 1\n'.encode()
        self._lines["last_seen_timestamp_seconds"][rig] = (
            f'{PREFIX}last_seen_timestamp_seconds{{rig="{label}"}} {seen:.3f}\n'.encode()
        )
        self._describe(rig, label, info)

    def gone(self, rig: str, info: Mapping[str, str]) -> None:
        """Take away what a rig that is not heard of can no longer say."""
        label = escape(rig)
        for metric in RIG_METRICS:
            self._lines[metric.name].pop(rig, None)
        self._lines["up"][rig] = f'{PREFIX}up{{rig="{label}"}} 0\n'.encode()
        self._describe(rig, label, info)

    def render(self) -> bytes:
        """The page in the text format 0.0.4; families without a line keep their header."""
        parts: list[bytes] = []
        for name, kind, help_text in _families():
            parts.append(f"# HELP {PREFIX}{name} {help_text}\n# TYPE {PREFIX}{name} {kind}\n".encode())
            parts.extend(self._lines[name].values())
        return b"".join(parts)

    def _describe(self, rig: str, label: str, info: Mapping[str, str]) -> None:
        labels = ",".join(f'{key}="{escape(value)}"' for key, value in info.items())
        self._lines["info"][rig] = f'{PREFIX}info{{rig="{label}",{labels}}} 1\n'.encode()


def escape(value: str) -> str:
    """A label value: bounded, and with the three characters escaped that the format asks for."""
    bounded = value.encode()[:MAX_LABEL].decode(errors="ignore")
    return bounded.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _families() -> Iterable[tuple[str, str, str]]:
    yield from ALWAYS
    for metric in RIG_METRICS:
        yield metric.name, metric.kind, metric.help


def _number(value: float) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
