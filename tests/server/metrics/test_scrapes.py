"""Scrapes of metrics: Prometheus sees a new series at 0 first, and every other client its present value."""

import urllib.request
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

import ce_engine
from losswire import v1
from losswire.monitoring.buckets import ROW_LOSSES
from losswire_client import Client
from losswire_server.metrics.scrapes import MAX_SCRAPERS, NEW_SECONDS, Scrapes
from losswire_server.metrics.series.losses import LossMetrics
from losswire_server.requests.ends import Evaluated, Labels
from tests.helpers import serving

PARSERS = text_string_to_metric_families, openmetrics.text_string_to_metric_families
LOSS, WEIGHT = "losswire_loss_sum_total", "losswire_weight_sum_total"


def sums(text: str, series: str) -> tuple[float | None, ...]:
    """Loss and weight of a series; None if the series is missing."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    mine = [sample for sample in samples if sample.labels == {"series": series, "loss": "cross_entropy"}]
    return tuple(next((sample.value for sample in mine if sample.name == name), None) for name in (LOSS, WEIGHT))


class Metrics:
    """The metrics of a server whose clock is moved by hand."""

    def __init__(self) -> None:
        self.now, self.registry = 0.0, CollectorRegistry()
        self._losses = LossMetrics(self.registry, 10, clock=lambda: self.now)
        self._scrapes = Scrapes(self.registry, self._losses.began, lambda: self.now)

    def add(self, series: str, loss_sum: float = 3.0, weight_sum: float = 2.0, dtype: str = "float32") -> None:
        response = v1.EvaluateResponse(loss_sum=loss_sum, weight_sum=weight_sum, row_count=1)
        counts = torch.tensor([bound >= 3.0 for bound in ROW_LOSSES]).long()
        tally = ce_engine.Tally(counts, 1, 0, loss_sum, weight_sum)
        labels = Labels("cross_entropy", series, dtype, "unary")
        self._losses.count(Evaluated(labels, [response], tally=tally))

    def text(self, address: str = "10.0.0.1", query: str = "", **headers: str) -> str:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/metrics", "QUERY_STRING": query, "REMOTE_ADDR": address}
        answer: Any = lambda *_: None  # noqa: E731
        return b"".join(self._scrapes(environ | headers, answer)).decode()

    def scrape(self, series: str, address: str = "10.0.0.1", query: str = "") -> tuple[float | None, ...]:
        return sums(self.text(address, query, HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS="10"), series)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.mark.parametrize("query", ["", f"name[]={LOSS}&name[]={WEIGHT}"])
@pytest.mark.parametrize("series", ["a", "default"])
def test_new_series_is_seen_at_0_first(metrics, series, query):
    metrics.scrape(series)
    metrics.add(series)
    assert metrics.scrape(series, query=query) == (0, 0)
    metrics.add(series)
    assert metrics.scrape(series, query=query) == (6, 4)
    assert metrics.scrape(series, query=query) == (6, 4)


def test_every_scraper_sees_it_at_0(metrics):
    metrics.add("a")
    assert [metrics.scrape("a", f"10.0.0.{i}") for i in range(3)] == [(0, 0)] * 3
    assert [metrics.scrape("a", f"10.0.0.{i}") for i in range(3)] == [(3, 2)] * 3


def test_scrapes_of_some_metrics_each_see_it_at_0(metrics):
    metrics.add("a")
    queries = [f"name[]={LOSS}", f"name[]={WEIGHT}"]
    assert [metrics.scrape("a", query=query) for query in queries] == [(0, None), (None, 0)]
    assert [metrics.scrape("a", query=query) for query in queries] == [(3, None), (None, 2)]


def test_other_readers_take_no_0_away(metrics):
    metrics.add("a")
    assert [sums(metrics.text(), "a") for _ in range(3)] == [(3, 2)] * 3
    assert metrics.scrape("a") == (0, 0)


def test_old_series_is_seen_as_it_is(metrics):
    metrics.add("a")
    metrics.now += NEW_SECONDS
    assert metrics.scrape("a") == (3, 2)


def test_series_is_never_seen_to_fall(metrics):
    metrics.scrape("a")
    metrics.add("a")
    seen = []
    while metrics.now < 3 * NEW_SECONDS:
        seen.append(metrics.scrape("a")[0])
        metrics.now += 40
        metrics.scrape("a", f"10.0.1.{len(seen)}")
    assert seen == [0] + [3] * (len(seen) - 1)


def test_series_amid_a_scrape_is_seen_at_0(metrics, monkeypatch):
    collect = metrics.registry.collect

    def beginning():
        metrics.add("late")
        return collect()

    monkeypatch.setattr(metrics.registry, "collect", beginning)
    assert metrics.scrape("late") == (0, 0)
    assert metrics.scrape("late") == (0, 0)
    assert metrics.scrape("late") == (9, 6)


def test_forgotten_scraper_sees_the_present(metrics):
    metrics.add("a")
    seen = [metrics.scrape("a", f"scraper {i}") for i in range(MAX_SCRAPERS + 2)]
    assert seen == [(0, 0)] * MAX_SCRAPERS + [(3, 2)] * 2
    metrics.now += NEW_SECONDS
    metrics.add("b")
    assert metrics.scrape("b", "another") == (0, 0)


@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
@pytest.mark.parametrize("version", ["abc", "1..0", "-1", "", "1.x", "9" * 5000, "\u0663.0.0"])
def test_absurd_version_is_answered(metrics, kind, version):
    metrics.add("a")
    for accept in (f"{kind}; version={version}", f"{kind};version={version};q=0.5,text/plain;version=0.0.4"):
        assert LOSS in metrics.text(HTTP_ACCEPT=accept)


def test_version_that_is_asked_for_is_answered(metrics):
    asked = "application/openmetrics-text; version=1.0.0; escaping=underscores;q=0.8,text/plain;version=0.0.4;q=0.2"
    assert metrics.text(HTTP_ACCEPT=asked).endswith("# EOF\n")
    assert "# EOF" not in metrics.text(HTTP_ACCEPT="text/plain;version=0.0.4;q=0.2")


def test_unsummed_evaluations_begin_at_0(metrics):
    metrics.add("a", float("nan"))
    line = 'losswire_unsummed_evaluations_total{loss="cross_entropy",reason="nonfinite",series="a"}'
    asked = {"HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": "10"}
    assert f"{line} 0.0" in metrics.text(**asked)
    assert f"{line} 1.0" in metrics.text(**asked)


def test_rows_of_a_new_dtype_begin_at_0(metrics):
    asked = {"HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": "10"}
    for _ in range(2):
        metrics.add("a")
        metrics.text(**asked)
    metrics.add("a", dtype="float16")
    seen = [metrics.text(**asked) for _ in range(2)]
    line = 'losswire_rows_total{{dtype="{}",loss="cross_entropy",series="a",transport="unary"}} {}'
    assert all(line.format("float32", 2.0) in text for text in seen)
    assert [line.format("float16", number) in text for text, number in zip(seen, (0.0, 1.0), strict=True)] == [True] * 2


def test_losses_of_rows_begin_at_0(metrics):
    metrics.add("a")
    asked = {"HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS": "10"}
    seen = [metrics.text(**asked) for _ in range(2)]
    for bound in ("4.0", "+Inf"):
        lines = [f'losswire_row_loss_bucket{{le="{bound}",loss="cross_entropy",series="a"}} {n}' for n in (0.0, 1.0)]
        assert [line in text for line, text in zip(lines, seen, strict=True)] == [True, True]


def test_metrics_are_right_by_both_formats(metrics):
    metrics.add("a", -3.0)
    seen = [metrics.text(), metrics.text(HTTP_ACCEPT="application/openmetrics-text")]
    names = [{family.name for family in parse(text)} for parse, text in zip(PARSERS, seen, strict=True)]
    assert names[0] == names[1] >= {"losswire_loss_sum", "losswire_row_loss"}


def test_server_shows_a_series_at_0_first():
    with serving() as server, Client(f"127.0.0.1:{server.port}") as client:
        loss = client.cross_entropy([[1.0, 2.0]], [0], series="once").loss_sum
        address = f"http://127.0.0.1:{server.metrics_port}/metrics"
        asked = urllib.request.Request(address, headers={"X-Prometheus-Scrape-Timeout-Seconds": "10"})
        seen = [sums(urllib.request.urlopen(each).read().decode(), "once") for each in (address, asked, asked)]
    assert seen == [(loss, 1), (0, 0), (loss, 1)]
