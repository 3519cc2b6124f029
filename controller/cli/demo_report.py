"""What the demonstration showed, checked: each claim with the figure behind it, and where to go from here."""

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.cli import words
from controller.cli.client import Client
from controller.cli.demo_site import ATTRIBUTION, Stage
from controller.cli.demo_story import HUNG, LYING, ORDER_KW, REFUSING, WITNESS, Story, unexplained

CURTAILED = 10
"""Rigs that must have slept at one time for the day to count as curtailed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that was to be seen; `needed` ones decide the exit code."""

    name: str
    true: bool
    detail: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """All claims, and figures for programs."""

    claims: tuple[Claim, ...]
    figures: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Every needed claim came true."""
        return all(claim.true for claim in self.claims if claim.needed)

    @classmethod
    async def of(cls, story: Story) -> "Report":
        """Judge a story that is over, while its daemon still answers."""
        status = story.status
        open_ends = unexplained(await _histories(story), story.findings.named)
        money, pool = status["money"], status["pools"][0]
        figures = {
            "simulated": True,
            "shares_accepted": pool["accepted"],
            "shares_submitted": pool["submitted"],
            "most_asleep": story.findings.most_asleep,
            "least_power_w": min((sample.power for sample in story.samples if sample.power is not None), default=None),
            "commands": dict(status["commands"]),
            "unexplained": open_ends,
            "named": dict(story.findings.named),
            "order_met_after_s": story.findings.order_met_after,
            "pools_kept": story.findings.pools_kept,
            "margin_eur": money["margin"],
            "always_on_margin_eur": money["always_on_margin"],
            "gained_eur": money["gained"],
        }
        return cls(tuple(_claims(story, figures)), figures)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        claims = [
            {"claim": item.name, "true": item.true, "needed": item.needed, "detail": item.detail}
            for item in self.claims
        ]
        return {"passed": self.passed, "claims": claims, **self.figures}


def show_report(console: Console, report: Report) -> None:
    """Print every claim with its figure."""
    console.print(Text.assemble((" SIMULATED ", "bold white on magenta"), (" What the day showed", "bold")))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for claim in report.claims:
        mark = Text("✓", "bold green") if claim.true else Text("✗", "bold red" if claim.needed else "yellow")
        table.add_row(mark, Text(claim.name, "bold"), claim.detail)
    console.print(table)


def hints(console: Console, scene: Stage) -> None:
    """Where to go from here."""
    shedload = command()
    lines = [
        Text(),
        Text(f"While it ran, its metrics were at {scene.url}/metrics"),
        Text("An hour a minute, to look around from another terminal:", "bold"),
        Text(f"  {shedload} demo --slot 60 --keep demo    # its log is then in demo/"),
        Text(f"  {shedload} status --watch"),
        Text(f"  {shedload} why {WITNESS}"),
        Text(ATTRIBUTION, "dim"),
        Text(),
        Text("Read-only on your own rigs, nothing is ever written to one:", "bold"),
        Text(f"  {shedload} scan 192.168.1.0/24 --write-inventory slots.csv"),
        Text(f"  {shedload} run --observe"),
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def command() -> str:
    """What to type for `shedload` here: after `make demo` it is in no PATH."""
    here = Path(sys.argv[0]).absolute()
    if here.name != "shedload" or shutil.which("shedload") is not None:
        return "shedload"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)


async def _histories(story: Story) -> dict[str, Any]:
    client = Client(story.stage.url)
    rigs = [row["rig"] for row in (await asyncio.to_thread(client.get, "/api/v1/rigs"))["rigs"]]
    return {rig: (await asyncio.to_thread(client.rig, rig))["history"] for rig in rigs}


def _claims(story: Story, figures: dict[str, Any]) -> list[Claim]:
    failed = [Claim("demonstration", true=False, detail=text, needed=True) for text in story.findings.failures]
    return [*_needed_claims(story, figures), *_other_claims(story, figures), *failed]


def _needed_claims(story: Story, figures: dict[str, Any]) -> list[Claim]:
    """Without these the day was none."""
    asleep, least = story.findings.most_asleep, words.power(figures["least_power_w"])
    shares = f"{figures['shares_accepted']} of {figures['shares_submitted']} from two serial rigs"
    confirmed, open_ends = figures["commands"].get("confirmed", 0), figures["unexplained"]
    commands = f"{confirmed} confirmed by a reading; the others were overtaken, or went to rigs that are named"
    return [
        Claim("shares accepted", figures["shares_accepted"] > 0, shares, needed=True),
        Claim(
            "curtailment", asleep > CURTAILED, f"{asleep} rigs asleep at most, the site down to {least}", needed=True
        ),
        Claim("commands", confirmed > 0 and not open_ends, "; ".join(open_ends[:3]) or commands, needed=True),
    ]


def _other_claims(story: Story, figures: dict[str, Any]) -> list[Claim]:
    """What else was to be seen."""
    found, named = story.findings, story.findings.named
    refusing = [rig for rig in REFUSING if "refusing" in named.get(rig, ())]
    order = "never met"
    if found.order_met_after is not None:
        order = f"the meter at {ORDER_KW} kW {words.span(found.order_met_after)} after it was given"
    hung = f"{HUNG}, while the other readings were at most {words.span(found.fresh)} old"
    pools = (
        f"{len(found.pools_after)} pools of {WITNESS} identical after {words.count(found.writes, 'write')} of its mode"
    )
    margin, always_on, gained = (
        words.money(figures[name], "EUR") for name in ("margin_eur", "always_on_margin_eur", "gained_eur")
    )
    return [
        Claim("order kept", found.order_met_after is not None, order),
        Claim("refusing named", len(refusing) == len(REFUSING), ", ".join(refusing) or "none"),
        Claim("hung rig caught", "offline" in named.get(HUNG, ()), hung),
        Claim("lying rig caught", "suspicious" in named.get(LYING, ()), f"{LYING}, by its own share counters"),
        Claim("pools untouched", found.pools_kept, pools),
        Claim("money", figures["gained_eur"] > 0, f"{gained}: {margin} instead of {always_on} always on"),
    ]
