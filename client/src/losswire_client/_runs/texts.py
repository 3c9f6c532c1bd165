"""Runs as texts for people."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losswire_client._runs.results import RunProgress, RunResult, RunTotals

MOST_SLICES = 20  # lines
QUANTILES = (0.5, 0.9, 0.99)


def progress_text(run: "RunProgress") -> str:
    state = ", finished" if run.is_finished else ""
    return f"{run.name}: {_keys(run)}, {run.row_count} rows, mean {run.mean:.6g}{state}"


def result_text(run: "RunResult") -> str:
    state = f"finished {run.finished:%Y-%m-%d %H:%M:%S} UTC" if run.finished else "not finished"
    lines = [
        f"{run.name} ({run.loss}), {state}",
        f"  mean        {_mean(run)}",
        *_of_divergence(run),
        *([f"  perplexity  {run.perplexity:.6g}"] if run.sums.sketch is None else ()),
        *([f"  accuracy    {run.accuracy:.6g}"] if run.accuracy is not None else ()),
        f"  rows        {run.row_count}, {run.ignored_count} ignored, {run.nonfinite_count} not finite",
        f"  keys        {_keys(run).removesuffix(' keys')}",
    ]
    return "\n".join(lines + _slices(run))


def _of_divergence(run: "RunResult") -> list[str]:
    lines = []
    if run.sums.sketch is not None:
        shown = (f"{part:.0%} {run.quantile(part):.6g}" for part in QUANTILES)
        lines.append(f"  quantiles   {', '.join(shown)}")
    if run.mean_change is not None:
        mean, error = run.mean_change
        lines.append(f"  change      {mean:.6g}, standard error {error:.2g}")
    return lines


def _slices(run: "RunResult") -> list[str]:
    shown = list(run.by_slice.items())[:MOST_SLICES]
    lines = [f"  slice {name}: mean {_mean(totals)}, {totals.row_count} rows" for name, totals in shown]
    left = len(run.by_slice) - len(shown)
    return [*lines, f"  and {left} more slices"] if left else lines


def _mean(totals: "RunTotals") -> str:
    return f"{totals.mean:.6g}, standard error {totals.standard_error:.2g}"


def expected_keys(run: "RunProgress") -> int | None:
    """How many keys a run will have, if that is known. What was noted was wrong if there are more of them."""
    count, noted = run.key_count or 0, run.expected_keys
    return None if noted is None or count > noted or (run.is_finished and count != noted) else noted


def _keys(run: "RunProgress") -> str:
    expected = expected_keys(run)
    return f"{run.key_count or 0} keys" if expected is None else f"{run.key_count or 0} of {expected} keys"
