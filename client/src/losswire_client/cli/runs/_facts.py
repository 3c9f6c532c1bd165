"""The numbers of a run, with the names of the SDK."""

from datetime import datetime
from typing import Any

import numpy as np

from losswire.losses import LOSSES
from losswire_client import Run, RunProgress, RunResult, RunTotals
from losswire_client._runs.texts import expected_keys
from losswire_client.cli.runs._divergences import QUANTILES, of_sums

Facts = dict[str, Any]

OF_DIVERGENCES = (*QUANTILES, "maximum", "perplexity_ratio", "change", "change_standard_error", "same_top")


def facts(run: Run, result: RunResult) -> Facts:
    """All numbers of a run, with its loss and options."""
    has = has_perplexity(run)
    return {
        "name": run.name,
        "loss": run.loss,
        "options": _options(run),
        "digest": run.digest,
        "by_class": run.by_class,
        **progress_facts(result),
        **of_totals(result, perplexity=has),
        "slices": [{"slice": name, **of_totals(totals, perplexity=has)} for name, totals in result.by_slice.items()],
        "classes": [{"class": i, **of_totals(totals, perplexity=has)} for i, totals in result.by_class.items()],
    }


def progress_facts(run: RunProgress) -> Facts:
    """How far a run is, without its numbers."""
    return {
        "name": run.name,
        "state": state(run),
        "labels": dict(run.labels),
        "expected_keys": run.expected_keys,
        "created": told_time(run.created),
        "updated": told_time(run.updated),
        "finished": told_time(run.finished),
    }


def listed(run: RunProgress) -> Facts:
    """How far a run is, as far as lists tell it."""
    return {**progress_facts(run), "digest": run.digest, **of_totals(run, perplexity=False)}


def of_totals(totals: RunTotals, *, perplexity: bool) -> Facts:
    """The numbers of some rows together."""
    return {
        **({} if totals.key_count is None else {"key_count": totals.key_count}),
        "mean": totals.mean,
        "standard_error": totals.standard_error,
        **({"perplexity": totals.perplexity} if perplexity else {}),
        **_of_rows(totals),
        "loss_sum": totals.loss_sum,
        "weight_sum": totals.weight_sum,
        "row_count": totals.row_count,
        "ignored_count": totals.ignored_count,
        "nonfinite_count": totals.nonfinite_count,
    }


def _of_rows(totals: RunTotals) -> Facts:
    """Of a divergence what is known of its rows, of other losses the share of rows that are right."""
    if totals.sums.sketch is not None:
        own = of_sums(totals.sums)
        return {name: own[name] for name in OF_DIVERGENCES if name in own}
    return {} if totals.accuracy is None else {"accuracy": totals.accuracy}


def has_perplexity(run: Run) -> bool:
    """Whether the exponential of the mean is a perplexity. It is not if something is added to a likelihood's loss."""
    return (
        not LOSSES[run.loss].elementwise
        and run.loss != "kl_divergence"
        and run.options.get("weight") is None
        and not run.options.get("label_smoothing")
        and not run.options.get("z_loss")
    )


def state(run: RunProgress) -> str:
    return "finished" if run.is_finished else "open"


def told_time(time: datetime | None) -> str | None:
    """A time as in RFC 3339."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def told_keys(run: RunProgress) -> str:
    """How many keys count, and of how many if that is known."""
    expected = expected_keys(run)
    return f"{run.key_count or 0:,}" if expected is None else f"{run.key_count or 0:,} of {expected:,}"


def _options(run: Run) -> Facts:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in run.options.items()
        if value is not None
    }
