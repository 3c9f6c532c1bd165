"""Expressions of dashboards, rules, alerts and documents: they parse, and read what there is."""

import re

import pytest

from losswire.monitoring.expressions import promql
from losswire.monitoring.figures import FIGURES
from losswire.monitoring.metrics import METRICS
from tests.documents import ROOT, fences
from tests.monitoring.boards import KEYS, expressions
from tests.monitoring.promql import labels_of, reads, recorded, rules

DOCUMENTS = [path.relative_to(ROOT) for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])]
EXPRESSIONS = {
    **{f"{key} {number}": text for key in KEYS for number, text in enumerate(expressions(key))},
    **recorded(),
    **{f"{rule['alert']} {number}": rule["expr"] for number, rule in enumerate(rules("alert"))},
    **{
        f"{document} {number}": text
        for document in DOCUMENTS
        for number, (_, _, text) in enumerate(fences(document, "promql"))
    },
    **{
        f"figure {figure.key} {curve.name}": promql(curve.expression, "5m", 'job="losswire"')
        for figure in FIGURES.values()
        for curve in figure.curves
    },
}


@pytest.mark.parametrize("key", EXPRESSIONS)
def test_expression_reads_metrics_and_labels_of_the_tables(key):
    found = reads(EXPRESSIONS[key])
    assert found
    for name, labels in found:
        known = labels_of(name)
        assert known is not None, f"no table has {name}"
        assert labels <= known, f"{name} has no {labels - known}"


@pytest.mark.parametrize("document", [*DOCUMENTS], ids=str)
def test_document_names_metrics_of_the_table(document):
    named = set(re.findall(r"`(losswire_[a-z0-9_]+|grpc_server_[a-z_]+)", (ROOT / document).read_text()))
    ours = {"losswire_client", "losswire_server"}  # packages
    assert {name for name in named - ours if name not in METRICS} == set()


def test_every_kind_of_place_has_expressions():
    assert all(any(key.startswith(kind) for key in EXPRESSIONS) for kind in ("service", "losses", "job", "Losswire"))
    assert sum(key.startswith("README.md") for key in EXPRESSIONS) == 3
    assert sum(key.startswith("docs/metrics.md") for key in EXPRESSIONS) == 5


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("up", [("up", set())]),
        ('sum by (series) (rate(a{loss="x"}[5m])) / b', [("a", {"loss", "series"}), ("b", set())]),
        ('absent(up{job="x"})', [("up", {"job"})]),
        ("max_over_time((-a)[1h:1m]) > 3", [("a", set())]),
        ('sum(rate(a{x=~"$x"}[$__rate_interval]))', [("a", {"x"})]),
    ],
)
def test_reading_finds_metrics_and_labels(expression, found):
    assert reads(expression) == found


@pytest.mark.parametrize(
    "name", ["losswire_gone_total", "losswire_row_loss", "losswire_row_loss_count", "losswire_series_bucket", "other"]
)
def test_metric_of_no_table_is_told(name):
    assert labels_of(name) is None


def test_wrong_expression_is_told():
    with pytest.raises(ValueError, match="unclosed"):
        reads("sum by (series) (rate(a[5m])")


def test_perplexity_is_of_likelihoods_alone():
    text = EXPRESSIONS["figure perplexity "]
    assert "linear_cross_entropy" in text
    assert "kl_divergence" not in text
