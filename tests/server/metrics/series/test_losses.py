"""Losses by series, as Prometheus would see them."""

import math
import timeit

import pytest
import torch
from prometheus_client import CollectorRegistry

import ce_engine
from losswire import v1
from losswire.dtypes import FLOATING
from losswire.losses import LOSSES
from losswire.monitoring.buckets import ROW_LOSSES
from losswire.monitoring.labels import TRANSPORTS
from losswire_server.metrics.series.losses import LossMetrics
from losswire_server.metrics.series.sums import MAX_SUM, UNSUMMED
from losswire_server.requests.ends import Evaluated, Labels


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(registry, clock):
    return LossMetrics(registry, max_series=2, idle_seconds=60, clock=clock)


def response(loss_sum=1.0, weight_sum=2.0, **numbers):
    return v1.EvaluateResponse(loss_sum=loss_sum, weight_sum=weight_sum, row_count=3, ignored_count=1, **numbers)


def count(metrics, *responses, series="", tally=None, dtype="float32", transport="unary"):
    labels = Labels("cross_entropy", series, dtype, transport)
    metrics.count(Evaluated(labels, responses or [response()], tally=tally))


def tally(losses, nonfinite_count=0):
    counts = torch.tensor([sum(loss <= bound for loss in losses) for bound in ROW_LOSSES])
    return ce_engine.Tally(counts, len(losses), nonfinite_count, sum(losses), len(losses))


def value(registry, name, series="default", **labels):
    return registry.get_sample_value(f"losswire_{name}", {"loss": "cross_entropy", "series": series, **labels})


def rows(registry, series="default", dtype="float32", transport="unary", **labels):
    return value(registry, "rows_total", series, dtype=dtype, transport=transport, **labels)


def test_sums_give_the_exact_mean(registry, metrics):
    count(metrics, response(1.0, 2.0), series="a")
    count(metrics, response(5.0, 1.0), series="a")
    count(metrics, response(7.0, 7.0))
    assert value(registry, "loss_sum_total", "a") == 6
    assert value(registry, "weight_sum_total", "a") == 3
    assert value(registry, "loss_sum_total") == 7
    assert value(registry, "ignored_rows_total", "a") == 2


def test_evaluations_together_count_as_many(registry, metrics):
    count(metrics, response(1.0, 2.0), response(2.0, 3.0), response(3.0, 4.0))
    assert value(registry, "loss_sum_total") == 6
    assert value(registry, "weight_sum_total") == 9
    assert rows(registry) == 9


def test_rows_are_told_by_dtype_and_transport(registry, metrics):
    count(metrics, dtype="float16", transport="stream", series="a")
    count(metrics, dtype="float64", transport="pack", series="a")
    assert rows(registry, "a", "float16", "stream") == 3
    assert rows(registry, "a", "float64", "pack") == 3
    assert rows(registry, "a", "float32", "unary") is None


def test_losses_of_rows_are_counted_by_their_bounds(registry, metrics):
    count(metrics, series="a", tally=tally([0.3, 2.0, 500.0]))
    count(metrics, series="a", tally=tally([0.3]))
    bounds = {"0.25": 0, "0.375": 2, "1.5": 2, "2.0": 3, "128.0": 3, "+Inf": 4}
    assert {le: value(registry, "row_loss_bucket", "a", le=le) for le in bounds} == bounds
    assert value(registry, "row_loss_bucket", "a", le="+Inf") == 4
    assert value(registry, "row_loss_sum", "a") is None  # it could fall


def test_signed_losses_leave_counters_monotonic(registry, metrics):
    sums = [(3.0, 2.0), (-1.0, 2.0), (-4.0, -1.0), (0.0, 1.0)]
    seen = []
    for loss, weight in sums:
        count(metrics, response(loss, weight))
        names = ("loss_sum_total", "negative_loss_sum_total", "weight_sum_total", "negative_weight_sum_total")
        seen.append([value(registry, name) for name in names])
    assert seen == [[3, 0, 2, 0], [3, 1, 4, 0], [3, 5, 4, 1], [3, 5, 5, 1]]
    positive, negative, weight, negative_weight = seen[-1]
    assert (positive - negative) / (weight - negative_weight) == sum(a for a, _ in sums) / sum(b for _, b in sums)


def test_rows_that_are_not_finite_poison_no_sum(registry, metrics):
    count(metrics, response(math.nan, 4.0), series="a", tally=tally([0.5, 1.5], nonfinite_count=2))
    count(metrics, response(1.0, 1.0), series="a", tally=tally([1.0]))
    assert value(registry, "nonfinite_rows_total", "a") == 2
    assert value(registry, "loss_sum_total", "a") == 3
    assert value(registry, "weight_sum_total", "a") == 3
    assert value(registry, "row_loss_bucket", "a", le="+Inf") == 3
    assert all(value(registry, "unsummed_evaluations_total", "a", reason=reason) == 0 for reason in UNSUMMED)


def test_evaluations_that_are_left_out_together_count_as_many(registry, metrics):
    count(metrics, response(math.nan, 4.0), response(1.0, 1.0), tally=tally([2.0**41], nonfinite_count=1))
    assert value(registry, "loss_sum_total") == 0
    assert value(registry, "unsummed_evaluations_total", reason="immense") == 2


def test_predictions_are_counted_where_asked_for(registry, metrics):
    count(metrics, response(), response(), series="a")
    count(metrics, response(correct_count=2), response(correct_count=0), series="a")
    assert value(registry, "predicted_rows_total", "a") == 6
    assert value(registry, "correct_rows_total", "a") == 2


