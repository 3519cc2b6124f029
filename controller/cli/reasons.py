"""What a step of a decision means, in a sentence with its numbers: behind `shedload why` and the demonstration.

The words of `controller.plan.Reason` are the closed list; one without a sentence here is shown with its bare numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any

from controller.cli.words import DASH, number, power, price, span
from controller.plan import Reason

Numbers = Mapping[str, Any]

GROUPS: Mapping[str, str] = {
    "policy": "is it worth it?",
    "allocate": "is there power for it?",
    "safety": "is it safe?",
}
"""The question that each stage answers."""


def sentence(reason: str, mode: str, numbers: Numbers, currency: str) -> str:
    """One step in words."""
    tell = SENTENCES.get(reason)
    if tell is None:
        return PLAIN.get(reason, "") or _bare(numbers) or reason.replace("_", " ")
    return tell(numbers, mode, currency)


def _bare(numbers: Numbers) -> str:
    return ", ".join(f"{name} {number(name, value)}" for name, value in numbers.items())


def _per_kwh(numbers: Numbers, name: str, currency: str) -> str:
    return price(numbers.get(name), currency)


def _market(numbers: Numbers, currency: str) -> str:
    return (
        f"Power costs {_per_kwh(numbers, 'price_per_kwh', currency)} on the market, "
        f"{_per_kwh(numbers, 'price_at_rig_per_kwh', currency)} at the plug."
    )


def _worth(numbers: Numbers, currency: str) -> str:
    efficiency = numbers.get("efficiency_j_per_th")
    at = f" at {efficiency:.1f} J/TH" if isinstance(efficiency, int | float) else ""
    hashprice = numbers.get("hashprice_per_ph_day")
    by = f" and a hashprice of {hashprice:g} {currency}/PH/day" if isinstance(hashprice, int | float) else ""
    return f"Hashing{at}{by} breaks even at {_per_kwh(numbers, 'break_even_per_kwh', currency)}."


def _below(numbers: Numbers, _mode: str, currency: str) -> str:
    limit = _per_kwh(numbers, "threshold_per_kwh", currency)
    return f"{_market(numbers, currency)} {_worth(numbers, currency)} It is worth hashing; it would stop above {limit}."


def _above(numbers: Numbers, _mode: str, currency: str) -> str:
    limit = _per_kwh(numbers, "threshold_per_kwh", currency)
    return (
        f"{_market(numbers, currency)} {_worth(numbers, currency)} Every kWh would lose money; it wakes below {limit}."
    )


def _between(numbers: Numbers, mode: str, currency: str) -> str:
    limit = _per_kwh(numbers, "threshold_per_kwh", currency)
    turn = "wakes below" if mode == "sleep" else "stops above"
    return f"{_market(numbers, currency)} {_worth(numbers, currency)} Too near to switch: it {turn} {limit}."


def _dwell(what: str) -> Callable[[Numbers, str, str], str]:
    def tell(numbers: Numbers, _mode: str, _currency: str) -> str:
        elapsed, least = span(numbers.get("elapsed_s")), span(numbers.get("minimum_s"))
        return f"It has been {what} for {elapsed} and stays so for at least {least}."

    return tell


def _limited(what: str) -> Callable[[Numbers, str, str], str]:
    def tell(numbers: Numbers, _mode: str, _currency: str) -> str:
        if "limit_w" not in numbers:
            return f"{what} leaves no room for it."
        which = f" {numbers['order']:.0f}" if "order" in numbers else ""
        return (
            f"{what}{which} allows {power(numbers['limit_w'])}; {power(max(0.0, numbers.get('left_w', 0.0)))} of that "
            f"is left after better rigs, and it needs {power(numbers.get('needed_w'))}."
        )

    return tell


def _ramp(numbers: Numbers, _mode: str, _currency: str) -> str:
    return (
        f"The site may rise by {power(numbers.get('ramp_w_per_min'))} a minute; "
        f"{power(numbers.get('left_w'))} of that is left, it needs {power(numbers.get('needed_w'))}: it waits its turn."
    )


def _hot(numbers: Numbers, _mode: str, _currency: str) -> str:
    chip, limit, release = (_celsius(numbers.get(f"{name}_celsius")) for name in ("chip", "limit", "release"))
    return f"Its hottest chip is at {chip}, the limit is {limit}; it runs again below {release}."


def _celsius(value: float | None) -> str:
    return DASH if value is None else f"{value:.0f} °C"


def _over(numbers: Numbers, _mode: str, _currency: str) -> str:
    shown = f" ({_bare(numbers)})" if numbers else ""
    return f"The meter is over the limit{shown}; it makes room."


SENTENCES: Mapping[str, Callable[[Numbers, str, str], str]] = {
    Reason.PRICE_BELOW_BREAK_EVEN: _below,
    Reason.PRICE_ABOVE_BREAK_EVEN: _above,
    Reason.HYSTERESIS: _between,
    Reason.MINIMUM_ON_TIME: _dwell("awake"),
    Reason.MINIMUM_OFF_TIME: _dwell("asleep"),
    Reason.SITE_CAP: _limited("The site's cap"),
    Reason.ORDER: _limited("Order"),
    Reason.FEEDER_CAP: _limited("Its feeder"),
    Reason.RAMP_LIMIT: _ramp,
    Reason.OVERHEAT: _hot,
    Reason.METER_OVER_CAP: _over,
}

PLAIN: Mapping[str, str] = {
    Reason.PRICE_UNKNOWN: "No price is known for now: what without_price says is done.",
    Reason.ECONOMICS_UNKNOWN: "Neither the rig nor its nameplate tells its J/TH, or no hashprice is configured.",
    Reason.STAGGER: "Enough rigs wake in this cycle; it comes with one of the next.",
    Reason.METER_STALE: "The site's meter is silent: nothing may be raised.",
    Reason.STORE_FAILING: "The journal takes nothing: nothing may be raised.",
    Reason.NOT_READY: "Not every rig has been read yet since the start: nothing may be raised.",
    Reason.CONTESTED: "Something else keeps undoing our state: it is left alone.",
    Reason.REFUSING: "It did not obey: it is named, counted as it is, and tried again later.",
    Reason.UNREACHABLE: "It does not answer: it counts as the most it may draw.",
    Reason.OBSERVE_ONLY: "Its group only observes: this is what would be done.",
    Reason.CANARY: "The group's first commands go to a few rigs; it follows when those have obeyed.",
    Reason.NO_POOL: "It has no pool to hash for.",
    Reason.STARTED: "No decision yet: as it was found.",
}
