"""What is written, by the file that it is in."""

from collections.abc import Mapping
from pathlib import Path

from deploy.monitoring import metrics_page, rules
from deploy.monitoring.dashboards import losses, runbooks, service
from deploy.monitoring.dashboards.frame import to_json

_DASHBOARDS, _RULES = "deploy/grafana/dashboards", "deploy/prometheus"


def written(root: Path) -> Mapping[str, str]:
    """The texts that the tables and the documents in a repository give."""
    operations = (root / "docs/operations.md").read_text()
    return {
        "docs/metrics.md": metrics_page.page((root / "docs/metrics.md").read_text()),
        f"{_DASHBOARDS}/service.json": to_json(service.dashboard()),
        f"{_DASHBOARDS}/losses.json": to_json(losses.dashboard()),
        f"{_DASHBOARDS}/runbooks.json": to_json(runbooks.dashboard(operations)),
        f"{_RULES}/recording.rules.yml": rules.recording(),
        f"{_RULES}/objectives.rules.yml": rules.burning(),
    }
