"""The dashboard of a service: is it healthy, is it fast, where does the time go?"""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units

from deploy.monitoring.dashboards.frame import new, with_choice, with_events, with_row, with_services, with_source
from deploy.monitoring.dashboards.look import Look
from deploy.monitoring.dashboards.panels import (
    UNITS,
    Panel,
    heat_panel,
    line_panel,
    panel_of,
    sized,
    stat_panel,
    thresholds,
)
from deploy.monitoring.dashboards.queries import WINDOW, query
from deploy.monitoring.objectives import OBJECTIVES, Objective
from losswire.monitoring.expressions import Quantile, Rate, Ratio, Value, promql
from losswire.monitoring.figures import FIGURES

MATCHERS = 'job=~"$job",instance=~"$instance"'
_SECONDS = "grpc_server_handling_seconds"
_BURNS = ("5m", "1h", "6h")
ROWS: Mapping[str, tuple[Look, ...]] = {
    "Traffic": (
        *(Look("calls"), Look("evaluations"), Look("rows")),
        *(Look("bytes"), Look("messages"), Look("under_way")),
    ),
    "Errors": (
        *(Look("error_ratio", warn=0.001, bad=0.01), Look("codes", "stacked"), Look("failed_calls")),
        *(Look("refused"), Look("pack_codes", "stacked"), Look("connections_ended")),
    ),
    "Saturation": (
        *(Look("use_of_limits", "bars", warn=0.7, bad=0.9), Look("inflight")),
        *(Look("queue_use", split=("instance",), warn=0.7, bad=0.9), Look("shared_memory", width=6)),
        *(Look("leases", width=6), Look("cpu", width=6, split=("instance",))),
        Look("resident", width=6, split=("instance",)),
    ),
    "Latency": (
        *(Look("latency", width=12, exemplars=True), Look("mean_latency", width=6)),
        Look("evaluation_seconds", width=6),
    ),
    "Where the time goes": (
        *(Look("stage_share", "stacked", width=12), Look("stage_mean", width=6)),
        Look("stage_p99", width=6, exemplars=True),
    ),
    "Batching": (
        *(Look("launches"), Look("launch_rows"), Look("launch_requests")),
        *(Look("queued_rows", width=12, split=("instance",)), Look("launch_retries", width=12)),
    ),
    "Runs": (
        *(Look("run_entries", "stacked", nothing="no runs"), Look("run_commit_seconds", nothing="no runs")),
        *(Look("run_commit_entries", width=4, nothing="no runs"), Look("run_store_failures", width=4, warn=1e-9)),
    ),
    "GPU": (  # each server counts its own from cuda:0
        Look("device_memory", width=12, split=("instance",)),
        Look("device_utilization", width=12, split=("instance",), warn=0.99),
    ),
    "Servers": (
        *(Look("builds", "table", width=8), Look("uptime", "stat", width=4, split=("instance",))),
        *(Look("processes", "stat", width=4, nothing="one"), Look("process_restarts", nothing="one process")),
    ),
    "Heads": (
        *(Look("heads", width=6), Look("head_bytes", width=9), Look("head_registrations", width=9)),
        *(Look("head_evictions", width=12), Look("head_misses", width=12)),
    ),
    "Security": (Look("unauthenticated"), Look("failed_reloads", warn=1e-9)),
}
CLOSED = {"Runs", "Heads", "GPU", "Security"}  # not everybody has them


def dashboard() -> build.Dashboard:
    """The dashboard, without its number."""
    made = with_source(new("service", "Is the service healthy, is it fast, and where does the time go?"))
    made = with_services(made)
    made = with_choice(made, "instance", "Server", 'label_values(losswire_build_info{job=~"$job"}, instance)')
    made = with_events(made, MATCHERS)
    made = with_row(made, "At a glance", _glance())
    made = with_row(made, "Objectives", [_burn_panel(objective) for objective in OBJECTIVES])
    for title, looks in ROWS.items():
        panels = [*_before(title), *(panel_of(look, MATCHERS) for look in looks), *_after(title)]
        made = with_row(made, title, panels, closed=title in CLOSED)
    return made


