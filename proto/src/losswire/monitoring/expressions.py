"""What a figure is computed from: counters, gauges and histograms of servers, over a window of time.

An expression gives one number for each combination of the labels that it keeps. It has three readers, which give the
same numbers: `promql` here for dashboards and rules, ``losswire top``, and the server's own page (by `to_json`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

Where = Mapping[str, tuple[str, ...]]  # labels, and the values that each may have


@dataclass(frozen=True)
class Rate:
    """The increase of a counter per second, added up by the labels `by`."""

    metric: str
    by: tuple[str, ...] = ()
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    """A gauge, or a counter as it stands, added up by the labels `by`."""

    metric: str
    by: tuple[str, ...] = ()
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Age:
    """Seconds since the point in time that a gauge tells; the longest, by the labels `by`."""

    metric: str
    by: tuple[str, ...] = ()
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Latest:
    """A gauge as that server tells it which has most of another gauge: `of` grows, and servers may know more or less.

    Of servers that have as much of it, the largest.
    """

    metric: str
    of: str
    by: tuple[str, ...]


@dataclass(frozen=True)
class Quantile:
    """A quantile of a histogram's observations in the window, as Prometheus estimates it."""

    q: float
    metric: str
    by: tuple[str, ...] = ()
    where: Where = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """One expression divided by another with the same labels, or by one without labels."""

    over: "Expression"
    under: "Expression"


@dataclass(frozen=True)
class Difference:
    """One expression less another with the same labels."""

    of: "Expression"
    less: "Expression"


@dataclass(frozen=True)
class Exponential:
    """e to the power of an expression."""

    power: "Expression"


Expression = Rate | Value | Age | Latest | Quantile | Ratio | Difference | Exponential


def mean(histogram: str, *by: str, where: Where | None = None) -> Ratio:
    """The mean of a histogram's observations in the window."""
    return Ratio(*(Rate(f"{histogram}_{part}", by, where or {}) for part in ("sum", "count")))


def labels_of(expression: Expression) -> tuple[str, ...]:
    """The labels that an expression keeps."""
    match expression:
        case Rate() | Value() | Age() | Latest() | Quantile():
            return expression.by
        case Ratio():
            return labels_of(expression.over)
        case Difference():
            return labels_of(expression.of)
        case Exponential():
            return labels_of(expression.power)


def split(expression: Expression, *labels: str) -> Expression:
    """The same expression for each combination of further labels."""
    match expression:
        case Rate() | Value() | Age() | Latest() | Quantile():
            return replace(expression, by=(*labels, *expression.by))
        case Ratio(over, under):
            return Ratio(split(over, *labels), split(under, *labels))
        case Difference(of, less):
            return Difference(split(of, *labels), split(less, *labels))
        case Exponential(power):
            return Exponential(split(power, *labels))


def metrics_of(expression: Expression) -> set[str]:
    """The metrics that an expression reads; those of a histogram may end with the suffixes of its parts."""
    match expression:
        case Rate() | Value() | Age() | Quantile():
            return {expression.metric}
        case Latest(metric, of):
            return {metric, of}
        case Ratio(over, under):
            return metrics_of(over) | metrics_of(under)
        case Difference(of, less):
            return metrics_of(of) | metrics_of(less)
        case Exponential(power):
            return metrics_of(power)


def promql(expression: Expression, window: str, matchers: str = "") -> str:
    """An expression as PromQL.

    Args:
        expression: The expression.
        window: Of time, as in ``5m``.
        matchers: Further ones, for all metrics, as in ``job="losswire"``.
    """
    match expression:
        case Rate(metric, by, where):
            return f"{_over('sum', by)}(rate({metric}{_selector(where, matchers)}[{window}]))"
        case Value(metric, by, where):
            return f"{_over('sum', by)}({metric}{_selector(where, matchers)})"
        case Age(metric, by, where):
            return f"time() - {_over('min', by)}({metric}{_selector(where, matchers)})"
        case Latest(metric, of, by):
            return f"{_over('max', by)}({_known_best(metric, of, by, _selector({}, matchers))})"
        case Quantile(q, metric, by, where):
            buckets = Rate(f"{metric}_bucket", (*by, "le"), where)
            return f"histogram_quantile({q:g}, {promql(buckets, window, matchers)})"
        case Ratio(over, under):
            several = labels_of(over) != labels_of(under)
            divided = " / on() group_left() " if several else " / "
            return divided.join(_operand(part, window, matchers) for part in (over, under))
        case Difference(of, less):
            return " - ".join(_operand(part, window, matchers) for part in (of, less))
        case Exponential(power):
            return f"exp({promql(power, window, matchers)})"


def to_json(expression: Expression) -> dict[str, Any]:
    """An expression in JSON's types: its fields, and its kind."""
    fields = {name: getattr(expression, name) for name in asdict(expression)}
    told = {name: to_json(value) if isinstance(value, Expression) else value for name, value in fields.items()}
    return {"kind": type(expression).__name__.lower(), **told}


def _known_best(metric: str, of: str, by: tuple[str, ...], selector: str) -> str:
    """The series of those servers that have most of `of`."""
    names = ", ".join(by)
    most = f"{of}{selector} == on ({names}) group_left () {_over('max', by)}({of}{selector})"
    same = ", ".join(dict.fromkeys(("job", "instance", *by)))
    return f"{metric}{selector} and on ({same}) ({most})"


def _operand(expression: Expression, window: str, matchers: str) -> str:
    text = promql(expression, window, matchers)
    return f"({text})" if isinstance(expression, Ratio | Difference | Age) else text


def _over(aggregation: str, by: tuple[str, ...]) -> str:
    return f"{aggregation} by ({', '.join(by)}) " if by else aggregation


def _selector(where: Where, matchers: str) -> str:
    ours = [
        f'{label}=~"{"|".join(values)}"' if len(values) > 1 else f'{label}="{values[0]}"'
        for label, values in where.items()
    ]
    every = [*ours, *filter(None, [matchers])]
    return f"{{{','.join(every)}}}" if every else ""
