"""Years of real prices through the whole decision: money against always-on, wakes, and limits that hold every hour."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from controller.allocate import AllocationSettings
from controller.limits import Limits
from controller.plan import Order, Reason, RigState, RigView
from controller.policy import PolicySettings
from controller.prices.csv_file import CsvPrice, load
from controller.prices.series import PriceSeries
from controller.tariff import TariffConfig
from shedload.device import RigName
from shedload.units import Watts
from tests.support.energy import NOON, S19J_PRO, S21, VECTORS, Cycles, economics, view

FILE = VECTORS / "prices" / "se3_se4_dayahead_hourly_2023_2024.csv"
ADDER_PER_KWH = 0.012
WEAR = 0.03  # money per wake
LOST_HOURS = 5 / 60  # of hashing per wake
YEARS = 2.0  # that the file covers
MARKET = economics(36.0)
TABLE = PolicySettings(off_above=1.1, on_below=0.95, minimum_on=0.0, minimum_off=7200.0)


def prices(zone: str) -> PriceSeries:
    return load(
        FILE,
        CsvPrice(
            source="csv",
            file=FILE,
            start_column="hour_start_utc",
            price_columns=(f"{zone}_eur_per_mwh",),
            unit="MWh",
            currency="EUR",
        ),
    )


@dataclass
class Books:
    """Money and wakes of rigs that obey within the hour."""

    earned: float = 0.0
    always_on: float = 0.0
    wakes: int = 0

    def hour(self, before: Sequence[RigView], after: Sequence[RigView], price: float) -> None:
        for was, rig in zip(before, after, strict=True):
            mode = next(each for each in rig.modes if each.name == rig.mode)
            woke = was.state is RigState.ASLEEP and rig.state is not RigState.ASLEEP
            self.wakes += woke
            self.earned += MARKET.value(mode, price) - woke * (WEAR + MARKET.revenue(mode.hashrate) * LOST_HOURS)
            self.always_on += MARKET.value(rig.modes[-1], price)


def obeyed(rigs: Sequence[RigView], modes: dict[RigName, str], plant: float) -> list[RigView]:
    after = []
    for rig in rigs:
        name = modes[rig.name]
        asleep = name == "sleep"
        since = plant if asleep != (rig.state is RigState.ASLEEP) else rig.since
        power = next(each.power for each in rig.modes if each.name == name)
        state = RigState.ASLEEP if asleep else RigState.HASHING
        after.append(replace(rig, mode=name, power=power, state=state, since=since))
    return after


@pytest.mark.parametrize(
    ("zone", "shape", "always_on", "hysteresis", "wakes"),
    [
        ("se3", S21, 262.7, 335.2, 125),
        ("se4", S21, 143.9, 267.2, None),
        ("se4", S19J_PRO, -161.9, 91.4, None),
    ],
)
@pytest.mark.slow
def test_two_years_are_worth_what_the_back_test_says(
    zone: str, shape: tuple[object, ...], always_on: float, hysteresis: float, wakes: int | None
) -> None:
    """Thousands of money per MW-year and wakes per rig-year, against an independent back-test of the same rule."""
    books = Books()
    loop = Cycles(
        economics=MARKET,
        tariff=TariffConfig(supplier_per_kwh=ADDER_PER_KWH).tariff,
        policy=TABLE,
        allocation=AllocationSettings(minimum_off=0.0),
    )
    rigs = [view("a", shape, shape[-1].name)]  # type: ignore[arg-type, attr-defined]
    for hour, slot in enumerate(prices(zone)):
        plant = hour * 3600.0
        decided = loop.run(rigs, slot, plant)
        after = obeyed(rigs, {name: each.mode for name, each in decided.items()}, plant)
        books.hour(rigs, after, slot.price + ADDER_PER_KWH)
        rigs = after
    per_megawatt_year = 1e6 / shape[-1].power / YEARS / 1000  # type: ignore[attr-defined]
    assert books.always_on * per_megawatt_year == pytest.approx(always_on, rel=0.005, abs=0.3)
    assert books.earned * per_megawatt_year == pytest.approx(hysteresis, rel=0.01)
    if wakes is not None:
        assert books.wakes / YEARS == pytest.approx(wakes, rel=0.1)


@pytest.mark.slow
def test_a_year_of_a_small_site_under_cap_feeder_and_order() -> None:
    """Twenty rigs of two kinds: every limit holds in every hour, decisions explain themselves, and it pays."""
    books = Books()
    loop = Cycles(
        economics=MARKET,
        tariff=TariffConfig(supplier_per_kwh=ADDER_PER_KWH).tariff,
        allocation=AllocationSettings.for_site(Watts(60_000)),
    )
    rigs = [
        view(f"r{n:02}", S21 if n % 2 else S19J_PRO, "normal" if n % 2 else "oc", feeder=f"F{n % 4}") for n in range(20)
    ]
    cap, feeders = Watts(60_000), {"F1": Watts(12_000)}
    order = Order(1, Watts(20_000), "operator", "grid", NOON)
    seen: set[Reason] = set()
    slots = [slot for slot in prices("se3") if slot.start.year == 2024]
    for hour, slot in enumerate(slots):
        plant = hour * 3600.0
        ordered = hour % 500 < 24
        limits = Limits(cap, (order,) if ordered else (), feeders, base_load=Watts(1_000))
        decided = loop.run(rigs, slot, plant, limits)
        after = obeyed(rigs, {name: each.mode for name, each in decided.items()}, plant)
        total = 1_000 + sum(rig.power or 0.0 for rig in after)
        assert total <= (20_000 if ordered else 60_000)
        assert sum(rig.power or 0.0 for rig in after if rig.feeder == "F1") <= 12_000
        seen |= {each.reason for each in decided.values()}
        books.hour(rigs, after, slot.price + ADDER_PER_KWH)
        rigs = after
    assert len(slots) == 8784 - 1
    assert seen >= {
        Reason.PRICE_BELOW_BREAK_EVEN,
        Reason.PRICE_ABOVE_BREAK_EVEN,
        Reason.HYSTERESIS,
        Reason.SITE_CAP,
        Reason.ORDER,
        Reason.FEEDER_CAP,
        Reason.RAMP_LIMIT,
    }
    assert books.earned > books.always_on  # although always-on ignores cap and order
    assert books.wakes / len(rigs) < 400
