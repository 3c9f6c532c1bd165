"""Every figure of the table is shown, and no view has a definition of its own. Dashboards: `tests/monitoring`."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from losswire.monitoring.figures import FIGURES
from losswire_client.cli.monitor import Frame, Interval, Trends, parse, view
from losswire_server.page.table import table
from tests.documents import ROOT
from tests.server.page.expositions import exposition

PAGE = ROOT / "server/src/losswire_server/page"
MONITOR = ROOT / "client/src/losswire_client/cli/monitor"
NOT_IN_THE_TERMINAL = {  # 80 columns hold no more
    *("processes", "process_restarts"),
    *("bytes", "messages", "error_ratio", "codes", "refused", "pack_codes", "connections_ended"),
    *("use_of_limits", "queue_use", "leases", "mean_latency", "device_memory", "device_utilization"),
    *("run_entries", "run_commit_seconds", "run_commit_entries", "run_store_failures"),
    *("heads", "head_bytes", "head_registrations", "head_evictions", "head_misses"),
    *("unauthenticated", "failed_reloads", "perplexity", "ignored_rows", "series_in_use"),
}


PLACES = (  # names in the page's layout that stand before figures
    *("figure", "mean", "rows", "nonfinite", "unsummed", "busiest", "version", "uptime", "processes"),
    *("progress", "keys", "finished"),
)


class Asked(dict[Any, Any]):
    """Readings that remember which of them were asked for."""

    def __init__(self, readings: Mapping[Any, Any]) -> None:
        super().__init__(readings)
        self.keys_asked: set[str] = set()

    def __getitem__(self, column: tuple[str, str]) -> Any:
        self.keys_asked.add(column[0])
        return super().__getitem__(column)


def test_terminal_shows_the_figures():
    frame = Frame.of(Interval(parse(exposition(1), 0), parse(exposition(3), 2)))
    now, ever = Asked(frame.now), Asked(frame.ever)
    view(frame._replace(now=now, ever=ever), Trends(), "http://here/metrics")
    assert FIGURES.keys() - now.keys_asked - ever.keys_asked == NOT_IN_THE_TERMINAL


def test_page_knows_no_figure_that_the_table_lacks():
    """All others are charted as they come; `test_browser.py` looks for each of them."""
    layout = (PAGE / "static/views/layout.js").read_text()
    named = {
        *re.findall(
            rf'(?:{"|".join(PLACES)}): "(\w+)"',
            layout,
        )
    }
    named |= set(re.findall(r"^  (\w+): \{ (?:stacked|limit)", layout, re.MULTILINE))
    assert len(named) > 20
    assert named <= FIGURES.keys()
    titles = {section["title"] for section in table()["sections"]}
    (order,) = re.findall(r"const ORDER = \[(.*?)\]", layout)
    assert set(re.findall(r'"(.*?)"', order)) <= titles


@pytest.mark.parametrize("folder", [PAGE, MONITOR], ids=["page", "top"])
def test_view_names_no_metric(folder):
    sources = [path for path in folder.rglob("*.*") if path.suffix in (".py", ".js", ".html")]
    assert len(sources) > 5
    for source in sources:
        names = re.findall(r"""["'`](?:losswire|grpc_server|process)_\w+""", source.read_text())
        assert [name for name in names if not re.match(r".losswire_(server|client)", name)] == [], source
