"""Panels of figures."""

from collections.abc import Sequence
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as frame
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.monitoring.dashboards.look import Look
from deploy.monitoring.dashboards.queries import SOURCE, queries_of, queries_of_curves, query
from losswire.losses import LOSSES
from losswire.monitoring.expressions import labels_of
from losswire.monitoring.figure import Curve, Figure
from losswire.monitoring.figures import FIGURES
from losswire.monitoring.labels import CODES, ERROR_CODES

UNITS = {
    "per second": "si:/s",
    "seconds": units.Seconds,
    "bytes": units.BytesIEC,
    "bytes per second": units.BytesPerSecondIEC,
    "ratio": units.PercentUnit,
    "count": units.Short,
    "loss": units.NoUnit,
    "cores": units.NoUnit,
}
_CODE_COLORS = {  # an answer, the server's fault or a lack of time, the caller's fault
    "green": ("OK",),
    "red": ERROR_CODES,
    "orange": tuple(sorted({*CODES} - {"OK", *ERROR_CODES})),
}
_MOST = ("budget", "limit", "total")  # curves of what there may be

Panel = timeseries.Panel | stat.Panel | bargauge.Panel | heatmap.Panel | table.Panel
P = TypeVar("P", timeseries.Panel, stat.Panel, bargauge.Panel, heatmap.Panel, table.Panel)


def panel_of(look: Look, matchers: str) -> Panel:
    """The panel of a figure."""
    figure = FIGURES[look.figure]
    targets = queries_of(look, matchers)
    match look.kind:
        case "stat":
            return _limited(stat_panel(figure.title, figure.meaning, UNITS[figure.unit], targets), look)
        case "bars":
            return _limited(_bars(figure, targets), look)
        case "table":
            return _limited(_table(figure, targets), look)
        case "band":
            return _band(figure, look, matchers)
        case _:
            return _lines(figure, targets, look)


def dressed(panel: P, title: str, meaning: str, unit: str, targets: Sequence[prometheus.Dataquery]) -> P:
    """What every panel has."""
    dressed = panel.title(title).description(meaning).unit(unit).datasource(SOURCE)
    return dressed.targets(list(targets)).no_value("no data")


def sized(panel: P, width: int, height: int) -> P:
    return panel.span(width).height(height)


def stat_panel(title: str, meaning: str, unit: str, targets: Sequence[prometheus.Dataquery]) -> stat.Panel:
    """A large number, and a line of how it was."""
    panel = dressed(stat.Panel(), title, meaning, unit, targets)
    panel = panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.AREA)
    return panel.reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))


def line_panel(title: str, meaning: str, unit: str, targets: Sequence[prometheus.Dataquery]) -> timeseries.Panel:
    """Curves over time, with a table of them and a tooltip of all."""
    panel = dressed(timeseries.Panel(), title, meaning, unit, targets)
    legend = build.VizLegendOptions().display_mode(common.LegendDisplayMode.TABLE).show_legend(show_legend=True)
    legend = legend.placement(common.LegendPlacement.BOTTOM).calcs(["lastNotNull", "mean", "max"])
    tooltip = build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    panel = panel.legend(legend.sort_by("Last *").sort_desc(sort_desc=True)).tooltip(tooltip)
    return panel.line_width(1).fill_opacity(8).show_points(common.VisibilityMode.NEVER)


def heat_panel(title: str, meaning: str, unit: str, expression: str) -> heatmap.Panel:
    """How many observations of a histogram fell into each of its buckets, over time."""
    target = query(expression, "{{le}}").format(PromQueryFormat.HEATMAP)
    panel = dressed(heatmap.Panel(), title, meaning, "si:/s", [target]).calculate(calculate=False)
    return panel.y_axis(heatmap.YAxisConfig().unit(unit)).mode(common.TooltipDisplayMode.SINGLE).show_legend()


def thresholds(warn: float | None, bad: float | None) -> frame.ThresholdsConfig:
    steps = [Threshold(None, "green")]
    steps += [Threshold(value, color) for value, color in ((warn, "orange"), (bad, "red")) if value is not None]
    return frame.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def fixed(color: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": FieldColorModeId.FIXED, "fixedColor": color})


def _shades(color: str) -> DynamicConfigValue:
    return DynamicConfigValue("color", {"mode": FieldColorModeId.SHADES, "fixedColor": color})


def _lines(figure: Figure, targets: Sequence[prometheus.Dataquery], look: Look) -> timeseries.Panel:
    panel = line_panel(figure.title, figure.meaning, UNITS[figure.unit], targets)
    if look.from_zero:
        panel = panel.axis_soft_min(0)
    if look.kind == "stacked":
        panel = panel.stacking(build.StackingConfig().mode(common.StackingMode.NORMAL)).fill_opacity(40)
    if "grpc_code" in labels_of(figure.curves[0].expression):
        for color, codes in _CODE_COLORS.items():
            panel = panel.override_by_regexp(f"/\\b({'|'.join(codes)})$/", [_shades(color)])
    if any(curve.name in _MOST for curve in figure.curves):
        panel = panel.override_by_regexp(f"/\\b({'|'.join(_MOST)})$/", [fixed("red"), *_dashed()])
    if look.warn is not None or look.bad is not None:
        panel = panel.thresholds_style(build.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return _limited(panel, look)


def _band(figure: Figure, look: Look, matchers: str) -> timeseries.Panel:
    """The area between the outer quantiles, with the mean on top. One panel for each series."""
    curves = (*figure.curves, *(Curve("mean", each.expression) for each in FIGURES["mean_loss"].curves))
    targets = queries_of_curves(curves, matchers, "{{loss}}")
    panel = line_panel("$series", figure.meaning, UNITS[figure.unit], targets).repeat("series").max_per_row(3)
    panel = panel.repeat_direction("h").fill_opacity(0)
    outer = [DynamicConfigValue("custom.lineWidth", 0), fixed("light-blue")]
    for loss in LOSSES:  # an area leads to a curve by its name in the legend
        to_p10 = [DynamicConfigValue("custom.fillBelowTo", f"{loss} p10"), DynamicConfigValue("custom.fillOpacity", 25)]
        panel = panel.override_by_name(f"{loss} p90", outer + to_p10).override_by_name(f"{loss} p10", outer)
    panel = panel.override_by_regexp("/p50$/", [fixed("blue"), *_dashed()])
    panel = panel.override_by_regexp("/mean$/", [fixed("orange"), DynamicConfigValue("custom.lineWidth", 2)])
    return _limited(panel, look)


def _dashed() -> list[DynamicConfigValue]:
    return [
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
        DynamicConfigValue("custom.fillOpacity", 0),
    ]


def _bars(figure: Figure, targets: Sequence[prometheus.Dataquery]) -> bargauge.Panel:
    panel = dressed(bargauge.Panel(), figure.title, figure.meaning, UNITS[figure.unit], targets).min(0).max(1)
    panel = panel.orientation(common.VizOrientation.HORIZONTAL).display_mode(common.BarGaugeDisplayMode.BASIC)
    return panel.reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))


def _table(figure: Figure, targets: Sequence[prometheus.Dataquery]) -> table.Panel:
    told = [target.instant().format(PromQueryFormat.TABLE) for target in targets]
    panel = dressed(table.Panel(), figure.title, figure.meaning, UNITS[figure.unit], told)
    return panel.override_by_name("Time", [DynamicConfigValue("custom.hidden", value=True)])


def _limited(panel: P, look: Look) -> P:
    panel = panel.thresholds(thresholds(look.warn, look.bad))
    return sized(panel.no_value(look.nothing) if look.nothing else panel, look.width, look.height)
