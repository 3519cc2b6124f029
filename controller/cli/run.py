"""`shedload run`: the daemon, with signals, logs and words for what can go wrong before it runs."""

import asyncio
import errno
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Literal

import structlog

from controller.cli import logs
from controller.cli.trouble import Trouble
from controller.clock import SystemClock
from controller.config import Installation, load_installation
from controller.daemon import Daemon, Options, driver_names, serve

FILES = 65_536
"""Open files that are asked for: a large site has two connections to each of 20,000 rigs at times."""

log = structlog.get_logger(__name__)


def run(config: Path, *, observe: bool, uvloop: bool) -> None:
    """Run until SIGTERM or Ctrl-C. Raises ConfigError, StoreError, Trouble."""
    installation = load_installation(config, driver_names())
    settings = installation.config.log
    logs.set_up(sys.stdout, settings.level, log_style(settings.format))
    lift_file_limit()
    for advice in installation.warnings:
        log.warning("configuration_advice", detail=advice)
    log.info("starting", site=installation.config.site.name, rigs=len(installation.slots), observe=observe)
    with asyncio.Runner(loop_factory=loop_factory() if uvloop else None) as runner:
        runner.run(_serve(installation, Options(observe=observe)))
    log.info("stopped", effect="rigs stay as they are")


def log_style(wanted: str) -> Literal["json", "console"]:
    """Readable on a terminal, JSON for everything else, unless the configuration says which."""
    if wanted == "auto":
        return "console" if sys.stdout.isatty() else "json"
    return "console" if wanted == "console" else "json"


def lift_file_limit(wanted: int = FILES) -> None:
    """Raise the soft limit on open files as far as the hard one allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


async def _serve(installation: Installation, options: Options) -> None:
    try:
        await serve(installation, options, SystemClock(), started=_take_signals)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        listen = installation.config.api.listen
        raise Trouble(
            f"cannot listen on {listen}: {os.strerror(error.errno).lower()}",
            "Does another daemon run here? Else choose another address with listen under [api].",
        ) from None
    except BaseExceptionGroup:
        log.exception("daemon_failed", effect="rigs stay as they are")
        raise


def _take_signals(daemon: Daemon) -> None:
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    loop.add_signal_handler(
        signal.SIGHUP, lambda: log.warning("reload_unsupported", remedy="restart to read the configuration anew")
    )


def loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """The faster event loop where it is installed; None stands for the usual one."""
    try:
        import uvloop as found  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return found.Loop
