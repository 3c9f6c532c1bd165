"""Expressions of figures as PromQL, one for each kind of them."""

import re

import pytest

from losswire.monitoring.expressions import (
    Age,
    Difference,
    Exponential,
    Latest,
    Quantile,
    Rate,
    Ratio,
    Value,
    labels_of,
    mean,
    metrics_of,
    promql,
    split,
)

RATE = Rate("a_total", ("x",))
CASES = [
    (Rate("a_total"), "sum(rate(a_total[5m]))", {"a_total"}),
    (RATE, "sum by (x) (rate(a_total[5m]))", {"a_total"}),
    (Rate("a", where={"x": ("u",), "y": ("v", "w")}), 'sum(rate(a{x="u",y=~"v|w"}[5m]))', {"a"}),
    (Value("a", ("x", "y")), "sum by (x, y) (a)", {"a"}),
    (Age("a"), "time() - min(a)", {"a"}),
    (Quantile(0.5, "a", ("x",)), "histogram_quantile(0.5, sum by (x, le) (rate(a_bucket[5m])))", {"a"}),
    (
        mean("a", "x"),
        "sum by (x) (rate(a_sum[5m])) / sum by (x) (rate(a_count[5m]))",
        {"a_sum", "a_count"},
    ),
    (Ratio(RATE, Value("b")), "sum by (x) (rate(a_total[5m])) / on() group_left() sum(b)", {"a_total", "b"}),
    (
        Ratio(Difference(RATE, Rate("b", ("x",))), RATE),
        "(sum by (x) (rate(a_total[5m])) - sum by (x) (rate(b[5m]))) / sum by (x) (rate(a_total[5m]))",
        {"a_total", "b"},
    ),
    (Difference(Value("a"), Age("b")), "sum(a) - (time() - min(b))", {"a", "b"}),
    (
        Latest("a", "k", ("x",)),
        "max by (x) (a and on (job, instance, x) (k == on (x) group_left () max by (x) (k)))",
        {"a", "k"},
    ),
    (Exponential(Ratio(Value("a"), Value("b"))), "exp(sum(a) / sum(b))", {"a", "b"}),
]


@pytest.mark.parametrize(("expression", "text", "metrics"), CASES, ids=[text for _, text, _ in CASES])
def test_expression_as_promql(expression, text, metrics):
    assert promql(expression, "5m") == text
    assert metrics_of(expression) == metrics


def test_matchers_are_of_all_metrics():
    expression = Ratio(Rate("a", where={"x": ("u",)}), Value("b"))
    assert promql(expression, "1m", 'job="j"') == 'sum(rate(a{x="u",job="j"}[1m])) / sum(b{job="j"})'


@pytest.mark.parametrize("expression", [case[0] for case in CASES], ids=[case[1] for case in CASES])
def test_split_keeps_further_labels(expression):
    apart = split(expression, "job")
    assert labels_of(apart) == ("job", *labels_of(expression))
    assert metrics_of(apart) == metrics_of(expression)


def test_split_reaches_every_part():
    apart = promql(split(Ratio(Difference(RATE, Age("b", ("x",))), Quantile(0.5, "c", ("x",))), "job"), "5m")
    assert re.findall(r"by \((.*?)\)", apart) == ["job, x", "job, x", "job, x, le"]
