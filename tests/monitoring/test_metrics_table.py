"""The table of metrics, and the page that is written from it."""

import re

import pytest
import torch

from deploy.monitoring.metrics_page import shown_by
from losswire.monitoring.buckets import ROW_LOSSES
from losswire.monitoring.figures import FIGURES, SECTIONS
from losswire.monitoring.metrics import FAMILIES, METRICS
from tests.documents import ROOT
from tests.monitoring.boards import KEYS, expressions
from tests.monitoring.promql import reads

PAGE = (ROOT / "docs/metrics.md").read_text()
SHOWN = {name for key in KEYS for text in expressions(key) for name, _ in reads(text)}


def parts(name: str) -> set[str]:
    return {name, *(f"{name}_{part}" for part in ("bucket", "sum", "count"))}


def test_each_name_is_there_once():
    assert len(METRICS) == sum(map(len, FAMILIES.values()))
    assert len(FIGURES) == sum(map(len, SECTIONS.values()))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_name_has_the_form_of_its_kind(metric):
    assert re.fullmatch(r"(losswire|grpc_server)_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.endswith("_info") == (metric.kind == "info")
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert re.match(r"[A-Z].*\.$", metric.meaning)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_on_the_page(name):
    assert f"| `{name}`<br>" in PAGE
    assert all(f"`{label}`" in PAGE for label in METRICS[name].labels)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_on_a_dashboard(name):
    assert parts(name) & SHOWN


def test_figures_of_a_metric():
    assert shown_by(METRICS["losswire_launch_rows"]) == ["Launches", "Rows per launch"]
    assert shown_by(METRICS["losswire_certificate_expiry_timestamp_seconds"]) == []


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_figure_has_words(figure):
    assert re.match(r"\S.*\.$", figure.meaning)
    assert len({curve.name for curve in figure.curves}) == len(figure.curves)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_bounds_of_losses_are_the_same_in_every_dtype(dtype):
    assert torch.tensor(ROW_LOSSES, dtype=dtype).tolist() == list(ROW_LOSSES)
