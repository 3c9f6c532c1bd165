"""Rules of Prometheus that are written from the figures and the objectives. Other alerts are written by hand."""

from typing import Any

import yaml

from deploy.monitoring.objectives import BURNS, OBJECTIVES, WINDOWS, Burn, Objective
from losswire.monitoring.expressions import Expression, Ratio, promql, split
from losswire.monitoring.figures import FIGURES

OURS = 'grpc_service="losswire.v1.LossService"'  # other services of a job may have the same metrics
MEAN_LOSS = "job_series_loss:losswire_loss:mean_rate5m"
RUNBOOKS = "docs/operations.md"
_HEADER = "# Written by `make monitoring` from deploy/monitoring/{source}: edit that.\n"


def recording() -> str:
    """What is recorded: the parts of the calls that break a promise, and the mean loss of each series."""
    groups = [_group(f"losswire-{each.key.lower()}", _ratios(each)) for each in OBJECTIVES]
    mean = {"record": MEAN_LOSS, "expr": _where_counted(FIGURES["mean_loss"].curves[0].expression)}
    return _text("rules.py", [*groups, _group("losswire-losses", [mean])])


def burning() -> str:
    """The alerts of budgets that are used up too fast."""
    groups = [
        _group(f"losswire-{each.key.lower()}-burns", [_alert(each, burn) for burn in BURNS]) for each in OBJECTIVES
    ]
    return _text("objectives.py", groups)


def _ratios(objective: Objective) -> list[dict[str, Any]]:
    bad = split(objective.bad, "job")
    return [{"record": objective.recorded + window, "expr": promql(bad, window, OURS)} for window in WINDOWS]


def _where_counted(mean: Expression) -> str:
    """A mean of each job, which is absent instead of NaN where nothing was evaluated: quantiles over time need it."""
    over, under = (mean.over, mean.under) if isinstance(mean, Ratio) else (mean, mean)
    over, under = split(over, "job"), split(under, "job")
    return f"({promql(over, '5m')}) / (({promql(under, '5m')}) != 0)"


def _alert(objective: Objective, burn: Burn) -> dict[str, Any]:
    name = f"Losswire{objective.key}Burn"
    most = f"{burn.factor * objective.budget:.6g}"
    windows = (burn.long, burn.short)
    return {
        "alert": name,
        "expr": " and ".join(f"{objective.recorded}{window} > {most}" for window in windows),
        "for": burn.wait,
        "labels": {"severity": burn.severity, "long": burn.long, "short": burn.short},
        "annotations": {
            "summary": f"{{{{ $labels.job }}}} uses up its budget of {objective.key.lower()} at {burn.factor:g} times "
            "the speed at which it would last 30 days.",
            "description": f"{{{{ $value | humanizePercentage }}}} of the calls in {burn.long} {objective.meaning}. "
            f"The objective allows {100 * objective.budget:g}% of them.",
            "runbook_url": f"{RUNBOOKS}#{name.lower()}",
        },
    }


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "rules": rules}


def _text(source: str, groups: list[dict[str, Any]]) -> str:
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=100)
    return _HEADER.format(source=source) + text
