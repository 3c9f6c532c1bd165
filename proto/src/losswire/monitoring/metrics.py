"""The table of metrics. The server makes them from it; documents and dashboards name no others."""

from collections.abc import Mapping

from losswire.monitoring.call_metrics import CALLS, SECURITY
from losswire.monitoring.evaluation_metrics import EVALUATIONS, LOSS_SUMS
from losswire.monitoring.metric import Metric
from losswire.monitoring.resource_metrics import HEADS, LAUNCHES, MEMORY, PROCESSES
from losswire.monitoring.run_metrics import RUNS

FAMILIES: Mapping[str, tuple[Metric, ...]] = {
    "Calls": CALLS,
    "Evaluations": EVALUATIONS,
    "Losses by series": LOSS_SUMS,
    "Runs": RUNS,
    "Launches": LAUNCHES,
    "Memory and devices": MEMORY,
    "Heads": HEADS,
    "Processes": PROCESSES,
    "Security": SECURITY,
}
METRICS: Mapping[str, Metric] = {metric.name: metric for family in FAMILIES.values() for metric in family}
