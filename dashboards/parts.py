"""Panels and queries with the conventions of every dashboard here: one look, descriptions, units, one data source.

Every selector names the site; queries have their refId; nothing names a data source by a uid of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The data source that the reader chose."""
SITE = 'site="$site"'
GROUP = f'{SITE}, group=~"$group"'
RATE = "$__rate_interval"

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE, GREY = "green", "yellow", "orange", "red", "blue", "purple", "text"


@dataclass(frozen=True, slots=True)
class Line:
    """One query and how its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Width and height in Grafana's grid of 24 columns."""

    width: int
    height: int = 8


STAT, HALF, THIRD = Place(4, 4), Place(12), Place(8)


def lines(
    title: str,
    text: str,
    unit: str,
    *queries: Line,
    place: Place = THIRD,
    stacked: bool = False,
    colours: Mapping[str, str] | None = None,
    steps: Sequence[tuple[float, str]] = (),
    from_zero: bool = True,
) -> timeseries.Panel:
    """Values over time; `colours` by legend, `steps` are thresholds drawn as lines."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).datasource(SOURCE)
    panel = panel.height(place.height).span(place.width).line_width(1).fill_opacity(40 if stacked else 8)
    panel = panel.legend(
        common.VizLegendOptions()
        .display_mode(common_model.LegendDisplayMode.LIST)
        .placement(common_model.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel = panel.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    if from_zero:
        panel = panel.min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if steps:
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(
            name, [model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    for letter, query in _lettered(queries):
        panel = panel.with_target(_query(letter, query))
    return panel


def figure(
    title: str,
    text: str,
    unit: str,
    expr: str,
    *,
    steps: Sequence[tuple[float, str]] = (),
    decimals: int | None = None,
) -> stat.Panel:
    """One number, now."""
    panel = stat.Panel().title(title).description(text).unit(unit).datasource(SOURCE)
    panel = panel.height(STAT.height).span(STAT.width).color_mode(common_model.BigValueColorMode.VALUE)
    panel = panel.graph_mode(common_model.BigValueGraphMode.AREA).thresholds(_thresholds(steps))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.with_target(_query("A", Line(expr)))


def rows(title: str, text: str, expr: str, *, columns: Sequence[str], place: Place = THIRD) -> table.Panel:
    """Labels of what a query finds now, one row a series."""
    panel = table.Panel().title(title).description(text).unit("none").datasource(SOURCE)
    panel = panel.height(place.height).span(place.width).no_value("none")
    keep = model.DataTransformerConfig(
        "filterFieldsByName", options={"include": {"names": list(columns)}, "byVariable": False}
    )
    order = model.DataTransformerConfig(
        "organize", options={"indexByName": {name: place for place, name in enumerate(columns)}}
    )
    query = _query("A", Line(expr)).instant().format(PromQueryFormat.TABLE)
    return panel.with_transformation(keep).with_transformation(order).with_target(query)


def marks(name: str, expr: str, colour: str) -> dashboard.AnnotationQuery:
    """Regions over all panels while a query finds something."""
    query = dashboard.AnnotationQuery().name(name).enable(True).datasource(SOURCE)
    return query.icon_color(colour).expr(expr)


def variable(
    name: str, label: str, query: str, *, several: bool = False, metric_source: model.DataSourceRef = SOURCE
) -> dashboard.QueryVariable:
    """A choice that the reader has, filled from label values."""
    choice = dashboard.QueryVariable(name).label(label).query(query).datasource(metric_source)
    choice = choice.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
    return choice.multi(True).include_all(True).all_value(".*") if several else choice


def _query(letter: str, query: Line) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
    return target.legend_format(query.legend) if query.legend else target


def _lettered(queries: Sequence[Line]) -> list[tuple[str, Line]]:
    return [(chr(ord("A") + place), query) for place, query in enumerate(queries)]


def _thresholds(steps: Sequence[tuple[float, str]]) -> dashboard.ThresholdsConfig:
    found = [model.Threshold(value=None, color=GREEN)]
    found += [model.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)
