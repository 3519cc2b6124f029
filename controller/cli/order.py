"""`shedload order` and `shedload control`: the few things that a person may tell the daemon from a terminal.

words --limit_of--> body --preview, yes?--> POST /api/v1/orders --progress--> the meter is under the limit
"""

import getpass
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from controller.cli import words
from controller.cli.client import Client
from controller.cli.screen import err, out
from controller.cli.trouble import WRONG, Trouble
from controller.cli.views import Status, orders, simulated

LIMIT = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*(kw|mw|w|%)", re.IGNORECASE)
ORDER_NUMBER = re.compile(r"-?[0-9]{1,9}")
"""Orders that wait for the disk have numbers below zero."""
PATIENCE = 900.0
"""Seconds that --wait stays: slow firmware takes a minute to sleep, and three tries are made."""
LOOK_EVERY = 1.0
NOISE = 1.004
"""Share of the limit within which a meter's reading still keeps it."""
DONE, OVER = 0, 1


def order(
    client: Client,
    what: Sequence[str],
    *,
    note: str = "",
    author: str | None = None,
    yes: bool = False,
    wait: bool = True,
) -> int:
    """Place, list or release orders; the exit code. Raises Trouble."""
    match list(what):
        case ["list"]:
            return _list(client)
        case ["release", which]:
            return _release(client, which, author, yes=yes)
        case ["release"]:
            raise Trouble(
                "release which order?", "Write: shedload order release 3, or: shedload order release all.", WRONG
            )
        case pieces:
            return _place(client, limit_of(" ".join(pieces)), note, author, yes=yes, wait=wait)


def limit_of(text: str) -> dict[str, float]:
    """What a limit written as 40kW, 1.2MW, 900 W or 60% is in a request. Raises Trouble."""
    found = LIMIT.fullmatch(text.strip())
    if found is None:
        raise Trouble(
            f"{text!r} is no limit",
            'Write one such as 40kW, 1.2MW or 60%; or "list", "release N", "release all".',
            WRONG,
        )
    value, unit = float(found[1].replace(",", ".")), found[2].lower()
    if unit == "%":
        return {"limit_percent": value}
    return {"limit_kw": value * {"w": 1e-3, "kw": 1.0, "mw": 1e3}[unit]}


def preview(status: Status, limit: float, rigs: Sequence[Mapping[str, Any]]) -> str:
    """What an order would mean now, in words; `limit` in watts."""
    power = status["power"]
    drawn = power["meter_w"] if power["meter_w"] is not None else power["estimated_w"]
    now = f"The site draws {words.power(drawn)} of {words.power(power['cap_w'])} allowed."
    if drawn is None or drawn <= limit:
        return f"{now} The order would bind only later: {words.power(limit)} is not exceeded now."
    count, left = sleepers(rigs, drawn - limit)
    sentence = f"{now} To come under {words.power(limit)} about {count} of {len(rigs)} rigs would have to sleep."
    if left > 0:
        sentence += (
            f" {words.power(left)} would remain: rigs that only observe, refuse or do not answer stay as they are."
        )
    return sentence


def sleepers(rigs: Sequence[Mapping[str, Any]], excess: float) -> tuple[int, float]:
    """How many rigs it takes to free `excess` watts, least efficient first, and what they cannot free."""
    awake = [rig for rig in rigs if rig["obstacle"] is None and rig["state"] in ("hashing", "ramping", "idle")]
    awake.sort(key=lambda rig: -(rig["efficiency_j_per_th"] or 0.0))
    count = 0
    for rig in awake:
        if excess <= 0:
            break
        excess -= rig["power_w"] or 0.0
        count += 1
    return count, max(0.0, excess)


def control(client: Client, group: str, mode: str, *, author: str | None, yes: bool) -> None:
    """Set how far the daemon goes with a group. Raises Trouble."""
    if mode not in ("auto", "observe"):
        raise Trouble(f"{mode!r} is no mode", "Write auto or observe.", WRONG)
    status = client.status()
    found = status["groups"].get(group)
    if found is None:
        raise Trouble(f"there is no group {group!r}", f"Known: {', '.join(status['groups'])}.", WRONG)
    if mode == "auto" and found["control"] != "auto":
        _ask(f"Let the daemon command the {found['rigs']} rigs of {group}?", yes=yes)
    client.put(f"/api/v1/groups/{group}/control", {"control": mode, "author": author or _user()})
    effect = "commanded, a few rigs first" if mode == "auto" else "only watched; rigs stay as they are"
    out().print(Text(f"{group} is now {mode}: {effect}"))


