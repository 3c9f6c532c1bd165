"""The dashboards as Grafana reads them."""

import json
import re

import pytest

from losswire.losses import LOSSES
from losswire.monitoring.figures import FIGURES
from tests.monitoring.boards import FOLDER, KEYS, board, panels

PANELS = [(key, panel) for key in KEYS for panel in panels(key)]
NAMES = [f"{key} {panel['title']}" for key, panel in PANELS]
ALL = sorted(path.stem for path in FOLDER.glob("*.json"))
BUILTIN = {"__all", "__range", "__rate_interval"}
PLUGINS = {"timeseries", "stat", "bargauge", "heatmap", "table", "text"}  # Grafana's own
each_panel = pytest.mark.parametrize(("key", "panel"), PANELS, ids=NAMES)


@pytest.mark.parametrize("key", ALL)
def test_dashboard_can_be_provisioned(key):
    told = board(key)
    assert told["uid"] == f"losswire-{key}"
    assert "id" not in told
    assert told["editable"] is False
    assert told["refresh"] == "10s"
    assert told["time"] == {"from": "now-30m", "to": "now"}
    assert {panel["type"] for panel in panels(key)} <= PLUGINS


@pytest.mark.parametrize("key", ALL)
def test_links_lead_to_the_other_dashboards(key):
    links = board(key)["links"]
    assert {link["url"] for link in links} == {f"/d/losswire-{other}" for other in ALL if other != key}
    assert all(link["includeVars"] and link["keepTime"] for link in links)


@pytest.mark.parametrize("key", ALL)
def test_nothing_comes_from_the_internet(key):
    assert re.findall(r"https?://(?!127\.0\.0\.1)", json.dumps(board(key))) == []


@pytest.mark.parametrize("key", KEYS)
def test_variables_are_those_that_are_used(key):
    told = board(key)
    defined = {variable["name"] for variable in told["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(told)))
    assert used - BUILTIN == defined


@pytest.mark.parametrize("key", KEYS)
def test_variables_start_with_all(key):
    choices = [each for each in board(key)["templating"]["list"] if each["type"] == "query"]
    assert len(choices) >= 2
    for choice in choices:
        assert choice["includeAll"]
        assert choice["multi"]
        assert choice["current"]["value"] == ["$__all"]


@pytest.mark.parametrize("key", ALL)
def test_panels_do_not_overlap(key):
    taken: set[tuple[int, int]] = set()
    for panel in board(key)["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("key", ALL)
def test_numbers_of_panels_are_unique(key):
    told = board(key)["panels"]
    numbers = [panel["id"] for each in told for panel in (each, *each.get("panels", []))]
    assert numbers == list(range(1, len(numbers) + 1))


@each_panel
def test_panel_says_what_it_shows(key, panel):  # noqa: ARG001 - the key names the test
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references) > 0


@each_panel
def test_curves_are_told_apart(key, panel):  # noqa: ARG001
    if panel["type"] == "table":
        return
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(legends)) == len(legends)
    for target in panel["targets"]:
        grouped = re.search(r"by \(([\w, ]+)\)", target["expr"])
        labels = set(grouped[1].split(", ")) - {"le"} if grouped else set()
        shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert labels - {"series"} <= shown or panel["type"] == "heatmap"


@each_panel
def test_curves_over_time_share_one_tooltip(key, panel):  # noqa: ARG001
    if panel["type"] == "timeseries":
        assert panel["options"]["tooltip"] == {"mode": "multi", "sort": "desc"}
        assert panel["options"]["legend"]["displayMode"] == "table"


def test_bands_are_filled_between_quantiles():
    (band,) = [panel for _, panel in PANELS if panel.get("repeat")]
    assert band["repeat"] == "series"
    assert [target["legendFormat"] for target in band["targets"]] == [
        f"{{{{loss}}}} {name}" for name in ("p10", "p50", "p90", "mean")
    ]
    filled = {
        override["matcher"]["options"]: each["value"]
        for override in band["fieldConfig"]["overrides"]
        for each in override["properties"]
        if each["id"] == "custom.fillBelowTo"
    }
    assert filled == {f"{loss} p90": f"{loss} p10" for loss in LOSSES}


def test_latency_shows_traced_calls():
    with_exemplars = {
        panel["title"] for _, panel in PANELS if any(target.get("exemplar") for target in panel["targets"])
    }
    assert with_exemplars == {FIGURES["latency"].title, FIGURES["stage_p99"].title}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_every_figure_has_a_panel(figure):
    assert any(figure.meaning == panel["description"] for _, panel in PANELS)


@pytest.mark.parametrize("key", KEYS)
def test_all_services_are_those_of_losswire(key):
    """Grafana lists them. An expression for all would take in whatever else Prometheus scrapes, Envoy to begin with."""
    (job,) = [each for each in board(key)["templating"]["list"] if each["name"] == "job"]
    assert job["query"]["query"] == "label_values(losswire_build_info, job)"
    assert job.get("allValue") is None


def test_gpus_of_servers_are_not_added_up():
    shown = [panel for _, panel in PANELS if "losswire_device_" in panel["targets"][0]["expr"]]
    assert [panel["title"] for panel in shown] == ["GPU memory", "GPU utilisation"]
    for panel in shown:
        for target in panel["targets"]:
            assert "by (instance, device)" in target["expr"]


def test_budgets_are_told_in_sentences():
    told = [panel["description"] for _, panel in PANELS if panel["title"].endswith("use of its budget")]
    assert [text.partition(":")[0] for text in told] == [
        "Calls that failed by the server's fault or for lack of time have a budget",
        "Calls of Evaluate that took longer than 0.2 s have a budget",
    ]
