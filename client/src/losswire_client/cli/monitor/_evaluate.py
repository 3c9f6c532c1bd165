"""Computes what figures are made of from two scrapes, as Prometheus computes it from many."""

import math
from collections.abc import Callable, Mapping

from losswire.monitoring.expressions import (
    Age,
    Difference,
    Exponential,
    Expression,
    Latest,
    Quantile,
    Rate,
    Ratio,
    Value,
)
from losswire_client.cli.monitor._interval import Interval, histogram_quantile

Numbers = Mapping[tuple[str, ...], float]  # by the values of the labels that an expression keeps


def evaluate(expression: Expression, interval: Interval) -> Numbers:
    """An expression's numbers. Nothing has a number of which the server tells nothing."""
    match expression:
        case Rate(metric, by, where):
            return interval.rates(metric, *by, where=where)
        case Value(metric, by, where):
            return interval.after.sums(metric, *by, where=where)
        case Age(metric, by, where):
            earliest = interval.after.least(metric, *by, where=where)
            return {labels: interval.after.time - value for labels, value in earliest.items()}
        case Latest(metric, of, by):
            return interval.after.latest(metric, of, *by)
        case Quantile(q, metric, by, where):
            several = interval.buckets(metric, *by, where=where)
            return {labels: histogram_quantile(q, buckets) for labels, buckets in several.items()}
        case Ratio(over, under):
            return _joined(evaluate(over, interval), evaluate(under, interval), _divided)
        case Difference(of, less):
            return _joined(evaluate(of, interval), evaluate(less, interval), lambda left, right: left - right)
        case Exponential(power):
            return {labels: _exp(value) for labels, value in evaluate(power, interval).items()}


def _joined(left: Numbers, right: Numbers, join: Callable[[float, float], float]) -> Numbers:
    """Joins the numbers of the same labels. One without labels on the right goes with all on the left."""
    everywhere = right.get(())
    others = right if everywhere is None else dict.fromkeys(left, everywhere)
    return {labels: join(value, others[labels]) for labels, value in left.items() if labels in others}


def _divided(over: float, under: float) -> float:
    if under:
        return over / under
    return math.nan if over == 0 or math.isnan(over) else math.copysign(math.inf, over)


def _exp(power: float) -> float:
    try:
        return math.exp(power)
    except OverflowError:
        return math.inf
