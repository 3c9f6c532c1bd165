"""What expressions of PromQL read: metrics, and the labels that they need."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser
import yaml

from losswire.monitoring.metric import Metric
from losswire.monitoring.metrics import METRICS
from tests.documents import ROOT

TARGET = {"job", "instance"}  # labels that Prometheus gives to what it scrapes
OF_PROMETHEUS = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
OF_THE_CLIENT = {  # prometheus_client's own, of a process
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
}
_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h"}


def without_variables(expression: str) -> str:
    """An expression of a dashboard as Prometheus would get it, but for values of labels."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def reads(expression: str) -> list[tuple[str, set[str]]]:
    """The metrics of an expression, each with the labels that it is chosen or grouped by."""
    return list(_reads(promql_parser.parse(without_variables(expression)), frozenset()))


def _reads(node: promql_parser.Expr, kept: frozenset[str]) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql_parser.VectorSelector():
            yield node.name or "", {*kept, *(matcher.name for matcher in node.matchers.matchers)}
        case promql_parser.MatrixSelector():
            yield from _reads(node.vector_selector, kept)
        case promql_parser.AggregateExpr():
            yield from _reads(node.expr, kept | set(node.modifier.labels if node.modifier else ()))
        case promql_parser.BinaryExpr():
            yield from _reads(node.lhs, kept)
            yield from _reads(node.rhs, kept)
        case promql_parser.Call():
            for argument in node.args:
                yield from _reads(argument, frozenset() if node.func.name == "absent" else kept)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _reads(node.expr, kept)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            raise TypeError(f"an unknown part of an expression: {node}")


def labels_of(name: str) -> set[str] | None:
    """The labels that a metric may have by the tables and rules; None if no table has it."""
    if name in OF_PROMETHEUS:
        return OF_PROMETHEUS[name] | TARGET
    if name in OF_THE_CLIENT:
        return TARGET
    if name in recorded():
        return set(name.partition(":")[0].split("_"))
    histogram, _, part = name.rpartition("_")
    if histogram in METRICS and part in parts(METRICS[histogram]):
        return {*METRICS[histogram].labels, *TARGET, *(["le"] if part == "bucket" else [])}
    return {*METRICS[name].labels, *TARGET} if name in METRICS and METRICS[name].kind != "histogram" else None


def parts(metric: Metric) -> tuple[str, ...]:
    """What Prometheus knows of a histogram. One with buckets below 0 has no sum, and so no count."""
    if metric.kind != "histogram":
        return ()
    return ("bucket",) if metric.buckets[0] < 0 else ("bucket", "sum", "count")


def rule_files() -> list[str]:
    return sorted(path.name for path in (ROOT / "deploy/prometheus").glob("*.rules.yml"))


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules that record, or all that alert."""
    texts = [(ROOT / "deploy/prometheus" / name).read_text() for name in rule_files()]
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


@cache
def recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in rules("record")}
