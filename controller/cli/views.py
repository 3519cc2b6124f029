"""Parts of a screen, made from the values of the HTTP interface: behind `status` and the demonstration.

Plain values in, rich renderables out; nothing is asked for or kept here. Colour is never the only sign.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.cli import words

Status = Mapping[str, Any]

ATTENTION: Mapping[str, str] = {
    "refusing": "bold red",
    "contested": "bold red",
    "offline": "yellow",
    "suspicious": "bold yellow",
    "faulty": "yellow",
}
STATES = ("hashing", "ramping", "idle", "asleep", "offline", "unknown")
STATE_STYLES: Mapping[str, str] = {
    "hashing": "green",
    "ramping": "cyan",
    "idle": "yellow",
    "asleep": "blue",
    "offline": "red",
    "unknown": "dim",
}
SHOWN_ROWS = 8
"""Rigs that one screen names for each kind of trouble; the rest is counted."""


def headline(status: Status) -> Table:
    """Site, whether it is real, and its time."""
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="center")
    grid.add_column(justify="right")
    grid.add_row(Text(words.plain(status["site"]), "bold"), simulated(status), words.moment(status["time"]))
    return grid


def simulated(status: Status) -> Text:
    """The banner that no simulated screen goes without."""
    return Text(" SIMULATED ", "bold white on magenta") if status["simulated"] else Text("")


def power_lines(status: Status, width: int = 40) -> Iterable[tuple[str, RenderableType]]:
    """Measured power against the limit, as numbers and as a bar."""
    power = status["power"]
    drawn = power["meter_w"] if power["meter_w"] is not None else power["estimated_w"]
    limit = power["limit_w"]
    source = "measured" if power["meter_w"] is not None else "estimated" if drawn is not None else "unknown"
    if power["meter_w"] is None and power["has_meter"]:
        source += ", THE METER IS SILENT"
    if power["meter_disagrees"]:
        source += ", the meter disagrees with the rigs"
    over = drawn is not None and limit is not None and drawn > limit * 1.004
    line = Text.assemble((words.power(drawn), "bold red" if over else "bold"), f" {source}")
    if limit is not None:
        reason = str(power["limit_reason"] or "").replace("_", " ")
        line.append(f", limit {words.power(limit)} ({reason})")
    line.append(f", target {words.power(power['target_w'])}")
    yield "Power", line
    if drawn is not None and limit:
        share = drawn / limit
        bar = Text(words.bar(share, width), "red" if over else "green", end="")
        yield (
            "",
            Text.assemble("▕", bar, f"▏ {share:.0%} of the limit", (" OVER THE LIMIT" if over else "", "bold red")),
        )


def price_lines(status: Status) -> Iterable[tuple[str, RenderableType]]:
    """Price now, strike, and when the price moves next."""
    price = status["price"]
    now, strike, currency = price["now"], price["strike_per_kwh"], price["currency"]
    if now is None:
        yield "Price", Text.assemble(("unknown", "bold yellow"), f" {words.plain(price['last_failure'] or '', 100)}")
    else:
        dear = strike is not None and now["price_per_kwh"] > strike
        line = Text.assemble((words.price(now["price_per_kwh"], currency), "bold red" if dear else "bold green"))
        line.append(f" until {words.clock(now['end'])}, strike {words.price(strike)}")
        line.append(" (half of the awake rigs would lose money)" if dear else "")
        yield "Price", line
    if price["next"]:
        following = [slot["price_per_kwh"] for slot in price["next"]]
        shown = "  ".join(f"{words.clock(slot['start'])} {slot['price_per_kwh']:.3f}" for slot in price["next"][:4])
        yield "Next", Text.assemble(shown, "  ", (words.spark(following), "cyan"))


def rig_line(status: Status) -> tuple[str, RenderableType]:
    """How many rigs do what, and what they hash."""
    rigs = status["rigs"]
    line = Text(f"{rigs['total']}: ")
    line.append_text(states(rigs["by_state"]))
    line.append(f"   {words.rate(rigs['hashrate_hs'])}")
    return "Rigs", line


def states(by_state: Mapping[str, int]) -> Text:
    """Counts by state, those that occur."""
    parts = [Text(f"{by_state[state]} {state}", STATE_STYLES[state]) for state in STATES if by_state.get(state)]
    return Text(" · ").join(parts) if parts else Text("none")


def groups(status: Status) -> Table:
    """One row for each group."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("group", no_wrap=True)
    table.add_column("control", no_wrap=True)
    for column in ("rigs", "power", "hashrate"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("states")
    for name, group in status["groups"].items():
        control = group["control"]
        if control == "auto" and not group["proven"]:
            control = "auto, stalled" if group["canary_stalled"] else "auto, first"
        table.add_row(
            words.plain(name),
            control,
            str(group["rigs"]),
            words.power(group["power_w"]),
            words.rate(group["hashrate_hs"]),
            states(group["by_state"]),
        )
    return table


def pools(status: Status) -> Iterable[Text]:
    """One line for each pool."""
    for pool in status["pools"]:
        state = "active" if pool["active"] else "connected" if pool["connected"] else "not connected"
        style = "green" if pool["active"] else "" if pool["connected"] else "yellow"
        line = Text.assemble(words.plain(pool["pool"]), " ", (state, style))
        if pool["submitted"]:
            line.append(f", {pool['accepted']} of {pool['submitted']} shares accepted")
        if pool["rejected"] or pool["lost"]:
            line.append(f", {pool['rejected']} rejected, {pool['lost']} lost")
        if pool["last_failure"] and not pool["connected"]:
            line.append(f" ({words.plain(pool['last_failure'], 60)})")
        yield line


def attention_rows(status: Status, most: int = SHOWN_ROWS) -> list[Text]:
    """Every rig that somebody should look at, by kind, worst first."""
    rows = []
    for kind, style in ATTENTION.items():
        found = status["attention"][kind]
        for item in found[:most]:
            detail = words.plain(item["detail"].replace("_", " "), 100)
            rows.append(Text.assemble((f"{kind:<10} ", style), (words.plain(item["rig"]), "bold"), f"  {detail}"))
        if len(found) > most:
            rows.append(Text.assemble((f"{kind:<10} ", style), f"and {len(found) - most} more"))
    return rows


def orders(status: Status) -> Iterable[Text]:
    """One line for each order in force."""
    for order in status["orders"]:
        note = f": {words.plain(order['note'])}" if order["note"] else ""
        memory = "" if order["number"] > 0 else "  (in memory only: the store takes nothing)"
        yield Text.assemble(
            (f"{order['number']}  at most {words.power(order['limit_w'])}", "bold"),
            f"  by {words.plain(order['author'])} since {words.moment(order['created'])}{note}{memory}",
        )


def commands_line(status: Status) -> Text:
    """What became of commands since the start."""
    counts = status["commands"]
    order = ("confirmed", "in_flight", "contradicted", "refused", "failed", "expired", "unknown", "superseded")
    parts = [f"{counts[name]} {name.replace('_', ' ')}" for name in order if counts.get(name)]
    return Text(" · ".join(parts) or "none yet")


def money_line(status: Status) -> Text:
    """Margin, and what following the price brought."""
    money = status["money"]
    currency = money["currency"]
    if money["hashprice_per_ph_day"] is None:
        return Text(f"{money['energy_kwh']:,.1f} kWh; no hashprice, so no earnings")
    gained = money["gained"]
    return Text.assemble(
        (words.money(money["margin"], currency), "bold"),
        f" in {words.span(money['seconds'])}; always on {words.money(money['always_on_margin'], currency)}, gained ",
        (words.money(gained, currency), "bold green" if gained >= 0 else "yellow"),
    )


def labelled(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """Rows with a bold word before them."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold", min_width=9)
    grid.add_column()
    for label, value in rows:
        grid.add_row(label, value)
    return grid


def several(label: str, lines: Iterable[RenderableType]) -> Iterable[tuple[str, RenderableType]]:
    """Lines under one label."""
    for number, line in enumerate(lines):
        yield ("" if number else label), line


def site_screen(status: Status) -> Group:
    """The whole site on one screen."""
    rows = [*power_lines(status), *price_lines(status), rig_line(status)]
    rows += several("Pools", pools(status))
    rows += several("Orders", orders(status))
    rows += [("Commands", commands_line(status)), ("Money", money_line(status))]
    troubles = attention_rows(status)
    rows += several("Attention", troubles) if troubles else [("Attention", Text("none", "green"))]
    if status["control"]["journal_failing"]:
        rows.append(("Journal", Text("takes nothing: only lowering commands go out", "bold red")))
    if not status["ready"]:
        rows.append(("Starting", Text("first pass over the rigs: nothing is raised before it is over", "yellow")))
    return Group(headline(status), "", labelled(rows), "", groups(status))
