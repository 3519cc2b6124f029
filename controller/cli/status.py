"""`shedload status`: the site on one screen, once or again and again."""

import sys
import time

from rich.console import Group
from rich.live import Live
from rich.text import Text

from controller.cli.client import Client
from controller.cli.screen import out, say_json
from controller.cli.trouble import Trouble
from controller.cli.views import Status, site_screen

FINE, ATTENTION = 0, 1
REFRESH = 2.0
"""Seconds between two looks under --watch."""


def status(client: Client, *, as_json: bool, watch: bool) -> int:
    """Show the site; the exit code. Raises Trouble where no daemon answers."""
    if watch and not as_json:
        return _watch(client)
    found = client.status()
    if as_json:
        say_json(found)
    else:
        out().print(site_screen(found))
    return judged(found)


def judged(found: Status) -> int:
    """0 when nothing wants attention, 1 otherwise."""
    power, price = found["power"], found["price"]
    over = power["limit_w"] is not None and (power["meter_w"] or 0.0) > power["limit_w"] * 1.004
    troubles = any(found["attention"].values()) or found["control"]["journal_failing"] or power["meter_disagrees"]
    stalled = any(group["canary_stalled"] for group in found["groups"].values())
    silent = power["has_meter"] and power["meter_w"] is None
    return ATTENTION if troubles or stalled or silent or over or price["now"] is None else FINE


def _watch(client: Client) -> int:
    """Refresh until Ctrl-C; a daemon that goes away is waited for."""
    found = client.status()
    if not sys.stdout.isatty():
        out().print(site_screen(found))
        return judged(found)
    with Live(site_screen(found), console=out(), auto_refresh=False, screen=True) as live:
        try:
            while True:
                time.sleep(REFRESH)
                try:
                    found = client.status()
                    live.update(site_screen(found), refresh=True)
                except Trouble as trouble:
                    live.update(Group(Text(str(trouble), "bold red"), "", site_screen(found)), refresh=True)
        except KeyboardInterrupt:
            return judged(found)
