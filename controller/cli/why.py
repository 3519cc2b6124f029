"""`shedload why RIG`: one rig's last decision, stage by stage, with the numbers that decided; and its last commands."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.cli import words
from controller.cli.client import Client
from controller.cli.reasons import GROUPS, sentence
from controller.cli.screen import out, say_json
from controller.cli.trouble import Trouble
from controller.cli.views import STATE_STYLES, Status, labelled, simulated

HISTORY = 6
"""Commands that are shown."""


def why(client: Client, rig: str, *, as_json: bool) -> None:
    """Explain a rig. Raises Trouble."""
    try:
        found = client.rig(rig)
    except Trouble as trouble:
        raise _unknown(client, rig) or trouble from None
    if as_json:
        say_json(found)
        return
    out().print(rig_screen(found, client.status()))


def _unknown(client: Client, rig: str) -> Trouble | None:
    """What to say of a name that no rig has; None where it is not the name that is wrong."""
    names = [row["rig"] for row in client.get("/api/v1/rigs")["rigs"]]
    if rig in names:
        return None
    near = get_close_matches(rig, names, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(map(words.plain, near))}?" if near else "Names stand in the inventory."
    return Trouble(f"there is no rig {words.plain(rig)!r}", hint)


def rig_screen(rig: Mapping[str, Any], status: Status, history: int = HISTORY) -> Group:
    """Everything about one rig's last decision."""
    decision = rig["decision"]
    parts: list[RenderableType] = [_title(rig, status), "", labelled(_facts(rig)), ""]
    if decision is None:
        parts.append(Text("No decision yet.", "yellow"))
    else:
        parts.append(decision_steps(rig, status["price"]["currency"]))
    if rig["history"] and history:
        parts += ["", _history(rig["history"][:history])]
    return Group(*parts)


def decision_steps(rig: Mapping[str, Any], currency: str) -> Table:
    """The stages in order; the one that decided is marked."""
    decision = rig["decision"]
    deciding = _deciding(decision)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for place, step in enumerate(decision["steps"]):
        here = place == deciding
        mark = Text("▶ decided" if here else "", "bold green")
        words_ = sentence(step["reason"], step["mode"], step["numbers"], currency)
        head = Text.assemble((step["mode"], "bold" if here else ""), f"  {step['reason'].replace('_', ' ')}")
        body = Text.assemble(head, "\n", (words_, "" if here else "dim"))
        table.add_row(mark, Text.assemble((step["stage"], "bold"), "\n", (GROUPS.get(step["stage"], ""), "dim")), body)
    return table


def _deciding(decision: Mapping[str, Any]) -> int:
    """The first of the last steps that agree with the decision: what made it so."""
    steps = decision["steps"]
    place = len(steps) - 1
    while place > 0 and steps[place - 1]["mode"] == decision["mode"]:
        place -= 1
    return place


def _title(rig: Mapping[str, Any], status: Status) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    wanted = rig["wanted"] or words.DASH
    title = Text.assemble(
        (words.plain(rig["rig"]), "bold"),
        f"  {words.plain(rig['model'] or 'model unknown')}, group {words.plain(rig['group'])} ({rig['control']})  ",
        (rig["state"], STATE_STYLES.get(rig["state"], "")),
        f", wanted: {wanted}",
    )
    grid.add_row(title, simulated(status))
    return grid


def _facts(rig: Mapping[str, Any]) -> Iterable[tuple[str, RenderableType]]:
    efficiency, works = rig["efficiency_j_per_th"], rig["state"] == "hashing" and rig["hashrate_hs"] is not None
    source = f" ({rig['power_source']})" if rig["power_source"] else ""
    chip = rig["chip_temperature_c"]
    yield (
        "Reading",
        Text(
            f"{words.span(rig['age_s'])} old: {words.power(rig['power_w'])}{source}, {words.rate(rig['hashrate_hs'])}, "
            f"{f'{efficiency:.1f} J/TH, ' if works and efficiency is not None else ''}"
            f"chip {words.DASH if chip is None else f'{chip:.0f}'} °C"
        ),
    )
    if rig["failure"] is not None:
        detail = f"{rig['failure']['kind'].replace('_', ' ')}: {words.plain(rig['failure']['detail'])}"
        yield "Failing", Text(f"{rig['failures_in_a_row']} readings in a row, {detail}", "red")
    if rig["suspicions"]:
        yield "Suspicious", Text(", ".join(rig["suspicions"]).replace("_", " "), "bold yellow")
    for fault in rig["faults"]:
        yield "Fault", Text(words.plain(fault), "yellow")
    command = rig["command"]
    if command["refusing"] or command["contested"]:
        kind = "Contested" if command["contested"] else "Refusing"
        yield kind, Text(words.plain(command["detail"]), "bold red")
    if rig["obstacle"] is not None:
        yield "Obstacle", Text(sentence(rig["obstacle"], "", {}, ""))
    for pool in rig["pools"]:
        active = " (active)" if pool["active"] else ""
        yield "Pool", Text(f"{words.plain(pool['url'])} as {words.plain(pool['user'])}, {pool['status']}{active}")


def _history(rows: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("command at", "verb", "because", "outcome"):
        table.add_column(column)
    for row in rows:
        outcome = row["state"] + (f": {words.plain(row['detail'], 80)}" if row["detail"] else "")
        style = "green" if row["state"] == "confirmed" else ""
        verb = row["verb"] if row["verb"] == "sleep" else f"{row['verb']} to {row['mode']}"
        table.add_row(words.moment(row["at"]), verb, row["reason"].replace("_", " "), Text(outcome, style))
    return table
