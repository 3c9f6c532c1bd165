"""The metrics of a live server are those of the table, with all values of their labels from the start."""

from itertools import product
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry

from losswire.monitoring.labels import CODES, RUN_OUTCOMES, STAGES, TRANSPORTS
from losswire.monitoring.metric import Metric
from losswire.monitoring.metrics import METRICS
from losswire_server.errors import Refusal
from losswire_server.metrics.calls import TYPES
from losswire_server.metrics.connections import EndReason
from losswire_server.metrics.processes import ProcessMetrics
from losswire_server.metrics.resources import process_registry
from losswire_server.metrics.security import FILES, REFUSALS
from losswire_server.metrics.series.sums import UNSUMMED
from losswire_server.metrics.stages import STAGES_OF_STEPS
from losswire_server.requests.ends import Transport
from losswire_server.server import SERVICES
from tests.helpers import serving

LIBRARYS = ("process_", "python_")  # metrics of Prometheus's library


@pytest.fixture(scope="module")
def shown():
    """The samples of a server that nobody has called, by metric."""
    with serving() as server:
        families = [*server.registry.collect(), *ProcessMetrics(lambda: 1).registry.collect()]
    return {family_name(family): family for family in families if not family.name.startswith(LIBRARYS)}


def family_name(family):
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def test_server_has_the_metrics_of_the_table(shown):
    elsewhere = {metric.name for metric in METRICS.values() if metric.only in ("with a GPU", "with TLS")}
    assert set(shown) == METRICS.keys() - elsewhere
    for name, family in shown.items():
        assert (family.type, family.documentation) == (METRICS[name].kind, METRICS[name].meaning)


def test_labels_are_those_of_the_table(shown):
    for name, family in shown.items():
        metric = METRICS[name]
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            labels = {label: value for label, value in sample.labels.items() if label != "le"}
            assert labels.keys() == metric.labels.keys(), sample.name
            for label, value in labels.items():
                allowed = metric.labels[label]
                assert allowed is None or value in allowed, sample


def test_all_values_of_labels_are_there_from_the_start(shown):
    for name, family in shown.items():
        metric = METRICS[name]
        if metric.kind in ("counter", "histogram"):
            seen = {tuple(sample.labels[label] for label in metric.labels) for sample in family.samples}
            assert seen == expected(metric), name


def expected(metric: Metric) -> set[tuple[str, ...]]:
    values = {**metric.labels, "series": ("default",)}
    if "grpc_method" in metric.labels:
        codes = [(code,) for code in CODES] if "grpc_code" in metric.labels else [()]
        methods = [
            (TYPES[method.client_streaming, method.server_streaming], service.full_name, method.name)
            for service in SERVICES
            for method in service.methods
        ]
        return {(*method, *code) for method, code in product(methods, codes)}
    return set(product(*(values[label] or () for label in metric.labels)))


def test_buckets_are_those_of_the_table(shown):
    for name, family in shown.items():
        if METRICS[name].kind == "histogram":
            bounds = {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}
            assert bounds == {*METRICS[name].buckets, float("inf")}


def test_reasons_of_refusals_are_those_of_errors():
    assert METRICS["losswire_refused_calls_total"].labels["reason"] == get_args(Refusal)


def test_sets_of_the_code_are_those_of_the_table():
    """Types need their values spelled out; a value that the table lacks would fail only when it is first counted."""
    assert get_args(Transport) == TRANSPORTS
    assert set(STAGES_OF_STEPS.values()) == set(STAGES)
    assert get_args(EndReason) == METRICS["losswire_connections_ended_total"].labels["reason"]
    assert METRICS["losswire_unauthenticated_calls_total"].labels["reason"] == REFUSALS
    assert METRICS["losswire_run_entries_total"].labels["outcome"] == RUN_OUTCOMES
    assert METRICS["losswire_failed_reloads_total"].labels["file"] == FILES
    assert METRICS["losswire_unsummed_evaluations_total"].labels["reason"] == UNSUMMED


def test_process_has_no_metric_of_ours():
    registry: CollectorRegistry = process_registry()
    assert all(family.name.startswith(LIBRARYS) for family in registry.collect())
