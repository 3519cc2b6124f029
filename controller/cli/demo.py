"""`shedload demo`: a simulated farm, the real daemon, and one real day of prices in two minutes.

stage (farm in a process of its own) --> daemon --> story --> view | lines --> report, exit code
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.live import Live
from rich.text import Text

from controller.cli import logs
from controller.cli.demo_report import Report, hints, show_report
from controller.cli.demo_site import DAY, Pace, Stage, stage
from controller.cli.demo_story import Event, Story
from controller.cli.demo_view import DemoView, event_text
from controller.cli.run import lift_file_limit, loop_factory
from controller.cli.screen import err, out, say_json
from controller.clock import ScaledClock
from controller.daemon import Daemon, Options, serve

WATCHED = Pace(slot=5.0, poll=2.0, deadline=3.0)
ONCE = Pace(slot=1.75, poll=1.5, deadline=2.5)
FRAMES = 4.0
"""Screens in a second."""
DONE, FAILED, INTERRUPTED = 0, 1, 130


def demo(*, once: bool, seed: int, port: int | None, keep: Path | None, slot: float | None, as_json: bool) -> int:
    """Play the day; the exit code. Raises Trouble, ConfigError."""
    pace = ONCE if once else WATCHED
    if slot is not None:
        pace = Pace(slot, pace.poll, pace.deadline)
    lift_file_limit()
    folder = keep or Path(tempfile.mkdtemp(prefix="shedload-demo-"))
    code = FAILED
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            code = runner.run(_play(folder, pace, seed=seed, port=port, once=once, as_json=as_json))
    finally:
        if keep is None and code != FAILED:
            shutil.rmtree(folder, ignore_errors=True)
        elif code == FAILED:
            err().print(f"Logs and state are in {folder}", soft_wrap=True)
    return code


async def _play(folder: Path, pace: Pace, *, seed: int, port: int | None, once: bool, as_json: bool) -> int:
    err().print(Text("Starting a simulated farm; nothing outside this machine is touched.", "dim"))
    async with stage(folder, pace, seed=seed, port=port) as scene:
        err().print(Text(f"Metrics: {scene.url}/metrics    Daemon's log: {scene.log}", "dim"), soft_wrap=True)
        with _log_to(scene.log):
            report = await _day(scene, once=once, as_json=as_json)
    if report is None:
        err().print("Stopped before the end of the day.")
        return INTERRUPTED
    if as_json:
        say_json(report.as_json())
    else:
        show_report(out(), report)
        hints(out(), scene)
    return DONE if report.passed else FAILED


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[TextIO]:
    """The daemon's log goes to a file: the screen belongs to the story."""
    with path.open("w", encoding="utf-8") as file:
        logs.set_up(file, "info", "json")
        yield file


async def _day(scene: Stage, *, once: bool, as_json: bool) -> Report | None:
    """Run daemon and story side by side; None where somebody interrupted."""
    ready: asyncio.Future[Daemon] = asyncio.get_running_loop().create_future()
    clock = ScaledClock(DAY, scene.pace.scale)
    serving = asyncio.create_task(serve(scene.installation, Options(simulated=True), clock, started=ready.set_result))
    await _until(ready, serving)
    daemon = await ready
    await _until(asyncio.ensure_future(daemon.started.wait()), serving)
    try:
        return await _tell(Story(scene, daemon, None if _shows_screen(once, as_json) else _teller(as_json)), serving)
    finally:
        daemon.stop()
        await serving


async def _until(happened: "asyncio.Future[Any]", serving: "asyncio.Task[None]") -> None:
    """Wait; raises what ended the daemon where it ended before."""
    watched: set[asyncio.Future[Any]] = {happened, serving}
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        happened.cancel()
        await serving


async def _tell(story: Story, serving: "asyncio.Task[None]") -> Report | None:
    """Play the story, on the screen where nobody is told in lines; None where somebody interrupted."""
    playing = asyncio.create_task(story.run())
    beside: list[asyncio.Task[Any]] = [asyncio.create_task(_signals().wait())]
    if story.silent:
        beside.append(asyncio.create_task(_screen(story)))
    try:
        await asyncio.wait({playing, serving, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in beside[1:]:
            if task.done():
                await task  # the screen never ends by itself: say why it did
        if not playing.done():
            return None
        await playing
        return await Report.of(story)
    finally:
        for task in (playing, *beside):
            task.cancel()
        await asyncio.gather(playing, *beside, return_exceptions=True)


def _signals() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    def hang_up() -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # the terminal is gone: nobody reads the rest, and cleaning up must not fail for it
            os.dup2(null, stream)
        stopped.set()

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    return stopped


def _shows_screen(once: bool, as_json: bool) -> bool:
    return not once and not as_json and sys.stdout.isatty()


def _teller(as_json: bool) -> Callable[[Event], None]:
    console = err() if as_json else out()

    def tell(event: Event) -> None:
        console.print(event_text(event), soft_wrap=True)

    return tell


async def _screen(story: Story) -> None:
    """Draw until cancelled."""
    with Live(DemoView(story), console=out(), auto_refresh=False, screen=True) as live:
        while True:
            live.refresh()
            await asyncio.sleep(1 / FRAMES)
