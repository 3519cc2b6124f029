# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help and completion stay quick
"""The commands: names, options and help texts; what they do stands in the modules beside this one."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

RUN, LOOK, ACT, TRY = "Run", "Look", "Act", "Try without hardware"

app = typer.Typer(
    help="Runs a Bitcoin ASIC farm by the price of power.",
    epilog="Begin with `shedload demo`, then `shedload scan` and `shedload run --observe` on your own rigs: "
    "neither changes anything on a rig.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration of the daemon: says where it listens.")
]
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Where the daemon listens, by default http://127.0.0.1:9477.")
]
TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the daemon's token, where --config does not lead to it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AuthorOption = Annotated[str | None, typer.Option("--author", help="Who orders, for the record; by default the user.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until the site is under the limit.")]


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        print(f"shedload {version('shedload')}")
    except PackageNotFoundError:
        print("shedload (not installed)")
    raise typer.Exit


@app.callback()
def _main(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected error came from.")] = False,
) -> None:
    """Runs a Bitcoin ASIC farm by the price of power."""


@app.command(rich_help_panel=RUN)
def run(
    config: Annotated[Path, typer.Option("--config", "-c", help="Configuration file.")] = Path("shedload.toml"),
    observe: Annotated[bool, typer.Option("--observe", help="Command nothing, whatever file and store say.")] = False,
    uvloop: Annotated[bool, typer.Option("--uvloop/--no-uvloop", help="Use the faster event loop.")] = True,
) -> None:
    """Run the daemon: read rigs, follow prices, command what the configuration allows.

    Stops on SIGTERM or Ctrl-C; rigs stay as they are. Starts even when rigs, pools or prices cannot be reached.

    Example: shedload run --config /etc/shedload/shedload.toml --observe
    """
    from controller.cli.run import run

    run(config, observe=observe, uvloop=uvloop)


@app.command(rich_help_panel=RUN)
def check(
    config: Annotated[Path, typer.Argument(metavar="FILE", help="Configuration file.")] = Path("shedload.toml"),
    as_json: JsonOption = False,
) -> None:
    """Check a configuration and its inventory; say everything that is wrong and what would do.

    Exit code 0 when it can be run, 2 when not. Touches no rig and no network.

    Example: shedload check /etc/shedload/shedload.toml
    """
    from controller.cli.check import check

    raise typer.Exit(check(config, as_json=as_json))


@app.command(rich_help_panel=LOOK)
def scan(
    ranges: Annotated[list[str], typer.Argument(metavar="RANGE...", help="10.0.3.0/24, 10.0.3.1-40 or one address.")],
    exclude: Annotated[list[str] | None, typer.Option("--exclude", "-x", help="Ranges to leave out.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration with the credentials.")] = None,
    credential: Annotated[
        list[str] | None, typer.Option("--credential", help="A credential of the configuration to show to rigs.")
    ] = None,
    rpc_port: Annotated[int, typer.Option("--rpc-port", min=1, max=65535, help="Port of the CGMiner socket.")] = 4028,
    web_port: Annotated[int, typer.Option("--web-port", min=1, max=65535, help="Port of the web interface.")] = 80,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=2000, help="Addresses at once.")] = 200,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Scan more than a /20.")] = False,
    as_json: JsonOption = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write everything found.")] = None,
    inventory: Annotated[
        Path | None, typer.Option("--write-inventory", "-i", metavar="FILE", help="Write an inventory for the daemon.")
    ] = None,
) -> None:
    """Find rigs on a network, reading only. No password is tried that you do not name.

    With --write-inventory and without a configuration, a shedload.toml that only observes is written beside it.

    Example: shedload scan 192.168.1.0/24 --write-inventory slots.csv && shedload run --observe
    """
    from controller.cli.scan import scan

    code = scan(
        ranges,
        exclude=exclude or [],
        config=config,
        credentials=credential or [],
        ports=(rpc_port, web_port),
        concurrency=concurrency,
        yes=yes,
        as_json=as_json,
        csv_file=csv_file,
        inventory=inventory,
    )
    raise typer.Exit(code)


@app.command(rich_help_panel=LOOK)
def status(
    url: UrlOption = None,
    config: ConfigOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh until Ctrl-C.")] = False,
) -> None:
    """Show the site on one screen: power, price, rigs, pools, orders, money, and who wants attention.

    Exit code 0 when all is well, 1 when a rig wants attention, 2 when no daemon answers.

    Example: shedload status --watch --config shedload.toml
    """
    from controller.cli.client import connect
    from controller.cli.status import status

    raise typer.Exit(status(connect(url, config, token_file), as_json=as_json, watch=watch))


@app.command(rich_help_panel=LOOK)
def why(
    rig: Annotated[str, typer.Argument(metavar="RIG", help="A rig's name in the inventory.")],
    url: UrlOption = None,
    config: ConfigOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a rig is to run or to sleep, stage by stage, with the numbers that decided.

    Example: shedload why s19-007
    """
    from controller.cli.client import connect
    from controller.cli.why import why

    why(connect(url, config, token_file), rig, as_json=as_json)


