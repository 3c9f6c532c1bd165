"""The tables of docs/metrics.md, written from the tables of metrics and figures."""

import re
from collections.abc import Mapping, Sequence

from losswire.monitoring.expressions import metrics_of
from losswire.monitoring.figures import FIGURES
from losswire.monitoring.metric import Metric, Values
from losswire.monitoring.metrics import FAMILIES, METRICS

_BEGIN, _END = "<!-- written by make monitoring -->", "<!-- end of what is written -->"
_WRITTEN = re.compile(f"{_BEGIN}.*{_END}", re.DOTALL)
_HEADER = "| metric | labels | what it counts or tells | figures |\n|---|---|---|---|"


def page(text: str) -> str:
    """The document with its tables written anew."""
    found, count = _WRITTEN.subn(lambda _: f"{_BEGIN}\n\n{_tables()}\n{_END}", text)
    if count != 1:
        raise ValueError(f"the document has {count} places for its tables")
    return found


def shown_by(metric: Metric) -> list[str]:
    """Titles of the figures that are computed from a metric."""
    names = {metric.name, *(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))}
    figures = [
        figure.title
        for figure in FIGURES.values()
        if names & set().union(*(metrics_of(curve.expression) for curve in figure.curves))
    ]
    return sorted(set(figures))


def _tables() -> str:
    sections = [f"### {title}\n\n{_table(metrics)}" for title, metrics in FAMILIES.items()]
    return "\n".join([*sections, f"### Labels\n\n{_label_table()}"])


def _table(metrics: Sequence[Metric]) -> str:
    rows = [f"| {_name(each)} | {_labels(each.labels)} | {_meaning(each)} | {_figures(each)} |" for each in metrics]
    return "\n".join([_HEADER, *rows, ""])


def _name(metric: Metric) -> str:
    return f"`{metric.name}`<br>{metric.kind}, {metric.unit}"


def _labels(labels: Mapping[str, Values]) -> str:
    """Names of labels, with their values where this metric has values of its own."""
    shared = _shared()
    return "<br>".join(
        f"`{name}`" if shared.get(name) == values else f"`{name}`: {_values(values)}" for name, values in labels.items()
    )


def _label_table() -> str:
    rows = [f"| `{name}` | {_values(values)} |" for name, values in _shared().items()]
    return "\n".join(["| label | values |", "|---|---|", *rows, ""])


def _shared() -> dict[str, Values]:
    """Labels that have the same values in all metrics that have them."""
    found: dict[str, set[Values]] = {}
    for metric in METRICS.values():
        for name, values in metric.labels.items():
            found.setdefault(name, set()).add(values)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def _values(values: Values) -> str:
    return "any" if values is None else ", ".join(f"`{value}`" for value in values)


def _meaning(metric: Metric) -> str:
    only = f" Only {metric.only}." if metric.only else ""
    bounds = metric.buckets
    buckets = f" {len(bounds) + 1} buckets, with bounds from {bounds[0]:g} to {bounds[-1]:.7g}." if bounds else ""
    return f"{metric.meaning}{only}{buckets}"


def _figures(metric: Metric) -> str:
    return ", ".join(shown_by(metric))
