"""What the panels of Grafana's dashboards ask Prometheus, as Grafana would ask it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

INTERVALS = {"__rate_interval": "10s", "__interval": "5s", "__range": "1m", "__range_s": "60", "__interval_ms": "5000"}
ANY = ".+"  # what a variable stands for of which all values are chosen


class Expression(NamedTuple):
    """A query of a panel."""

    dashboard: str
    panel: str
    text: str


def expressions(folder: Path) -> list[Expression]:
    """The queries of all panels of all dashboards in a folder."""
    found = []
    for file in sorted(folder.glob("*.json")):
        found += expressions_of(json.loads(file.read_text()))
    return found


def expressions_of(dashboard: dict[str, Any]) -> list[Expression]:
    """The queries of a dashboard, in which all variables have values."""
    values = INTERVALS | {each["name"]: value(each) for each in dashboard.get("templating", {}).get("list", [])}
    return [
        Expression(dashboard["title"], panel.get("title", ""), filled_in(target["expr"], values))
        for panel in panels(dashboard)
        for target in panel.get("targets", [])
        if target.get("expr")
    ]


def panels(holder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels of a dashboard, also those in rows."""
    for panel in holder.get("panels", []):
        yield panel
        yield from panels(panel)
    for row in holder.get("rows", []):
        yield from panels(row)


def value(variable: dict[str, Any]) -> str:
    """What a variable stands for: what is chosen, or everything."""
    chosen = variable.get("current", {}).get("value")
    if (
        variable["type"] in ("interval", "custom", "constant", "textbox")
        and isinstance(chosen, str)
        and chosen[:1] != "$"
    ):
        return chosen
    return variable.get("allValue") or ANY


def filled_in(text: str, values: dict[str, str]) -> str:
    """A query in which variables, as in $name, ${name:regex} and [[name]], have their values."""

    def replacement(found: re.Match[str]) -> str:
        return values[next(filter(None, found.groups()))]

    return re.sub(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}|\[\[(\w+)(?::\w+)?\]\]", replacement, text)
