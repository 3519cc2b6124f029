"""What the planner says: one decision per rig, each with its reasons; and the views and orders that it decides from.

    RigView, PriceSlot, Order --> policy --> allocate --> safety --> Plan --> actuate

Every stage takes decisions and returns decisions; a stage that changes one appends a step, so the last plan explains
itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from shedload.device import Mode, PowerSource, RigName, Telemetry
from shedload.units import Watts

SLEEP = "sleep"
"""Name of the first mode of every power curve."""


class Control(StrEnum):
    """How far the daemon goes with a group of rigs."""

    OBSERVE = "observe"  # decides and shows, commands nothing
    AUTO = "auto"  # commands


class RigState(StrEnum):
    """What we believe of a rig, from observations and their age. Closed set: a metric label."""

    UNKNOWN = "unknown"  # never heard of since the start
    OFFLINE = "offline"  # does not answer
    HASHING = "hashing"
    RAMPING = "ramping"
    IDLE = "idle"
    ASLEEP = "asleep"


class Reason(StrEnum):
    """Why a rig is to be in a mode. Closed set: logs, metrics, API and `shedload why` use these words."""

    PRICE_BELOW_BREAK_EVEN = "price_below_break_even"
    PRICE_ABOVE_BREAK_EVEN = "price_above_break_even"
    HYSTERESIS = "hysteresis"  # between the two thresholds: stays as it is
    PRICE_UNKNOWN = "price_unknown"
    ECONOMICS_UNKNOWN = "economics_unknown"  # neither the rig nor its nameplate tells J/TH
    MINIMUM_ON_TIME = "minimum_on_time"
    MINIMUM_OFF_TIME = "minimum_off_time"
    SITE_CAP = "site_cap"
    ORDER = "order"  # an operator's site limit
    FEEDER_CAP = "feeder_cap"
    RAMP_LIMIT = "ramp_limit"
    STAGGER = "stagger"
    OVERHEAT = "overheat"
    METER_STALE = "meter_stale"
    METER_OVER_CAP = "meter_over_cap"
    STORE_FAILING = "store_failing"
    NOT_READY = "not_ready"  # first complete pass over the rigs is not over
    CONTESTED = "contested"  # something else keeps undoing our state: left alone
    REFUSING = "refusing"  # the rig did not obey three times: named, retried slowly
    UNREACHABLE = "unreachable"
    OBSERVE_ONLY = "observe_only"
    CANARY = "canary"  # the first automatic commands go to a few rigs only
    NO_POOL = "no_pool"
    STARTED = "started"  # no decision yet: as it was found


@dataclass(frozen=True, slots=True)
class Step:
    """One stage's say about one rig: which mode it left standing, why, and the numbers that it looked at."""

    stage: str
    mode: str
    reason: Reason
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The mode a rig is to be in, the power this means, and how it came about (first step to last)."""

    rig: RigName
    mode: str
    power: Watts
    steps: tuple[Step, ...] = ()

    @property
    def reason(self) -> Reason:
        """Why the mode stands: the first of the last steps that agree on it."""
        reason = Reason.STARTED
        for step in reversed(self.steps):
            if step.mode != self.mode:
                break
            reason = step.reason
        return reason

    def changed(self, stage: str, mode: Mode, reason: Reason, numbers: Mapping[str, float] | None = None) -> "Decision":
        """The decision after a stage put another mode in its place."""
        step = Step(stage, mode.name, reason, numbers or {})
        return replace(self, mode=mode.name, power=mode.power, steps=(*self.steps, step))


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of one cycle and the limits they were made under."""

    decided: datetime
    decisions: Mapping[RigName, Decision]
    site_target: Watts  # what the site should draw once everything is carried out, uncontrolled load included
    site_limit: Watts | None = None  # the tightest limit in force, None where there is none
    limit_reason: Reason | None = None
    price: float | None = None  # per kWh, in the site's currency
    strike: float | None = None  # price at which the median steered rig breaks even


@dataclass(frozen=True, slots=True)
class RigView:
    """All that the planner may know of a rig at one instant."""

    name: RigName
    group: str
    feeder: str
    control: Control
    state: RigState
    modes: tuple[Mode, ...]  # power curve, sleep first; empty where nothing is known of the machine
    mode: str | None  # the mode it is in by its last live observation; None when unknown
    power: Watts | None  # best belief of the present draw; for an unreachable rig the last higher level
    power_source: PowerSource | None
    telemetry: Telemetry | None  # None when stale or never read
    age: float | None  # seconds since the last good observation
    since: float | None  # Clock.plant() of the last change between asleep and awake
    commandable: bool  # may be commanded at all: auto group, known machine, answers
    obstacle: Reason | None = None  # why not
    nominal_power: Watts | None = None  # in its normal mode: measured where we could, else nameplate
    efficiency: float | None = None  # J/TH in its normal mode, measured where we could, else nameplate


@dataclass(frozen=True, slots=True)
class Order:
    """An operator's limit on the site, in force until it is released."""

    number: int
    limit: Watts
    author: str
    note: str
    created: datetime
