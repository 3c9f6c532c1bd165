"""Prometheus scrapes two servers under load: every panel has data, and every metric and label is there."""

import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from deploy.monitoring.rules import MEAN_LOSS
from losswire.monitoring.expressions import promql
from losswire.monitoring.figures import FIGURES
from losswire.monitoring.metrics import METRICS
from losswire_server import launch
from tests.helpers import eventually
from tests.monitoring.boards import KEYS, board, panels
from tests.monitoring.load import Caller, under_load
from tests.monitoring.promql import labels_of, reads, recorded, without_variables
from tests.monitoring.scraping import Prometheus, scraping
from tests.monitoring.test_expressions import EXPRESSIONS
from tests.server.secured import write_certificate, write_tokens

pytestmark = pytest.mark.slow  # Prometheus has to scrape twice, and is asked hundreds of times

WITH_A_GPU = {metric.name for metric in METRICS.values() if metric.only == "with a GPU"}
PANELS = [(key, panel) for key in KEYS for panel in panels(key) if panel["type"] != "text"]
NAMES = [f"{key} {panel['title']}" for key, panel in PANELS]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[Prometheus]:
    """One server encrypts and knows its callers; the other has two processes."""
    folder, authority = tmp_path_factory.mktemp("prometheus"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    secured: dict[str, Any] = {
        **write_certificate(folder, authority, "127.0.0.1"),
        **write_tokens(folder, known="secret", hasty=("hasty", "requests_per_second = 1")),
    }
    runs = str(folder / "runs.db")
    with launch(log_level="error", runs=runs, **secured) as one, launch(processes=2, runs=runs) as two:
        callers = Caller(one.target, folder / "ca.crt", "secret", "hasty"), Caller(two.target)
        with scraping([one.metrics_url, two.metrics_url], folder) as scraped, under_load(*callers):
            eventually(lambda: scraped.values('count(up{job="losswire"} == 1)') == [2])
            eventually(lambda: finite(scraped, "sum(rate(losswire_unsummed_evaluations_total[10s])) > 0") != [])
            yield scraped


def finite(prometheus: Prometheus, expression: str) -> list[float]:
    return [value for value in prometheus.values(expression) if math.isfinite(value)]


def asked(expression: str) -> str:
    """An expression of a dashboard in which all is chosen, over the time since the servers are there."""
    return re.sub(r"\$\w+", ".+", without_variables(expression).replace("[5m]", "[10s]").replace("[1h]", "[10s]"))


def needs_a_gpu(expression: str) -> bool:
    return any(name in WITH_A_GPU for name, _ in reads(expression))


@pytest.mark.parametrize(("key", "panel"), PANELS, ids=NAMES)
def test_panel_has_data(key, panel, prometheus):  # noqa: ARG001 - the key names the test
    for target in panel["targets"]:
        if not needs_a_gpu(target["expr"]):
            eventually(lambda: finite(prometheus, asked(target["expr"])) != [])  # noqa: B023 - called at once


@pytest.mark.parametrize("key", [key for key in EXPRESSIONS if ".md " in key])
def test_query_of_a_document_has_data(key, prometheus):
    eventually(lambda: finite(prometheus, asked(EXPRESSIONS[key])) != [])


@pytest.mark.parametrize("key", KEYS)
def test_starts_are_events(key, prometheus):
    (starts,) = [event["expr"] for event in board(key)["annotations"]["list"] if event["name"] == "Starts"]
    eventually(lambda: len(finite(prometheus, asked(starts))) == 2)


@pytest.mark.parametrize("key", KEYS)
def test_variables_have_values(key, prometheus):
    queries = [each["query"]["query"] for each in board(key)["templating"]["list"] if each["type"] == "query"]
    for query in queries:
        metric, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(", ")
        found = prometheus.labels(asked(metric))
        assert found
        assert all(label in labels for labels in found)


@pytest.mark.parametrize("name", sorted({*METRICS} - WITH_A_GPU))
def test_metric_of_the_table_is_there_with_its_labels(name, prometheus):
    shown = f"{name}_bucket" if METRICS[name].kind == "histogram" else name
    known = labels_of(shown)
    eventually(lambda: prometheus.labels(shown) != [])
    assert all(labels == known for labels in prometheus.labels(shown))


@pytest.mark.parametrize("key", EXPRESSIONS)
def test_expression_reads_what_is_there(key, prometheus):
    for name, needed in reads(EXPRESSIONS[key]):
        if name not in WITH_A_GPU | {"ALERTS"}:  # no alert fires
            eventually(lambda: prometheus.labels(name) != [])  # noqa: B023
            assert all(needed <= labels for labels in prometheus.labels(name)), (name, needed)


def test_rules_are_evaluated(prometheus):
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    eventually(lambda: all(rule["health"] == "ok" for rule in rules()))
    assert len(rules()) > len(recorded())
    eventually(lambda: all(finite(prometheus, name) for name in recorded()))


def test_servers_tell_the_same_of_a_run(prometheus):
    """Three processes add to it, of two servers. The panels show the one that knows most of it."""
    keys = promql(FIGURES["run_keys"].curves[0].expression, "10s")
    before = finite(prometheus, keys)[0]
    eventually(lambda: finite(prometheus, keys)[0] > before)
    assert len(finite(prometheus, keys)) == 1
    means = finite(prometheus, 'count_values without () ("mean", losswire_run_mean_loss)')
    assert 1 <= len(means) <= 2  # of two scrapes, a moment apart


def test_mean_below_zero_is_that_of_what_was_sent(prometheus):
    (mean,) = FIGURES["mean_loss"].curves
    expressions = [promql(mean.expression, "10s", 'series="negative"'), f'{MEAN_LOSS}{{series="negative"}}']
    for expression in expressions:
        eventually(lambda: finite(prometheus, expression) != [])  # noqa: B023 - called at once
        assert finite(prometheus, expression) == pytest.approx([-1.5])
