"""What README and operating guide tell a reader to type exists, and what they say is so."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

from controller.cli.app import app
from controller.cli.demo_site import ATTRIBUTION, data

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/operating.md")
CALL = re.compile(r"shedload (?=[a-z-])[^`#\n|&;]*")
"""A call of the command, up to what ends it in a shell or a text."""


def calls() -> Iterator[tuple[str, str]]:
    """Every `shedload ...` in indented blocks and between backticks, with its page."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        spans = re.findall(r"`(shedload [^`]+)`", text)
        spans += [line for line in text.splitlines() if line.startswith("    ") and "shedload " in line]
        for span in spans:
            yield from ((page, call.group().strip()) for call in CALL.finditer(span.replace("...", "")))


def texts() -> str:
    """All pages."""
    return "\n".join((ROOT / page).read_text() for page in PAGES)


@pytest.mark.parametrize(("page", "call"), sorted(set(calls())))
def test_every_call_parses(page: str, call: str) -> None:
    words = shlex.split(re.sub(r"\[.*?\]", "", call), comments=True)[1:]
    group = typer.main.get_command(app)
    if words[0].startswith("-") or words[0] == "COMMAND":
        return
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    command = group.commands[words[0]]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    unknown = [word for word in words[1:] if word.startswith("-") and word not in options]
    assert not unknown, f"{page}: {call}"


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_begins_with_five_lines_and_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    first = lines.index("") + 1
    assert lines[0] == "# shedload"
    assert all(lines[first : first + 5])
    assert lines[first + 5] == ""
    assert [line.split()[:2] for line in lines[first + 6 : first + 8]] == [["make", "demo"], ["make", "test"]]


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            if "://" not in target:
                assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


def test_files_that_are_named_exist() -> None:
    for path in set(re.findall(r"`((?:deploy|docs)/[\w./-]+)`", texts())):
        assert (ROOT / path).exists(), path


def test_settings_that_are_named_exist() -> None:
    known = (ROOT / "controller" / "settings.py").read_text()
    for name in ("canary_rigs", "canary_percent", "stale_after_s", "rig_deadline_s", "without_price", "max_age_s"):
        assert name in known
        assert name in texts()


def test_prices_carry_their_attribution_everywhere() -> None:
    for text in (ATTRIBUTION, data("ATTRIBUTION.txt"), (ROOT / "README.md").read_text()):
        assert "Energinet, energidataservice.dk" in " ".join(text.split())
        assert "CC BY 4.0" in text
    rows = data("se4-2024-04-08.csv").splitlines()
    assert len(rows) == 25
