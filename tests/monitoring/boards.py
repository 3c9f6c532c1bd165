"""The dashboards that are committed, and what they ask for."""

import json
from typing import Any

from tests.documents import ROOT

FOLDER = ROOT / "deploy/grafana/dashboards"
KEYS = ("service", "losses")


def board(key: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{key}.json").read_text())
    return loaded


def panels(key: str) -> list[dict[str, Any]]:
    """All panels of a dashboard but rows, those of closed rows too."""
    found = [each for panel in board(key)["panels"] for each in (panel, *panel.get("panels", []))]
    return [panel for panel in found if panel["type"] != "row"]


def expressions(key: str) -> list[str]:
    """Every expression of a dashboard: of panels, events and variables."""
    told = board(key)
    variables = [each["query"]["query"] for each in told["templating"]["list"] if each["type"] == "query"]
    return [
        *(target["expr"] for panel in panels(key) for target in panel["targets"]),
        *(event["expr"] for event in told["annotations"]["list"]),
        *(query.removeprefix("label_values(").rpartition(",")[0] for query in variables),
    ]
