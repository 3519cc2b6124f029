"""The plot of the demonstration: what is done to the farm and when, what is seen, and whether it all came true.

clock --cues--> farm's control page (faults), daemon's HTTP interface (order, release)
daemon --status--> Story --Event, Sample, Findings--> view, report
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from controller.cli import words
from controller.cli.client import Client
from controller.cli.demo_site import DAY, REFUSAL, Stage
from controller.cli.order import NOISE
from controller.cli.trouble import Trouble
from controller.daemon import Daemon
from controller.plan import SLEEP, Reason
from controller.status import rig_status, site_status
from shedload.device import RigName

TICK = 0.25
"""Seconds between two looks."""
HUNG, LYING, REFUSING, WITNESS = "xp-004", "s21-007", ("j-005", "j-011"), "j-001"
ORDER_KW, ORDERED = 100, 9.3
ORDER_NOTE = "the grid operator called"
SETTLE, QUIET = 20.0, 2.5
"""Seconds that the end of the day waits at most for commands on their way, and how long none must have been."""
FOR_MONEY = frozenset({Reason.PRICE_ABOVE_BREAK_EVEN, Reason.HYSTERESIS})
MOVED = 3
"""Rigs that must have changed between asleep and awake before a price is worth a line."""

Status = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in words."""

    at: datetime
    style: str
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the site; hours of the day, watts, money per kWh."""

    hour: float
    power: float | None
    limit: float | None
    price: float | None
    strike: float | None


@dataclass(slots=True)
class Findings:
    """What the demonstration set out to show, as far as it was seen."""

    named: dict[str, list[str]] = field(default_factory=dict)  # rig: kinds of attention that it got
    most_asleep: int = 0
    order_met_after: float | None = None  # seconds
    fresh: float | None = None  # seconds: age of the oldest other reading when the hung rig was named
    pools_before: tuple[str, ...] = ()
    pools_after: tuple[str, ...] = ()
    writes: int = 0  # to the witness, counted by the machine itself
    failures: list[str] = field(default_factory=list)

    @property
    def pools_kept(self) -> bool:
        """A write of power went to the witness and its pools are what they were."""
        return self.writes > 0 and bool(self.pools_before) and self.pools_before == self.pools_after


class Story:
    """Plays one day. `status`, `witness`, `events` and `samples` are for whoever shows it."""

    def __init__(self, stage: Stage, daemon: Daemon, tell: Callable[[Event], None] | None = None) -> None:
        self.stage = stage
        self.events: list[Event] = []
        self.samples: list[Sample] = []
        self.findings = Findings()
        self.status: Status = site_status(daemon.site)
        self.witness: Mapping[str, Any] = {}
        self.prices = daemon.feed
        self._daemon = daemon
        self._tell = tell
        self._farm = Client(stage.control)
        self._order: int | None = None
        self._ordered_at: float | None = None
        self._slot: str | None = None
        self._asleep_before = 0
        self._drawn_before: float | None = None
        self._told_slot = True
        self._cues: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (0.1, self._read_witness_before),
            (0.6, self._hang),
            (1.2, self._lie),
            (9.0, self._refuse),
            (ORDERED, self._give_order),
            (max(14.0, ORDERED + (REFUSAL + 1.0) / stage.pace.slot), self._release),
            (max(19.5, ORDERED + (REFUSAL + 3.0) / stage.pace.slot), self._mend),
        ]

    @property
    def silent(self) -> bool:
        """Nobody is told event by event: a screen shows them."""
        return self._tell is None

    @property
    def hour(self) -> float:
        """Hours since the day began."""
        return (self._daemon.site.clock.wall() - DAY) / timedelta(hours=1)

    async def run(self) -> None:
        """Play to the end of the day, then wait for what is still on its way."""
        self._say(
            "bold", f"{self.status['rigs']['total']} simulated rigs, limit {words.power(190e3)}, real prices of SE4"
        )
        while self.hour < 24:
            await self._tick()
            await asyncio.sleep(TICK)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until no command has been on its way for a while."""
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + SETTLE, loop.time()
        while loop.time() < deadline and loop.time() - quiet < QUIET:
            self._look()
            if self.status["commands"].get("in_flight"):
                quiet = loop.time()
            await asyncio.sleep(TICK)

    async def _tick(self) -> None:
        while self._cues and self.hour >= self._cues[0][0]:
            _, cue = self._cues.pop(0)
            try:
                await cue()
            except (Trouble, OSError, KeyError) as error:  # the show goes on; the report says what failed
                self.findings.failures.append(f"{cue.__name__.strip('_')}: {error}")
                self._say("red", f"the demonstration itself failed: {error}")
        self._look()
        self._watch_prices()
        self._watch_attention()
        self._watch_order()
        if not self.findings.pools_after:
            await self._read_witness_after()

    def _look(self) -> None:
        self.status = site_status(self._daemon.site)
        self.witness = rig_status(self._daemon.site, RigName(WITNESS)) or {}
        power, price = self.status["power"], self.status["price"]
        now = price["now"]
        drawn = power["meter_w"]
        sample = Sample(
            self.hour, drawn, power["limit_w"], now["price_per_kwh"] if now else None, price["strike_per_kwh"]
        )
        if sample.hour < 24:
            self.samples.append(sample)
        self.findings.most_asleep = max(self.findings.most_asleep, self._asleep)

    @property
    def _asleep(self) -> int:
        return int(self.status["rigs"]["by_state"]["asleep"])

    # --- what is seen ---

    def _watch_prices(self) -> None:
        """One line when a price has sent rigs to sleep or woken them."""
        now = self.status["price"]["now"]
        if now is None:
            return
        if now["start"] != self._slot:
            self._slot, self._asleep_before, self._told_slot = now["start"], self._asleep, False
            self._drawn_before = self.status["power"]["meter_w"]
        started = (datetime.fromisoformat(now["start"]) - DAY) / timedelta(hours=1)
        if self._told_slot or self.hour - started < 0.85 or self._order is not None:
            return
        self._told_slot = True
        moved, drawn_w = self._asleep - self._asleep_before, self.status["power"]["meter_w"]
        if abs(moved) >= MOVED and not _contradicts(moved, self._drawn_before, drawn_w):
            what = "went to sleep" if moved > 0 else "woke"
            drawn = words.power(drawn_w)
            capped = moved > 0 and self._reason_of_sleep() not in FOR_MONEY
            why = "to keep the cap" if capped else f"at {words.price(now['price_per_kwh'], 'EUR')}"
            self._say("blue" if moved > 0 else "green", f"{why} {abs(moved)} rigs {what}; the site draws {drawn}")

    def _reason_of_sleep(self) -> Reason | None:
        """Why most of the rigs that are to sleep are to sleep."""
        plan = self._daemon.controller.plan
        reasons = Counter(item.reason for item in plan.decisions.values() if item.mode == SLEEP) if plan else Counter()
        return reasons.most_common(1)[0][0] if reasons else None

    def _watch_attention(self) -> None:
        """One line for each rig that is named."""
        for kind, rows in self.status["attention"].items():
            for row in rows:
                kinds = self.findings.named.setdefault(row["rig"], [])
                if kind not in kinds:
                    kinds.append(kind)
                    self._say(*self._named(kind, row["rig"], row["detail"].replace("_", " ")))

    def _named(self, kind: str, rig: str, detail: str) -> tuple[str, str]:
        if kind == "offline":
            if rig != HUNG:
                return "yellow", f"{rig} is named offline: {detail}"
            farm, named = self._daemon.farm, self.findings.named
            self.findings.fresh = max(
                (farm.age(name) or 0.0 for name in farm.records if name not in named), default=None
            )
            oldest = words.span(self.findings.fresh)
            return "yellow", f"{rig} caught hanging ({detail}); the other readings are at most {oldest} old"
        if kind == "suspicious":
            return "yellow", f"{rig} caught lying: {detail}, its shares do not support the hashrate it reports"
        return "bold red", f"{rig} is named {kind}: {detail}"

    def _watch_order(self) -> None:
        """One line when the meter says that the order is kept, with how long that took."""
        if self._ordered_at is None or self.findings.order_met_after is not None:
            return
        drawn = self.status["power"]["meter_w"]
        limit = ORDER_KW * 1e3
        if drawn is not None and drawn <= limit * NOISE:
            self.findings.order_met_after = asyncio.get_running_loop().time() - self._ordered_at
            after, meter = self.findings.order_met_after, words.power(drawn)
            noise = f", {drawn / limit - 1:.1%} over within its noise" if drawn > limit else ""
            self._say("bold magenta", f"the order is kept after {after:.1f} s: the meter says {meter}{noise}")

    # --- cues ---

    async def _read_witness_before(self) -> None:
        truth = await self._ask_farm(WITNESS)
        self.findings.pools_before = tuple(truth["pools"])

    async def _read_witness_after(self) -> None:
        """Once the witness was put to sleep: see whether the write of its mode left its pools alone."""
        command = self.witness.get("command") or {}
        if command.get("confirmed") != "sleep" or not self.findings.pools_before:
            return
        truth = await self._ask_farm(WITNESS)
        self.findings.pools_after = tuple(truth["pools"])
        self.findings.writes = truth["writes"]
        same = "identical before and after" if self.findings.pools_kept else "DISTURBED"
        times, count = words.count(truth["writes"], "write"), len(truth["pools"])
        self._say("cyan", f"{WITNESS} written to sleep ({times}): its {count} pools {same}")

    async def _hang(self) -> None:
        await self._break(HUNG, "hang")
        self._say("dim", f"behind the scenes: {HUNG} now accepts connections and never answers")

    async def _lie(self) -> None:
        await self._break(LYING, "lie")
        self._say("dim", f"behind the scenes: two thirds of {LYING}'s chips stop; it goes on reporting full hashrate")

    async def _refuse(self) -> None:
        for rig in REFUSING:
            await self._break(rig, "refuse")
        self._say("dim", f"behind the scenes: {' and '.join(REFUSING)} now say yes to every write and do nothing")

    async def _give_order(self) -> None:
        self._ordered_at = asyncio.get_running_loop().time()
        daemon = await self._daemon_client()
        body = {"limit_kw": ORDER_KW, "author": "demo", "note": ORDER_NOTE}
        placed = await asyncio.to_thread(daemon.post, "/api/v1/orders", body)
        self._order = placed["number"]
        self._say("bold magenta", f"order {placed['number']}: at most {ORDER_KW} kW, {ORDER_NOTE}")

    async def _release(self) -> None:
        daemon = await self._daemon_client()
        await asyncio.to_thread(daemon.delete, f"/api/v1/orders/{self._order}?author=demo")
        self._say("bold magenta", f"order {self._order} released")
        self._order = None

    async def _mend(self) -> None:
        daemon = await self._daemon_client()
        for rig in (HUNG, LYING, *REFUSING):
            await self._break(rig, None)
        for rig in REFUSING:
            await asyncio.to_thread(daemon.post, f"/api/v1/rigs/{rig}/peace", {})
        self._say("dim", "behind the scenes: a technician mends all four")

    async def _break(self, rig: str, fault: str | None) -> None:
        await asyncio.to_thread(self._farm.post, f"/rigs/{rig}/fault", {"fault": fault})

    async def _ask_farm(self, rig: str) -> dict[str, Any]:
        found: dict[str, Any] = await asyncio.to_thread(self._farm.get, f"/rigs/{rig}")
        return found

    async def _daemon_client(self) -> Client:
        token = (self.stage.installation.config.site.state_dir / "api.token").read_text().strip()
        return Client(self.stage.url, token)

    def _say(self, style: str, text: str) -> None:
        event = Event(self._daemon.site.clock.wall(), style, text)
        self.events.append(event)
        if self._tell is not None:
            self._tell(event)


def _contradicts(moved: int, before: float | None, drawn: float | None) -> bool:
    """More asleep and more power, or the reverse: readings that lag behind the slot are told to nobody."""
    return before is not None and drawn is not None and (drawn - before) * moved > 0


def unexplained(histories: Mapping[str, Sequence[Mapping[str, Any]]], named: Collection[str]) -> list[str]:
    """Commands that neither were confirmed, nor were followed by one that was, nor went to a rig that was named.

    Histories are newest first, as the daemon gives them.
    """
    left = []
    for rig, rows in histories.items():
        for row in rows:
            if row["state"] == "confirmed":
                break
            if row["state"] != "superseded" and rig not in named:
                left.append(f"{rig}: {row['verb']} at {words.clock(row['at'])} {row['state']}")
    return left
