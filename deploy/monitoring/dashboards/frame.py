"""What all dashboards have: variables, links, events, rows; and their JSON."""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.monitoring.dashboards.panels import Panel
from deploy.monitoring.dashboards.queries import SOURCE

TITLES = {"service": "Losswire: service", "losses": "Losswire: losses", "runbooks": "Losswire: runbooks"}
_ALL = VariableOption(selected=True, text=["All"], value=["$__all"])
# Fields of annotations that Prometheus's plugin reads, and the library does not have.
_EVENTS: dict[str, dict[str, Any]] = {
    "Firing alerts": {"titleFormat": "{{alertname}}", "textFormat": "{{severity}} {{instance}}", "step": "30s"},
    "Starts": {"titleFormat": "Started", "textFormat": "{{instance}}", "useValueForTime": True},
}


def new(key: str, meaning: str) -> build.Dashboard:
    """A dashboard that only its code changes, with links to the others that keep the time and the variables."""
    made = build.Dashboard(TITLES[key]).uid(f"losswire-{key}").description(meaning).tags(["losswire"]).readonly()
    made = made.time("now-30m", "now").refresh("10s").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
    for other in [each for each in TITLES if each != key]:
        made = made.link(_link(other))
    return made


def with_source(made: build.Dashboard) -> build.Dashboard:
    return made.with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))


def with_services(made: build.Dashboard) -> build.Dashboard:
    """A dashboard with the variable ``job``. All of them are all services of Losswire, and nobody else's."""
    return made.with_variable(_choice("job", "Service", "label_values(losswire_build_info, job)"))


def with_choice(made: build.Dashboard, name: str, label: str, values: str) -> build.Dashboard:
    """A dashboard with a variable of which several values, or all, can be chosen, among those of the services chosen.

    As all there is an expression that needs no list, since a hundred series make a long one.
    """
    return made.with_variable(_choice(name, label, values).all_value(".+"))


def _choice(name: str, label: str, values: str) -> build.QueryVariable:
    query: dict[str, object] = {"qryType": 1, "query": values, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    variable = build.QueryVariable(name).label(label).datasource(SOURCE).query(query).current(_ALL).multi(multi=True)
    variable = variable.include_all(include_all=True).sort(VariableSort.ALPHABETICAL_ASC)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)


def with_events(made: build.Dashboard, matchers: str) -> build.Dashboard:
    """A dashboard that shows when alerts fired, and when servers started."""
    expressions = {
        "Firing alerts": ('ALERTS{alertname=~"Losswire.+",alertstate="firing"}', "red"),
        "Starts": (f"1000 * process_start_time_seconds{{{matchers}}}", "blue"),
    }
    for name, (expression, color) in expressions.items():
        event = build.AnnotationQuery().name(name).datasource(SOURCE).enable(enable=True)
        made = made.annotation(event.icon_color(color).expr(expression))
    return made


def with_row(made: build.Dashboard, title: str, panels: Sequence[Panel], *, closed: bool = False) -> build.Dashboard:
    """A dashboard with one more row. A closed one asks for no data until it is opened."""
    row = build.Row(title).collapsed(collapsed=closed)
    if closed:
        for panel in panels:
            row = row.with_panel(panel)
    made = made.with_row(row)
    for panel in () if closed else panels:
        made = made.with_panel(panel)
    return made


def to_json(made: build.Dashboard) -> str:
    """A dashboard as Grafana reads it, without a number of its own, which Grafana gives it."""
    told = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for number, panel in enumerate(panels_of(told), 1):
        panel["id"] = number
    for event in told.get("annotations", {}).get("list", []):
        event |= _EVENTS[event["name"]]
    return json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def panels_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    """All panels of a dashboard in JSON's types, rows and those within closed rows too."""
    found = []
    for panel in told["panels"]:
        found += [panel, *panel.get("panels", [])]
    return found


def _link(key: str) -> build.DashboardLink:
    link = build.DashboardLink(TITLES[key]).type(DashboardLinkType.LINK).url(f"/d/losswire-{key}").icon("dashboard")
    return link.include_vars(include_vars=True).keep_time(keep_time=True)
