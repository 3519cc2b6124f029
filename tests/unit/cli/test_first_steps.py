"""What a newcomer meets: the demonstration's screen in small terminals, its last words, slips of the keyboard."""

import io
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from controller.cli import demo_report, order, why
from controller.cli.demo_site import Stage
from controller.cli.demo_story import Event, _contradicts
from controller.cli.demo_view import DemoView, _fitting
from controller.cli.order import control
from controller.cli.scan import scan
from controller.cli.trouble import Trouble
from controller.cli.words import money

NOON = datetime(2024, 4, 8, 12, tzinfo=UTC)


def view(*events: str) -> DemoView:
    told = [Event(NOON, "", text) for text in events]
    return DemoView(cast("Any", SimpleNamespace(events=told)))


def test_an_event_is_shown_whole_or_not_at_all() -> None:
    long = "j-005 is named refusing: the rig took the write and did nothing"
    lines = [line.plain.rstrip() for line in view(long, "order 1 released", "26 rigs woke")._events(3, 40)]
    assert lines == ["12:00 order 1 released", "12:00 26 rigs woke"]
    assert len(view(long)._events(1, 40)) == 1, "the last one is cut rather than left out"


def test_a_line_of_counts_ends_with_a_whole_word() -> None:
    items = ["183 confirmed", "4 in flight", "5 superseded"]
    assert _fitting(items, 80) == "183 confirmed · 4 in flight · 5 superseded"
    assert _fitting(items, 30) == "183 confirmed · 4 in flight"


@pytest.mark.parametrize(
    ("moved", "before", "drawn", "wrong"),
    [(12, 10e3, 117e3, True), (12, 117e3, 10e3, False), (-5, 10e3, 50e3, False), (-5, 50e3, 10e3, True)],
)
def test_rigs_that_went_to_sleep_while_power_rose_are_no_story(
    moved: int, before: float, drawn: float, wrong: bool
) -> None:
    assert _contradicts(moved, before, drawn) is wrong
    assert not _contradicts(moved, None, drawn)


def test_nothing_is_gained_without_a_sign_that_lies() -> None:
    assert money(-0.001, "EUR") == "+0.00 EUR"
    assert money(-0.01, "EUR") == "-0.01 EUR"


def test_the_last_words_are_commands_that_work_and_fit_80_columns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".venv/bin/shedload"), "demo"])
    written = io.StringIO()
    scene = SimpleNamespace(url="http://127.0.0.1:65535")
    demo_report.hints(Console(file=written, width=80, color_system=None), cast("Stage", scene))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "  .venv/bin/shedload run --observe" in lines
    monkeypatch.setattr(sys, "argv", ["/usr/lib/python3/controller/__main__.py"])
    assert demo_report.command() == "shedload"


class Daemon:
    """Answers as the daemon's HTTP interface does, and notes what it was told."""

    url = "http://127.0.0.1:9477"

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.told: list[str] = []

    def status(self) -> dict[str, Any]:
        power = {"meter_w": 70e3, "estimated_w": 70e3, "cap_w": 75e3}
        return {"site": "hall-7", "simulated": False, "power": power, "groups": {}}

    def get(self, path: str) -> Any:
        if path.endswith("orders"):
            return [{"number": self.number}]
        rig = {"obstacle": None, "state": "hashing", "power_w": 3e3, "efficiency_j_per_th": 30.0}
        return {"rigs": [{"rig": name, **rig} for name in ("j-001", "n-001")]}

    def rig(self, name: str) -> dict[str, Any]:
        raise Trouble(f"the daemon said no: there is no rig {name!r}")

    def post(self, path: str, body: Any) -> Any:
        self.told.append(f"POST {path}")
        return {"number": self.number, "limit_w": body["limit_kw"] * 1e3}

    def delete(self, path: str) -> Any:
        self.told.append(f"DELETE {path}")


def test_an_order_says_which_site_it_is_for_and_that_it_is_in_memory_only(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = cast("Any", Daemon(number=-1))
    assert order.order(daemon, ["40kW"], yes=True, wait=False) == 0
    said = capsys.readouterr().err
    assert "Site hall-7 at http://127.0.0.1:9477" in said
    assert "In memory only" in said
    order.order(daemon, ["release", "-1"], author="jo", yes=True)
    assert daemon.told[-1] == "DELETE /api/v1/orders/-1?author=jo"


def test_a_name_that_no_rig_has_is_answered_with_those_that_are_near(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Trouble, match=r"there is no rig 'j-01'\nDid you mean j-001"):
        why.why(cast("Any", Daemon()), "j-01", as_json=False)
    with pytest.raises(Trouble, match=r"said no"):
        why.why(cast("Any", Daemon()), "j-001", as_json=False)
    with pytest.raises(Trouble, match="no group"):
        control(cast("Any", Daemon()), "x", "auto", author=None, yes=True)


def test_a_scan_that_could_not_be_written_down_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="cannot be written") as caught:
        scan(
            ["127.0.0.1"], exclude=[], config=None, credentials=[], ports=(1, 2), concurrency=1,
            yes=False, as_json=False, csv_file=tmp_path / "no" / "x.csv", inventory=None,
        )  # fmt: skip
    assert caught.value.code == 2