@app.command(rich_help_panel=ACT, context_settings={"ignore_unknown_options": True})  # "-5kW" is told as a limit
def order(
    what: Annotated[
        list[str],
        typer.Argument(metavar="LIMIT | list | release N|all", help='"40kW", "1.2MW" or "60%" of the site\'s cap.'),
    ],
    note: Annotated[str, typer.Option("--note", help="Why, for the record.")] = "",
    author: AuthorOption = None,
    yes: YesOption = False,
    wait: WaitOption = True,
    url: UrlOption = None,
    config: ConfigOption = None,
    token_file: TokenOption = None,
) -> None:
    """Limit the whole site until the limit is released; the tightest order in force wins.

    Shows what it would mean and asks before anything happens. Needs the daemon's token, by --config or --token-file.

    Examples: shedload order 40kW --note "grid operator called"; shedload order list; shedload order release 3
    """
    from controller.cli.client import connect
    from controller.cli.order import order

    raise typer.Exit(order(connect(url, config, token_file), what, note=note, author=author, yes=yes, wait=wait))


@app.command(rich_help_panel=ACT)
def control(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="A group of the configuration.")],
    mode: Annotated[str, typer.Argument(metavar="auto|observe", help="auto commands the rigs, observe only decides.")],
    author: AuthorOption = None,
    yes: YesOption = False,
    url: UrlOption = None,
    config: ConfigOption = None,
    token_file: TokenOption = None,
) -> None:
    """Let the daemon command a group of rigs, or only watch it; kept across restarts.

    The first automatic commands go to a few rigs only, until those are seen to obey.

    Example: shedload control s19 auto --config shedload.toml
    """
    from controller.cli.client import connect
    from controller.cli.order import control

    control(connect(url, config, token_file), group, mode, author=author, yes=yes)


@app.command(rich_help_panel=TRY)
def simulate(
    farm: Annotated[Path, typer.Argument(metavar="FILE", help="Farm file.")],
    inventory: Annotated[
        Path | None, typer.Option("--inventory", "-i", help="Write the rigs as an inventory for the daemon.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print where everything is as one line of JSON.")] = False,
    until_eof: Annotated[bool, typer.Option("--until-eof", hidden=True)] = False,
) -> None:
    """Run a simulated farm until Ctrl-C: rigs, pool and meter that speak the real protocols on loopback.

    Example: shedload simulate farm.toml --inventory slots.csv
    """
    from controller.cli.simulate import simulate

    simulate(farm, inventory=inventory, as_json=as_json, until_eof=until_eof)


@app.command(rich_help_panel=TRY)
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="One day in under a minute, as lines; the exit code judges.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated machines.")] = 1,
    port: Annotated[
        int | None, typer.Option("--port", help="Port for metrics and status; by default a free one.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Put files and logs here, and leave them.")
    ] = None,
    slot: Annotated[
        float | None, typer.Option("--slot", min=0.5, max=600, help="Seconds in which an hour passes; 5 by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch the real daemon run 60 simulated rigs through a day of real prices, in two minutes.

    Needs no hardware and no network. With --once it exits 0 only if shares were accepted, rigs slept, and every
    command was confirmed or its rig named.

    Example: shedload demo --slot 60 --keep /tmp/demo
    """
    from controller.cli.demo import demo

    raise typer.Exit(demo(once=once, seed=seed, port=port, keep=keep, slot=slot, as_json=as_json))
