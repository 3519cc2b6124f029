"""The screen of the demonstration: power under its limit, price over its strike, rigs, reasons, and what happened.

Fits 80 x 24 and uses more where there is more.
"""

from collections.abc import Iterator
from datetime import timedelta

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from controller.cli import views, words
from controller.cli.charts import Column, binned, chart, hours_axis
from controller.cli.demo_site import DAY, POWER_CAP_KW
from controller.cli.demo_story import Event, Story
from controller.cli.reasons import sentence

LABEL = 8
"""Columns for the labels left of a chart."""
LIMIT_STYLE, STRIKE_STYLE = "bold yellow", "bold white"
SMALL = 34
"""Lines of a terminal below which charts are low."""


class DemoView:
    """Renders a story as it stands."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """One screen."""
        height, width = options.height or options.size.height, options.max_width
        yield self.screen(width, height)

    def screen(self, width: int, height: int) -> Group:
        """All parts, as many lines as there are."""
        small = height < SMALL
        head: list[RenderableType] = [
            self._headline(small=small),
            _one_line(self._power_words()),
            *self._power_chart(width, 5 if small else 10),
            _one_line(self._price_words(2 if small else 5)),
            *self._price_chart(width, 3 if small else 5),
            *map(_one_line, self._counts(width)),
        ]
        why = self._why(width, 4 if small else 5)
        room = max(3, height - len(head) - len(why))
        return Group(*head, *why, *self._events(room, width))

    def _headline(self, *, small: bool) -> Table:
        status = self._story.status
        grid = Table.grid(expand=True)
        grid.add_column()
        grid.add_column(justify="center")
        grid.add_column(justify="right")
        pace = "" if small else f"  an hour in {self._story.stage.pace.slot:g} s   {self._story.stage.url}/metrics"
        title = Text.assemble(("shedload demo", "bold"), pace)
        grid.add_row(title, views.simulated(status), f"{words.clock(status['time'])} UTC, 8 April 2024")
        return grid

    def _power_words(self) -> Text:
        power = self._story.status["power"]
        reason = {"order": "ORDER", "site_cap": "the site's cap"}.get(power["limit_reason"], "")
        return Text.assemble(
            ("Site ", "bold"),
            (words.power(power["meter_w"]), "bold green"),
            " measured   ",
            ("━ ", LIMIT_STYLE),
            (f"limit {words.power(power['limit_w'])}", "bold magenta" if reason == "ORDER" else LIMIT_STYLE),
            f" ({reason})   target {words.power(power['target_w'])}",
        )

    def _price_words(self, following: int) -> Text:
        price = self._story.status["price"]
        now, strike = price["now"], price["strike_per_kwh"]
        if now is None:
            return Text("Price unknown: the day is over", "yellow")
        dear = strike is not None and now["price_per_kwh"] > strike
        slots = price["next"][:following]
        coming = "  ".join(f"{words.clock(slot['start'])} {slot['price_per_kwh']:.3f}" for slot in slots)
        return Text.assemble(
            ("Price ", "bold"),
            (words.price(now["price_per_kwh"], "EUR"), "bold red" if dear else "bold green"),
            "   ",
            ("━ ", STRIKE_STYLE),
            f"strike {words.price(strike)}",
            f"   next {coming}" if coming else "",
        )

    def _power_chart(self, width: int, rows: int) -> Iterator[Text]:
        columns = width - LABEL
        samples = self._story.samples
        drawn = binned([(sample.hour, sample.power) for sample in samples], columns, 24)
        limits = binned([(sample.hour, sample.limit) for sample in samples], columns, 24)
        top = POWER_CAP_KW * 1e3 * 1.1
        bars = [
            Column(value, limit, "red" if value and limit and value > limit * 1.01 else "green")
            for value, limit in zip(_filled(drawn), _filled(limits), strict=True)
        ]
        return _labelled(chart(bars, rows, top, LIMIT_STYLE), f"{top / 1e3:.0f} kW", "0")

    def _price_chart(self, width: int, rows: int) -> Iterator[Text]:
        columns = width - LABEL
        series = self._story.prices.series
        strikes = _filled(binned([(sample.hour, sample.strike) for sample in self._story.samples], columns, 24))
        prices = []
        for place in range(columns):
            slot = series.at(DAY + timedelta(hours=(place + 0.5) / columns * 24))
            prices.append(slot.price if slot is not None else None)
        known = [price for price in prices if price is not None]
        top = max(known, default=0.1) * 1.1
        now = self._story.hour / 24 * columns
        bars = [
            Column(price, strike, "bright_black" if place > now else _price_style(price, strike))
            for place, (price, strike) in enumerate(zip(prices, strikes, strict=True))
        ]
        yield from _labelled(chart(bars, rows, top, STRIKE_STYLE), f"{top:.2f}", "0")
        yield Text(" " * LABEL).append_text(hours_axis(columns))

    def _counts(self, width: int) -> Iterator[Text]:
        status = self._story.status
        rigs = Text("Rigs  ", "bold")
        rigs.append_text(views.states(status["rigs"]["by_state"]))
        rigs.stylize("not bold", 6)
        yield rigs.append(f"   {words.rate(status['rigs']['hashrate_hs'])}", "not bold")
        pool = status["pools"][0] if status["pools"] else None
        shares = f"{pool['accepted']} of {pool['submitted']} accepted" if pool else "no pool"
        gained = status["money"]["gained"]
        yield Text.assemble(
            ("Shares ", "bold"),
            f"{shares}   ",
            ("Money ", "bold"),
            f"{words.money(status['money']['margin'], 'EUR')}, ",
            (f"{words.money(gained, 'EUR')} against always on", "bold green" if gained > 0 else ""),
        )
        commands = views.commands_line(status).plain.split(" · ")
        yield Text.assemble(("Commands ", "bold"), _fitting(commands, width - len("Commands ")))

    def _why(self, width: int, most: int) -> list[RenderableType]:
        rig = self._story.witness
        decision = rig.get("decision")
        if not decision:
            return []
        deciding = next(
            step
            for step in decision["steps"]
            if step["mode"] == decision["mode"] and step["reason"] == decision["reason"]
        )
        text = Text.assemble(
            (f"Why {rig['rig']}", "bold"),
            f" {rig['state']}, read {words.span(rig['age_s'])} ago: ",
            (decision["mode"], "bold"),
            f" ({deciding['stage']}). ",
            sentence(deciding["reason"], decision["mode"], deciding["numbers"], "EUR"),
        )
        wrapped = text.wrap(Console(width=width), width)
        return [*wrapped[:most], *([Text()] * (most - len(wrapped)))]

    def _events(self, room: int, width: int) -> list[Text]:
        lines: list[Text] = []
        console = Console(width=width)
        for event in reversed(self._story.events[-room:]):
            wrapped = list(event_text(event).wrap(console, width))
            if lines and len(lines) + len(wrapped) > room:
                break  # half an event says nothing
            lines[:0] = wrapped
        return lines[:room]


def event_text(event: Event) -> Text:
    """One event as a line."""
    return Text.assemble((f"{event.at:%H:%M} ", "dim"), (event.text, event.style))


def _fitting(items: list[str], width: int) -> str:
    """As many of the items as one line holds, the first ones before the last."""
    while len(items) > 1 and len(" · ".join(items)) > width:
        items = items[:-1]
    return " · ".join(items)


def _one_line(text: Text) -> Text:
    """A line that is cut rather than wrapped."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _price_style(price: float | None, strike: float | None) -> str:
    return "red" if price is not None and strike is not None and price > strike else "green"


def _filled(values: list[float | None]) -> list[float | None]:
    """Single gaps between two known values, which a wide screen has when looks are far apart, take the value before."""
    last = next((place for place in range(len(values) - 1, -1, -1) if values[place] is not None), -1)
    filled: list[float | None] = []
    for place, value in enumerate(values):
        filled.append(value if value is not None or place > last or not filled else filled[-1])
    return filled


def _labelled(lines: list[Text], top: str, bottom: str) -> Iterator[Text]:
    for number, line in enumerate(lines):
        label = top if number == 0 else bottom if number == len(lines) - 1 else ""
        yield Text(f"{label:>{LABEL - 1}} ", "dim").append_text(line)
