"""The dashboard of losses: what do the models' losses do?"""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.monitoring.dashboards.frame import new, with_choice, with_events, with_row, with_services, with_source
from deploy.monitoring.dashboards.look import Look
from deploy.monitoring.dashboards.panels import UNITS, Panel, dressed, heat_panel, panel_of, sized
from deploy.monitoring.dashboards.queries import WINDOW, query
from losswire.monitoring.expressions import Rate, promql
from losswire.monitoring.figures import FIGURES

SERVERS = 'job=~"$job"'
MATCHERS = f'{SERVERS},series=~"$series",loss=~"$loss"'
ROWS: Mapping[str, tuple[Look, ...]] = {
    "Mean loss": (Look("mean_loss", width=12, height=9, from_zero=False), Look("perplexity", width=12, height=9)),
    "Losses of rows, by series": (Look("loss_quantiles", "band", height=8, from_zero=False),),
    "Quality": (
        *(Look("nonfinite_rows", width=6, warn=1e-9), Look("unsummed", width=6, warn=1e-9)),
        *(Look("top1", width=6, nothing="not asked for"), Look("ignored_rows", width=6)),
    ),
    "Rows": (Look("series_rows", "stacked", width=16), Look("series_in_use", matchers=SERVERS)),
    "Latest runs": (
        *(
            Look("run_progress", "bars", matchers=SERVERS, nothing="no numbers"),
            Look("run_keys", matchers=SERVERS),
        ),
        *(Look("run_mean_loss", matchers=SERVERS, from_zero=False), Look("run_rows", matchers=SERVERS)),
        *(Look("run_nonfinite_rows", matchers=SERVERS, warn=1e-9), Look("run_finished", "stat", matchers=SERVERS)),
    ),
}
_CLOSED = {"Latest runs"}  # not everybody has them
_COLUMNS = {  # of the table, by figure
    "mean_loss": "Mean loss",
    "loss_quantiles": "Median of rows",
    "perplexity": "Perplexity",
    "top1": "Top-1",
    "series_rows": "Rows",
    "nonfinite_rows": "Not finite",
}


def dashboard() -> build.Dashboard:
    """The dashboard, without its number."""
    made = with_source(new("losses", "What do the losses of the models do? One series is one name that callers give."))
    made = with_services(made)
    made = with_choice(made, "series", "Series", f"label_values(losswire_rows_total{{{SERVERS}}}, series)")
    chosen = f'losswire_rows_total{{{SERVERS},series=~"$series"}}'
    made = with_choice(made, "loss", "Loss", f"label_values({chosen}, loss)")
    made = with_events(made, SERVERS)
    made = with_row(made, "Over the time shown", [_table()])
    for title, looks in ROWS.items():
        made = with_row(made, title, [panel_of(look, MATCHERS) for look in looks], closed=title in _CLOSED)
    return with_row(made, "All rows together", [_heat()])


def _table() -> Panel:
    """A line for each series, with its numbers over the whole time shown."""
    curves = {key: FIGURES[key].curves[1 if key == "loss_quantiles" else 0].expression for key in _COLUMNS}
    targets = [
        query(promql(expression, "$__range", MATCHERS), "", ref).instant().format(PromQueryFormat.TABLE)
        for ref, expression in zip("ABCDEF", curves.values(), strict=True)
    ]
    names = {f"Value #{ref}": title for ref, title in zip("ABCDEF", _COLUMNS.values(), strict=True)}
    meaning = "Each series and loss over the time shown: the exact mean, an estimate of the rows' median, and rates."
    panel = dressed(table.Panel(), "Series", meaning, UNITS["loss"], targets).decimals(4)
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    order = {"excludeByName": {"Time": True}, "renameByName": names}
    panel = panel.with_transformation(DataTransformerConfig(id_val="organize", options=order))
    for key, title in _COLUMNS.items():
        panel = panel.override_by_name(title, [DynamicConfigValue("unit", UNITS[FIGURES[key].unit])])
    return sized(panel, 24, 8)


def _heat() -> Panel:
    """The losses of all chosen rows, by the histogram's buckets."""
    buckets = promql(Rate("losswire_row_loss_bucket", ("le",)), WINDOW, MATCHERS)
    meaning = "Rows of the chosen series, by their loss. Choose one loss: others have other scales."
    return sized(heat_panel("Rows by their loss", meaning, units.NoUnit, buckets), 24, 9)