def _place(client: Client, body: dict[str, float], note: str, author: str | None, *, yes: bool, wait: bool) -> int:
    status = client.status()
    cap = status["power"]["cap_w"]
    limit = body["limit_kw"] * 1e3 if "limit_kw" in body else cap * body["limit_percent"] / 100
    console = err()
    if status["simulated"]:
        console.print(simulated(status))
    console.print(Text(f"Site {words.plain(status['site'])} at {client.url}"), soft_wrap=True)
    console.print(Text(preview(status, limit, client.get("/api/v1/rigs")["rigs"])))
    _ask(f"Limit {status['site']} to {words.power(limit)} until released?", yes=yes)
    placed = client.post("/api/v1/orders", {**body, "author": author or _user(), "note": note})
    number = placed["number"]
    out().print(
        Text.assemble(
            ("Order ", "bold"), f"{number} in force: at most {words.power(placed['limit_w'])}. ",
            f"End it with: shedload order release {number}",
        )
    )  # fmt: skip
    if number < 0:
        console.print(Text("In memory only, the disk takes nothing: give it again once that is mended.", "bold red"))
    return _wait(client, placed["limit_w"]) if wait else DONE


def _wait(client: Client, limit: float) -> int:
    """Show the meter on its way down; returns when it is under the limit, or when that takes too long."""
    began = time.monotonic()
    status = client.status()
    first = drawn = _drawn(status)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err(), transient=True
    ) as progress:
        task = progress.add_task("waiting for the meter", total=max(first - limit, 1.0))
        while drawn > limit * NOISE and time.monotonic() - began < PATIENCE:
            time.sleep(LOOK_EVERY)
            status = client.status()
            drawn = _drawn(status)
            progress.update(task, completed=first - drawn, description=f"{words.power(drawn)} → {words.power(limit)}")
    refusing = [item["rig"] for item in status["attention"]["refusing"]]
    named = f" Refusing: {', '.join(words.plain(rig) for rig in refusing)}." if refusing else ""
    if drawn > limit * NOISE:
        out().print(Text(f"Still at {words.power(drawn)} after {words.span(PATIENCE)}.{named}", "bold red"))
        return OVER
    out().print(Text(f"The site draws {words.power(drawn)} after {words.span(time.monotonic() - began)}.{named}"))
    return DONE


def _drawn(status: Status) -> float:
    power = status["power"]
    return float(power["meter_w"] if power["meter_w"] is not None else power["estimated_w"] or 0.0)


def _list(client: Client) -> int:
    status = client.status()
    lines = list(orders(status))
    for line in lines or [Text("No order is in force.")]:
        out().print(line)
    return DONE


def _release(client: Client, which: str, author: str | None, *, yes: bool) -> int:
    in_force = [order["number"] for order in client.get("/api/v1/orders")]
    if which != "all" and not ORDER_NUMBER.fullmatch(which):
        raise Trouble(f"{which!r} is no order", "Write its number, or all.", WRONG)
    wanted = in_force if which == "all" else [int(which)]
    if missing := [number for number in wanted if number not in in_force]:
        known = ", ".join(map(str, in_force)) or "none"
        raise Trouble(f"order {missing[0]} is not in force", f"In force: {known}.")
    if not wanted:
        out().print("No order is in force.")
        return DONE
    _ask(f"Release order {', '.join(map(str, wanted))}? Rigs may rise again.", yes=yes)
    for number in wanted:
        client.delete(f"/api/v1/orders/{number}?author={_plain_user(author)}")
        out().print(Text(f"Order {number} released."))
    return DONE


def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Trouble("nobody is there to be asked", "Give --yes to go ahead without a question.", WRONG)
    typer.confirm(question, abort=True, err=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "operator"


def _plain_user(author: str | None) -> str:
    return re.sub(r"[^\w.@-]", "-", author or _user())
