"""Rules of Prometheus that are written from the figures and the objectives. Other alerts are written by hand."""

from typing import Any

import yaml

from deploy.monitoring.objectives import BURNS, OBJECTIVES, WINDOWS, Burn, Objective, ratio_of
from losswire.monitoring.expressions import Quantile, Value, promql, split

OURS = 'grpc_service="losswire.v1.LossService"'  # other services of a job may have the same metrics
MEAN_LOSS = "job_series_loss:losswire_loss:mean_rate5m"
QUEUE_TIME = "job:losswire_queue_seconds:p90_rate2m"
RUNBOOKS = "docs/operations.md"
HOUR_SECONDS = 3600
_HEADER = "# Written by `make monitoring` from deploy/monitoring/{source}: edit that.\n"


def recording() -> str:
    """What is recorded: the parts of the calls that break a promise, the mean losses, and what to scale by."""
    groups = [_group(f"losswire-{each.key.lower()}", _ratios(each)) for each in OBJECTIVES]
    return _text("rules.py", [*groups, _group("losswire-losses", [_mean_loss()]), _group("losswire-queue", [_queue()])])


def burning() -> str:
    """The alerts of budgets that are used up too fast."""
    groups = [
        _group(f"losswire-{each.key.lower()}-burns", [_alert(each, burn) for burn in BURNS]) for each in OBJECTIVES
    ]
    return _text("objectives.py", groups)


def _ratios(objective: Objective) -> list[dict[str, str]]:
    """Rates of five minutes, and what they come to in each window: days of a server's own counters are too many."""
    rates = {objective.bad: objective.ratio.over, objective.total: objective.ratio.under}
    windows = {
        objective.recorded
        + window: f"sum_over_time({objective.bad}[{window}]) / sum_over_time({objective.total}[{window}])"
        for window in WINDOWS
    }
    return [
        *(_record(name, promql(split(rate, "job"), "5m", OURS)) for name, rate in rates.items()),
        _record(objective.recorded + "5m", f"{objective.bad} / {objective.total}"),
        *(_record(name, expression) for name, expression in windows.items()),
    ]


def _mean_loss() -> dict[str, str]:
    """The mean of each job, series and loss. It is absent where nothing was evaluated: a NaN would spoil quantiles."""
    mean = ratio_of("mean_loss")
    over, under = (promql(split(part, "job"), "5m") for part in (mean.over, mean.under))
    return _record(MEAN_LOSS, f"({over}) / (({under}) != 0)")


def _queue() -> dict[str, str]:
    """How long slabs wait, by which servers are scaled. 0 where none waited: an autoscaler cannot compare with NaN."""
    waits = Quantile(0.9, "losswire_stage_seconds", ("job",), {"stage": ("queue",)})
    return _record(
        QUEUE_TIME, f"({promql(waits, '2m')} >= 0) or 0 * {promql(Value('losswire_queued_rows', ('job',)), '')}"
    )


def _record(name: str, expression: str) -> dict[str, str]:
    return {"record": name, "expr": expression}


def _alert(objective: Objective, burn: Burn) -> dict[str, Any]:
    name = f"Losswire{objective.key}Burn"
    most = f"{burn.factor * objective.budget:.6g}"
    conditions = [f"{objective.recorded}{window} > {most}" for window in (burn.long, burn.short)]
    if burn.least:  # by the counters themselves: what is recorded is a rate, and tells no number
        bad = promql(split(objective.ratio.over, "job"), burn.long, OURS)
        conditions.append(f"({bad}) * {HOUR_SECONDS * int(burn.long.removesuffix('h'))} >= {burn.least}")
    return {
        "alert": name,
        "expr": " and ".join(conditions),
        "for": burn.wait,
        "labels": {"severity": burn.severity, "long": burn.long, "short": burn.short},
        "annotations": {
            "summary": f"{{{{ $labels.job }}}} uses up its budget of {objective.key.lower()} at {burn.factor:g} times "
            "the speed at which it would last 30 days.",
            "description": f"{{{{ $value | humanizePercentage }}}} of the {objective.calls} in {burn.long} "
            f"{objective.meaning}. The objective allows {100 * objective.budget:g}% of them.",
            "runbook_url": f"{RUNBOOKS}#{name.lower()}",
        },
    }


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "rules": rules}


def _text(source: str, groups: list[dict[str, Any]]) -> str:
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=100)
    return _HEADER.format(source=source) + text
