"""The Site dashboard: what one site draws and why, what its rigs do, who needs a hand, what it earns, how we are."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units

from dashboards.parts import (
    BLUE,
    GREEN,
    GREY,
    GROUP,
    HALF,
    ORANGE,
    PURPLE,
    RATE,
    RED,
    SITE,
    YELLOW,
    Line,
    figure,
    lines,
    marks,
    rows,
    variable,
)

UID = "shedload-site"
CURRENCY = f"* on (site) group_left (currency) shedload_build_info{{{SITE}}}"
STATES = {
    "hashing": GREEN,
    "ramping": YELLOW,
    "asleep": BLUE,
    "idle": ORANGE,
    "offline": RED,
    "unknown": GREY,
}


def site_dashboard() -> dashboard.Dashboard:
    """The whole dashboard."""
    board = dashboard.Dashboard("shedload: Site").uid(UID).tags(["shedload"]).editable()
    board = board.description("Power, price, rigs, pools and money of one site. Built by `python -m dashboards`.")
    board = board.refresh("30s").time("now-6h", "now").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    board = board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board = board.with_variable(variable("site", "Site", "label_values(shedload_build_info, site)"))
    board = board.with_variable(
        variable("group", "Group", f"label_values(shedload_rigs{{{SITE}}}, group)", several=True)
    )
    for mark in (
        marks("Order in force", f"shedload_orders{{{SITE}}} > 0", RED),
        marks("Power held back", f"sum by (site) (shedload_curtailed_watts{{{SITE}}}) > 0", ORANGE),
        marks("Daemon restarted", f"changes(process_start_time_seconds{{{SITE}}}[2m]) > 0", PURPLE),
    ):
        board = board.annotation(mark)
    for build in (_now, _power, _rigs, _work, _health):
        board = build(board)
    return board


def _now(board: dashboard.Dashboard) -> dashboard.Dashboard:
    board = board.with_row(dashboard.Row("Now"))
    board = board.with_panel(
        figure(
            "Site power",
            "By the meter; while it is silent, what rigs and base load are believed to draw.",
            units.Watt,
            f"shedload_site_power_watts{{{SITE}}} or shedload_site_power_estimated_watts{{{SITE}}}",
        )
    )
    board = board.with_panel(
        figure(
            "Share of the limit",
            "Site power as a share of the tightest limit in force, cap or order.",
            units.PercentUnit,
            f"(shedload_site_power_watts{{{SITE}}} or shedload_site_power_estimated_watts{{{SITE}}})"
            f" / shedload_site_power_limit_watts{{{SITE}}}",
            steps=((0.98, YELLOW), (1.0, RED)),
        )
    )
    board = board.with_panel(
        figure(
            "Price per kWh",
            "Price in force, in the site's currency, before tariff.",
            units.NoUnit,
            f"shedload_price_per_kilowatt_hour{{{SITE}}}",
            decimals=4,
        )
    )
    board = board.with_panel(
        figure(
            "Rigs hashing",
            "Share of the chosen groups' rigs that hash.",
            units.PercentUnit,
            f'sum(shedload_rigs{{{GROUP}, state="hashing"}}) / sum(shedload_rigs{{{GROUP}}})',
        )
    )
    board = board.with_panel(
        figure(
            "Rigs that need a hand",
            "Offline, refusing, contested or suspicious; a rig may count for more than one.",
            units.Short,
            f'sum(shedload_rigs{{{SITE}, state="offline"}})'
            f' + sum(shedload_rigs_obstructed{{{SITE}, reason=~"refusing|contested"}})'
            f" + sum(shedload_rigs_suspicious{{{SITE}}})",
            steps=((1, YELLOW), (10, RED)),
        )
    )
    return board.with_panel(
        figure(
            "Gained",
            "Margin over always having been on, since the ledger began, in the site's currency.",
            units.NoUnit,
            f"shedload_ledger_gained{{{SITE}}}",
            decimals=2,
        )
    )


def _power(board: dashboard.Dashboard) -> dashboard.Dashboard:
    board = board.with_row(dashboard.Row("Power and price"))
    board = board.with_panel(
        lines(
            "Power and its limits",
            "The meter against what binds it. Estimate: what rigs and base load are believed to draw. Target: what "
            "the site draws once the present plan is carried out.",
            units.Watt,
            Line(f"shedload_site_power_watts{{{SITE}}}", "Meter"),
            Line(f"shedload_site_power_estimated_watts{{{SITE}}}", "Estimate"),
            Line(f"shedload_site_power_target_watts{{{SITE}}}", "Target"),
            Line(f"shedload_site_power_limit_watts{{{SITE}}}", "Limit in force"),
            Line(f"shedload_site_power_cap_watts{{{SITE}}}", "Cap"),
            place=HALF,
            colours={"Meter": BLUE, "Estimate": GREY, "Target": GREEN, "Limit in force": ORANGE, "Cap": RED},
        )
    )
    return board.with_panel(
        lines(
            "Price and break-even",
            "Per kWh. Above the strike, the break-even of the median steered rig, hashing loses money.",
            units.NoUnit,
            Line(f"shedload_price_per_kilowatt_hour{{{SITE}}} {CURRENCY}", "Price, {{currency}}"),
            Line(f"shedload_strike_per_kilowatt_hour{{{SITE}}} {CURRENCY}", "Break-even, {{currency}}"),
            place=HALF,
            from_zero=False,
        )
    )


def _rigs(board: dashboard.Dashboard) -> dashboard.Dashboard:
    board = board.with_row(dashboard.Row("Rigs"))
    board = board.with_panel(
        lines(
            "Rigs by state",
            "What is believed of the chosen groups' rigs. Offline: no good reading for longer than stale_after.",
            units.Short,
            Line(f"sum by (state) (shedload_rigs{{{GROUP}}})", "{{state}}"),
            stacked=True,
            colours=STATES,
        )
    )
    board = board.with_panel(
        lines(
            "Hashrate",
            "By the rigs' own account, against what the present plan should give.",
            units.HashesPerSecond,
            Line(f"sum(shedload_group_hashrate_hashes_per_second{{{GROUP}}})", "Reported"),
            Line(f"sum(shedload_group_hashrate_expected_hashes_per_second{{{GROUP}}})", "Expected"),
            colours={"Reported": BLUE, "Expected": GREEN},
        )
    )
    board = board.with_panel(
        lines(
            "Power held back",
            "What commanded rigs would draw and do not, by the reason of their decision.",
            units.Watt,
            Line(f"sum by (reason) (shedload_curtailed_watts{{{SITE}}}) > 0", "{{reason}}"),
            stacked=True,
        )
    )
    board = board.with_panel(
        lines(
            "Commands",
            "States that commands reached. Only a reading confirms.",
            units.Short,
            Line(f"sum by (state) (increase(shedload_commands_total{{{SITE}}}[{RATE}]))", "{{state}}"),
            colours={"confirmed": GREEN, "contradicted": RED, "expired": ORANGE, "refused": RED},
        )
    )
    board = board.with_panel(
        lines(
            "Hottest chips",
            "The ten hottest rigs of the chosen groups.",
            units.Celsius,
            Line(f"topk(10, shedload_rig_chip_temperature_celsius{{{GROUP}}})", "{{rig}}"),
            steps=((90, ORANGE), (95, RED)),
            from_zero=False,
        )
    )
    return board.with_panel(
        rows(
            "Who needs a hand",
            "Rigs to look at, and why; `shedload why RIG` says more.",
            f"(shedload_rig_attention{{{GROUP}}}"
            f' or label_replace(shedload_rig_up{{{GROUP}}} == 0, "reason", "offline", "", ""))'
            f" * on (site, group, rig) group_left (model) shedload_rig_info{{{GROUP}}}",
            columns=("rig", "reason", "model", "group"),
        )
    )


def _work(board: dashboard.Dashboard) -> dashboard.Dashboard:
    board = board.with_row(dashboard.Row("Pools and money"))
    board = board.with_panel(
        lines(
            "Shares",
            "Of the rigs that this daemon feeds, as the pools answered; lost: nobody knows the answer.",
            units.CountsPerSecond,
            Line(f"sum by (pool) (rate(shedload_pool_shares_accepted_total{{{SITE}}}[{RATE}]))", "{{pool}} accepted"),
            Line(f"sum by (pool) (rate(shedload_pool_shares_rejected_total{{{SITE}}}[{RATE}]))", "{{pool}} rejected"),
            Line(f"sum by (pool) (rate(shedload_pool_shares_lost_total{{{SITE}}}[{RATE}]))", "{{pool}} lost"),
        )
    )
    board = board.with_panel(
        lines(
            "Nonces of serial rigs",
            "By our own judgement, before any pool hears of them.",
            units.CountsPerSecond,
            Line(f"sum by (verdict) (rate(shedload_serial_nonces_total{{{SITE}}}[{RATE}]))", "{{verdict}}"),
            colours={"share": GREEN, "below_target": BLUE, "hardware_error": RED},
        )
    )
    return board.with_panel(
        lines(
            "Money",
            "Since the ledger began. Earned: reported hashrate times the configured hashprice, an estimate. Gained: "
            "margin over always having been on.",
            units.NoUnit,
            Line(f"shedload_ledger_earned{{{SITE}}} {CURRENCY}", "Earned, {{currency}}"),
            Line(f"shedload_ledger_cost{{{SITE}}} {CURRENCY}", "Cost of power, {{currency}}"),
            Line(f"shedload_ledger_gained{{{SITE}}} {CURRENCY}", "Gained, {{currency}}"),
            from_zero=False,
        )
    )


def _health(board: dashboard.Dashboard) -> dashboard.Dashboard:
    board = board.with_row(dashboard.Row("The daemon itself"))
    board = board.with_panel(
        lines(
            "Readings",
            "Readings of rigs, by result.",
            units.CountsPerSecond,
            Line(f"sum by (result) (rate(shedload_readings_total{{{SITE}}}[{RATE}]))", "{{result}}"),
            stacked=True,
            colours={"good": GREEN},
        )
    )
    board = board.with_panel(
        lines(
            "Delays",
            "How late readings and timers are in the worst of a hundred cases, and how long a control cycle takes.",
            units.Seconds,
            Line(_p99("shedload_reading_lateness_seconds"), "Readings, p99"),
            Line(_p99("shedload_event_loop_lag_seconds"), "Event loop, p99"),
            Line(f"shedload_control_cycle_duration_seconds{{{SITE}}}", "Control cycle"),
        )
    )
    return board.with_panel(
        lines(
            "Processor",
            "Share of one core that the daemon uses.",
            units.PercentUnit,
            Line(f"rate(process_cpu_seconds_total{{{SITE}}}[{RATE}])", "Processor"),
        )
    )


def _p99(histogram: str) -> str:
    return f"histogram_quantile(0.99, sum by (le) (rate({histogram}_bucket{{{SITE}}}[{RATE}])))"
