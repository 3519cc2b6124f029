"""Rigs, prices and whole planning cycles for the tests of policy, allocation and safety."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.allocate import AllocationMemory, AllocationSettings, allocate, remember
from controller.economics import Economics
from controller.limits import Limits
from controller.plan import SLEEP, Control, Decision, Reason, RigState, RigView
from controller.policy import PolicyMemory, PolicySettings, wish
from controller.prices.series import PriceSlot
from controller.safety import Conditions, SafetySettings, overheated, secure
from controller.tariff import Tariff
from shedload.device import Mode, PowerSource, RigName, SetPower, Sleep, Telemetry, Wake
from shedload.units import HashesPerSecond, PricePerKilowattHour, Watts, efficiency

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def curve(*points: tuple[str, float, float], sleep: float = 25.0) -> tuple[Mode, ...]:
    """A power curve: sleep, and (name, watts, TH/s) for each running mode."""
    modes = [Mode(SLEEP, Watts(sleep), HashesPerSecond(0.0), Sleep())]
    for name, watts, terahash in points:
        command = Wake() if name == "normal" else SetPower(Watts(watts))
        modes.append(Mode(name, Watts(watts), HashesPerSecond(terahash * 1e12), command))
    return tuple(modes)


S21 = curve(("eco", 2240, 150), ("normal", 3500, 200))
S21_PLAIN = curve(("normal", 3500, 200))
S19J_PRO = curve(("low", 1905, 74.5), ("factory", 2850, 96), ("oc", 3100, 105), sleep=15)
S19 = curve(("normal", 3250, 95), sleep=15)


def slot(price_per_mwh: float, start: datetime = NOON, hours: float = 1.0) -> PriceSlot:
    """A slot; the price as markets quote it."""
    return PriceSlot(start, start + timedelta(hours=hours), PricePerKilowattHour(price_per_mwh / 1000), "USD")


def economics(per_ph_day: float = 36.0) -> Economics:
    """A hashprice without fees."""
    return Economics(per_ph_day / 1000)


def view(
    name: str = "r1",
    modes: tuple[Mode, ...] = S21,
    mode: str | None = SLEEP,
    *,
    state: RigState | None = None,
    power: float | None = None,
    feeder: str = "",
    obstacle: Reason | None = None,
    since: float | None = None,
    telemetry: Telemetry | None = None,
    rate: float = 1.0,
) -> RigView:
    """A rig that shows `mode` and draws what its curve says; `rate` scales its own efficiency."""
    shown = next((each for each in modes if each.name == mode), None)
    if state is None:
        state = RigState.ASLEEP if mode == SLEEP else RigState.HASHING
    normal = next((each for each in modes if each.name == "normal"), modes[-1] if modes else None)
    own = efficiency(normal.power, normal.hashrate) if normal is not None else None
    if power is None and shown is not None:
        power = shown.power
    return RigView(
        name=RigName(name),
        group="default",
        feeder=feeder,
        control=Control.OBSERVE if obstacle is Reason.OBSERVE_ONLY else Control.AUTO,
        state=state,
        modes=modes,
        mode=mode,
        power=None if power is None else Watts(power),
        power_source=PowerSource.REPORTED,
        telemetry=telemetry,
        age=1.0,
        since=since,
        commandable=obstacle is None,
        obstacle=obstacle,
        nominal_power=None if normal is None else normal.power,
        efficiency=None if own is None else own / rate,
    )


def decision(rig: RigView, mode: str) -> Decision:
    """A wish without a history."""
    power = next((each.power for each in rig.modes if each.name == mode), Watts(0.0))
    return Decision(rig.name, mode, power)


def all_in(rigs: Sequence[RigView], mode: str | None = None) -> dict[RigName, Decision]:
    """The same wish for all: `mode`, or each rig's highest."""
    return {rig.name: decision(rig, mode or rig.modes[-1].name) for rig in rigs}


@dataclass
class Cycles:
    """Planning cycles one after the other, with every memory carried along as the daemon does."""

    economics: Economics | None = field(default_factory=economics)
    tariff: Tariff = field(default_factory=Tariff)
    policy: PolicySettings = field(default_factory=PolicySettings)
    allocation: AllocationSettings = field(default_factory=AllocationSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    wanted: PolicyMemory = field(default_factory=PolicyMemory)
    allocated: AllocationMemory = field(default_factory=AllocationMemory)
    hot: frozenset[RigName] = frozenset()

    def run(
        self,
        views: Sequence[RigView],
        price: PriceSlot | None,
        plant: float,
        limits: Limits | None = None,
        **conditions: object,
    ) -> Mapping[RigName, Decision]:
        """One cycle."""
        limits = limits or Limits()
        decisions, self.wanted = wish(
            views, price, self.economics, self.tariff, self.wanted, plant_now=plant, settings=self.policy
        )
        standing = self.allocated.modes
        decisions, self.allocated = allocate(
            decisions, views, limits, self.allocated, plant_now=plant, settings=self.allocation
        )
        given = Conditions(
            plant, limit=limits.site, meter=limits.meter, standing=standing, overheated=self.hot, **conditions
        )
        decisions = secure(decisions, views, given, self.safety)
        self.allocated = remember(self.allocated, decisions, views)
        self.hot = overheated(decisions)
        return decisions