def test_series_past_limit_are_other(registry, metrics):
    for name in ("a", "b", "c", "d", "a"):
        count(metrics, series=name)
    assert value(registry, "loss_sum_total", "a") == 2
    assert value(registry, "loss_sum_total", "other") == 2
    assert value(registry, "loss_sum_total", "c") is None
    assert registry.get_sample_value("losswire_series") == 2


def test_idle_series_makes_room(registry, metrics, clock):
    for name in ("a", "b"):
        count(metrics, series=name)
    clock.now = 50
    count(metrics, series="b")
    clock.now = 100
    count(metrics, series="c")
    count(metrics, series="d")
    assert value(registry, "loss_sum_total", "a") is None
    assert [value(registry, "loss_sum_total", name) for name in ("b", "c", "other")] == [2, 1, 1]
    assert {key[0] for key in metrics.began} == {"b", "c", "other"}


def test_idle_series_is_shown_no_more(registry, metrics, clock):
    count(metrics, series="a")
    count(metrics)
    clock.now = 61
    assert value(registry, "loss_sum_total", "a") is None
    assert value(registry, "loss_sum_total") == 1
    assert registry.get_sample_value("losswire_series") == 0
    count(metrics, series="a")
    assert value(registry, "loss_sum_total", "a") == 1
    assert metrics.began["a", "cross_entropy"] == 61


def test_all_metrics_of_a_series_are_of_one_time(metrics):
    count(metrics, series="a", tally=tally([1.0]))
    reading = metrics.collect()
    first = next(reading)
    count(metrics, series="a", tally=tally([1.0]))
    samples = [
        sample for metric in (first, *reading) for sample in metric.samples if sample.labels.get("series") == "a"
    ]
    seen = {sample.name: sample.value for sample in samples}
    assert (seen["losswire_loss_sum_total"], seen["losswire_weight_sum_total"]) == (1, 2)
    assert (seen["losswire_rows_total"], seen["losswire_row_loss_bucket"]) == (3, 1)


def test_names_past_the_limit_cost_the_same_with_many_names(registry, clock):
    limit = 10_000
    metrics = LossMetrics(registry, max_series=limit, idle_seconds=60, clock=clock)
    for number in range(limit):
        count(metrics, series=f"{number}")
    known = min(timeit.repeat(lambda: count(metrics, series="0"), number=10, repeat=50))
    refused = min(timeit.repeat(lambda: count(metrics, series="x"), number=10, repeat=50))
    assert refused < 10 * known  # a look at all names takes 200 times as long
    clock.now = 61
    anew = min(timeit.repeat(lambda: count(metrics, series="x"), number=1, repeat=1))
    assert anew < limit * known  # all are forgotten at once, each by itself
    assert set(metrics.began) == {("x", "cross_entropy"), ("x", "cross_entropy", "float32", "unary")} | {
        part for part in metrics.began if part[0] == "other"
    }


def test_losses_of_a_series_are_forgotten_one_by_one(registry, metrics, clock):
    count(metrics, series="a")
    clock.now = 50
    metrics.count(Evaluated(Labels("nll_loss", "a", "float32", "unary"), [response()]))
    clock.now = 61
    assert value(registry, "loss_sum_total", "a") is None
    assert value(registry, "loss_sum_total", "a", loss="nll_loss") == 1
    assert registry.get_sample_value("losswire_series") == 1


@pytest.mark.parametrize(
    ("loss_sum", "weight_sum", "reason"),
    [
        (math.nan, 1.0, "nonfinite"),
        (-math.inf, 1.0, "nonfinite"),
        (1.0, math.nan, "nonfinite"),
        (-1.0, math.inf, "nonfinite"),
        (2.0**40 + 1, 1.0, "immense"),
        (-(2.0**40) - 1, 1.0, "immense"),
        (1.0, 2.0**40 + 1, "immense"),
        (1e300, 1e300, "immense"),
    ],
)
@pytest.mark.parametrize("series", ["default", "a", "other"])
def test_unsummed_evaluations_have_a_reason(registry, metrics, loss_sum, weight_sum, reason, series):
    for name in ("x", "y") if series == "other" else ():
        count(metrics, series=name)
    before = value(registry, "loss_sum_total", series) or 0
    for each in (response(loss_sum, weight_sum), response(3.0, 4.0)):
        count(metrics, each, series=series if series != "other" else "z")
    counted = {each: value(registry, "unsummed_evaluations_total", series, reason=each) for each in UNSUMMED}
    assert counted == dict.fromkeys(UNSUMMED, 0) | {reason: 1}
    assert value(registry, "loss_sum_total", series) - before == 3
    assert value(registry, "weight_sum_total", series) == 4


@pytest.mark.parametrize("before", [1, 2**13])
def test_small_losses_count_after_the_largest_that_are_summed(registry, metrics, before):
    count(metrics, *[response(MAX_SUM, MAX_SUM)] * before)
    for _ in range(10_000):
        count(metrics, response(0.01, 0.25))
    for name, added in (("loss", 100), ("weight", 2500)):
        total = value(registry, f"{name}_sum_total")
        assert total - before * MAX_SUM == pytest.approx(added, abs=math.ulp(total))  # a digit is 2 at most


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("metrics")
def test_counters_are_there_from_the_start(registry, loss):
    shown = [rows(registry, dtype=dtype, transport=way, loss=loss) for dtype in FLOATING for way in TRANSPORTS]
    assert shown == [0] * len(shown)
    assert value(registry, "loss_sum_total", loss=loss) == 0
    assert value(registry, "nonfinite_rows_total", loss=loss) == 0
    assert value(registry, "unsummed_evaluations_total", loss=loss, reason="nonfinite") == 0
    assert value(registry, "row_loss_bucket", loss=loss, le="1.0") == 0
