"""The runbooks of the alerts, where whoever is woken reads them: in Grafana, without another page to find."""

import re

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import text
from grafana_foundation_sdk.models.text import TextMode

from deploy.monitoring.dashboards.frame import new

_TITLE = re.compile(r"^# .*\n+")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")  # to files, which Grafana does not have


def dashboard(operations: str) -> build.Dashboard:
    """The dashboard, from the document of operations."""
    content = _LINK.sub(r"\1", _TITLE.sub("", operations))
    panel = text.Panel().title("Runbooks").mode(TextMode.MARKDOWN).content(content)
    made = new("runbooks", "What each alert means, what to look at, and what to do.")
    return made.with_panel(panel.description("docs/operations.md").span(24).height(40))
