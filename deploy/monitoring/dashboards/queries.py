"""Queries of panels."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from deploy.monitoring.dashboards.look import Look
from losswire.monitoring.expressions import labels_of, promql, split
from losswire.monitoring.figure import Curve
from losswire.monitoring.figures import FIGURES

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WINDOW = "$__rate_interval"  # at least four scrapes, and no less than a point of the graph stands for
_REFS = "ABCDEFGH"


def query(expression: str, legend: str, ref: str = _REFS[0]) -> prometheus.Dataquery:
    """A query over the time shown."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref).range()


def queries_of(look: Look, matchers: str) -> list[prometheus.Dataquery]:
    """The queries of a figure, one for each of its curves."""
    figure = FIGURES[look.figure]
    pairs = zip(figure.curves, _REFS, strict=False)
    told = [_query(curve, look, matchers, ref, figure.title) for curve, ref in pairs]
    return [each.exemplar(exemplar=True) for each in told] if look.exemplars else told


def queries_of_curves(curves: Sequence[Curve], matchers: str, labels: str) -> list[prometheus.Dataquery]:
    """The queries of curves, told apart by labels and their names."""
    pairs = zip(curves, _REFS, strict=False)
    return [query(promql(each.expression, WINDOW, matchers), f"{labels} {each.name}", ref) for each, ref in pairs]


def _query(curve: Curve, look: Look, matchers: str, ref: str, title: str) -> prometheus.Dataquery:
    expression = split(curve.expression, *look.split)
    labels = " ".join(f"{{{{{label}}}}}" for label in labels_of(expression))
    legend = f"{labels} {curve.name}".strip() or title
    return query(promql(expression, WINDOW, look.matchers or matchers), legend, ref)
