import math

import pytest
from prometheus_client import CollectorRegistry

from losswire import v1
from losswire.losses import LOSSES
from losswire_server.metrics.losses import MAX_SUM, REASONS, LossMetrics

UNSUMMED = "losswire_unsummed_evaluations_total"


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return LossMetrics(registry, max_series=2)


def count(metrics, loss_sum=1.0, weight_sum=2.0, series=""):
    response = v1.EvaluateResponse(loss_sum=loss_sum, weight_sum=weight_sum, row_count=3, ignored_count=1)
    metrics.count("cross_entropy", series, [response], 0.5)


def value(registry, name, **labels):
    return registry.get_sample_value(name, {"loss": "cross_entropy", **labels})


def test_sums_give_the_exact_mean(registry, metrics):
    count(metrics, 1.0, 2.0, "a")
    count(metrics, 5.0, 1.0, "a")
    count(metrics, 7.0, 7.0)
    assert value(registry, "losswire_loss_sum_total", series="a") == 6
    assert value(registry, "losswire_weight_sum_total", series="a") == 3
    assert value(registry, "losswire_loss_sum_total", series="default") == 7
    assert value(registry, "losswire_rows_total") == 9
    assert value(registry, "losswire_ignored_rows_total") == 3
    assert value(registry, "losswire_evaluation_seconds_sum") == 1.5


def test_evaluations_together_count_as_many(registry, metrics):
    sums = [(1.0, 2.0), (math.nan, 1.0), (3.0, 4.0)]
    responses = [v1.EvaluateResponse(loss_sum=loss, weight_sum=weight, row_count=3) for loss, weight in sums]
    metrics.count("cross_entropy", "", responses, 0.75)
    assert value(registry, "losswire_loss_sum_total", series="default") == 4
    assert value(registry, "losswire_weight_sum_total", series="default") == 6
    assert value(registry, UNSUMMED, series="default", reason="nonfinite") == 1
    assert value(registry, "losswire_rows_total") == 9
    assert value(registry, "losswire_evaluation_seconds_count") == 3
    assert value(registry, "losswire_evaluation_seconds_sum") == 0.75
    assert value(registry, "losswire_evaluation_seconds_bucket", le="0.5") == 3


def test_series_past_limit_are_other(registry, metrics):
    for name in ("a", "b", "c", "d", "a"):
        count(metrics, series=name)
    assert value(registry, "losswire_loss_sum_total", series="a") == 2
    assert value(registry, "losswire_loss_sum_total", series="other") == 2
    assert value(registry, "losswire_loss_sum_total", series="c") is None


@pytest.mark.parametrize(
    ("loss_sum", "weight_sum", "reason"),
    [
        (math.nan, 1.0, "nonfinite"),
        (math.inf, 1.0, "nonfinite"),
        (-math.inf, 1.0, "nonfinite"),
        (1.0, math.nan, "nonfinite"),
        (-1.0, math.inf, "nonfinite"),
        (-1.0, 1.0, "negative"),
        (1.0, -1.0, "negative"),
        (2.0**40 + 1, 1.0, "immense"),
        (1.0, 2.0**40 + 1, "immense"),
        (1e15, 1.0, "immense"),
        (1e300, 1e300, "immense"),
    ],
)
@pytest.mark.parametrize("series", ["default", "a", "other"])
def test_unsummed_evaluations_have_a_reason(registry, metrics, loss_sum, weight_sum, reason, series):
    for name in ("x", "y") if series == "other" else ():
        count(metrics, series=name)
    count(metrics, loss_sum, weight_sum, series if series != "other" else "z")
    count(metrics, 3.0, 4.0, series if series != "other" else "z")
    counted = {each: value(registry, UNSUMMED, series=series, reason=each) for each in REASONS}
    assert counted == dict.fromkeys(REASONS, 0) | {reason: 1}
    assert value(registry, "losswire_loss_sum_total", series=series) == 3
    assert value(registry, "losswire_weight_sum_total", series=series) == 4
    assert sum(value(registry, UNSUMMED, series="default", reason=each) for each in REASONS) == (series == "default")


@pytest.mark.parametrize("before", [1, 2**13])
def test_small_losses_count_after_the_largest_that_are_summed(registry, metrics, before):
    largest = v1.EvaluateResponse(loss_sum=MAX_SUM, weight_sum=MAX_SUM)
    metrics.count("cross_entropy", "", [largest] * before, 0.5)
    for _ in range(10_000):
        count(metrics, 0.01, 0.25)
    for name, added in (("loss", 100), ("weight", 2500)):
        total = value(registry, f"losswire_{name}_sum_total", series="default")
        assert total - before * MAX_SUM == pytest.approx(added, abs=math.ulp(total))  # a digit is 2 at most


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("metrics")
def test_counters_are_there_from_the_start(registry, loss):
    assert registry.get_sample_value("losswire_rows_total", {"loss": loss}) == 0
    assert registry.get_sample_value("losswire_loss_sum_total", {"loss": loss, "series": "default"}) == 0
    assert value(registry, UNSUMMED, loss=loss, series="default", reason="nonfinite") == 0