def _before(title: str) -> list[Panel]:
    """Panels that stand before those of figures in a row."""
    if title != "Latency":
        return []
    buckets = promql(Rate(f"{_SECONDS}_bucket", ("le",)), WINDOW, MATCHERS)
    meaning = "Calls of all methods, by the time from their start to their end."
    return [sized(heat_panel("Calls by their time", meaning, units.Seconds, buckets), 24, 8)]


def _after(title: str) -> list[Panel]:
    """Panels that stand after those of figures in a row."""
    if title != "Security":
        return []
    left = f"min by (instance) (losswire_certificate_expiry_timestamp_seconds{{{MATCHERS}}}) - time()"
    meaning = "Time until the certificate in use, or one of its chain, expires. Only with TLS."
    panel = stat_panel("Certificate expires in", meaning, units.Seconds, [query(left, "{{instance}}")])
    day = 86400
    steps = thresholds(14 * day, None).build().steps
    steps[0].color, steps[1].color = "red", "green"
    panel = panel.thresholds(thresholds(None, None).steps(steps))
    return [sized(panel.no_value("no TLS"), 8, 7)]


def _glance() -> list[Panel]:
    """Large numbers, which say whether to read on."""
    p99 = promql(Quantile(0.99, _SECONDS, where={"grpc_method": ("Evaluate",)}), WINDOW, MATCHERS)
    calls = promql(Rate("grpc_server_handled_total"), WINDOW, MATCHERS)
    used = promql(Ratio(Value("losswire_inflight_bytes"), Value("losswire_inflight_limit_bytes")), WINDOW, MATCHERS)
    failed = promql(FIGURES["error_ratio"].curves[0].expression, WINDOW, MATCHERS)
    alerts = 'count(ALERTS{alertname=~"Losswire.+",alertstate="firing"}) or vector(0)'
    return [
        _number("Servers up", "Servers that Prometheus can scrape.", "none", f"sum(up{{{MATCHERS}}})", (None, None)),
        _number("Firing alerts", "Alerts of Losswire that fire now.", "none", alerts, (None, 1)),
        _number("Calls", "Calls that ended.", UNITS["per second"], calls, (None, None)),
        _number("Calls that failed", FIGURES["error_ratio"].meaning, UNITS["ratio"], failed, (0.001, 0.01)),
        _number("Evaluate, p99", "99th percentile of the time of Evaluate.", units.Seconds, p99, (0.2, 1)),
        _number("Budget of bytes in use", FIGURES["inflight"].meaning, UNITS["ratio"], used, (0.7, 0.9)),
    ]


def _number(title: str, meaning: str, unit: str, expression: str, limits: tuple[float | None, float | None]) -> Panel:
    panel = stat_panel(title, meaning, unit, [query(expression, title)])
    return sized(panel.thresholds(thresholds(*limits)), 4, 4)


def _burn_panel(objective: Objective) -> Panel:
    """How fast an objective's budget is used up. At 1 it lasts 30 days."""
    told = [
        query(f'{objective.recorded}{window}{{job=~"$job"}} / {objective.budget:g}', f"{{{{job}}}} {window}", ref)
        for window, ref in zip(_BURNS, "ABC", strict=True)
    ]
    meaning = (
        f"{objective.calls[0].upper()}{objective.calls[1:]} that {objective.meaning} have a budget: "
        f"{100 * objective.budget:g}% of all in 30 days. At 1 it lasts 30 days, and at 2 half of them. "
        "Alerts fire at 14.4 in 1h, 6 in 6h, 3 in a day, 1 in 3 days."
    )
    panel = line_panel(f"{objective.key}: use of its budget", meaning, UNITS["count"], told).axis_soft_min(0)
    return sized(panel.thresholds(thresholds(1, 14.4)), 12, 7)
