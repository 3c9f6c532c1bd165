"""The divergences of rows as a picture, and the changes of the labels' log-probabilities."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from losswire.exact_sums import ExactSums
from losswire.sketch import GROWTH
from losswire_client.cli import _figure
from losswire_client.cli.comparison._plan import Plan
from losswire_client.cli.comparison.report._tables import LINES, title
from losswire_client.cli.evaluation.tallies._histogram import LossHistogram
from losswire_client.cli.runs._divergences import QUANTILES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 80
LEAST_BINS = 4  # of the sketch that a bar has at least; they are 2 % wide
ENDS = (0.0005, 0.9995)  # the quantiles of changes between which they are drawn
STYLES = (":", "--", "-.", (0, (5, 1)), "-")


def save_picture(sums: ExactSums, changes: LossHistogram | None, plan: Plan, path: Path) -> None:
    """Draws the histogram of divergences on a logarithmic axis, and beside it that of changes if they are known."""
    with _figure.saved_figure(path, 13 if changes else 8, 4.5) as figure:
        axes = figure.subplots(1, 2 if changes else 1, squeeze=False)[0]
        for each in axes:
            _figure.style(each, grid="y")
            each.set_ylabel("rows")
        axes[0].set_title(title(plan), loc="left", fontsize=10)
        _draw_divergences(axes[0], sums)
        if changes:
            axes[1].set_title("change of the labels' log-probabilities, B less A", loc="left", fontsize=10)
            _draw_changes(axes[1], changes)
        for each in axes:
            each.yaxis.set_major_formatter("{x:,.0f}")


def _draw_divergences(axes: "Axes", sums: ExactSums) -> None:
    sketch = sums.sketch
    axes.set_xlabel("divergence of a row, nats")
    axes.set_xscale("log")
    if sketch and sketch.bins:
        first, last = sketch.bins[0], sketch.bins[-1]
        size = max(LEAST_BINS, -(-(last - first + 1) // BARS))
        heights = np.bincount((np.array(sketch.bins) - first) // size, sketch.counts)
        edges = float(GROWTH) ** (first - 1 + size * np.arange(len(heights) + 1.0))
        axes.stairs(heights, edges, fill=True, color=_figure.BLUE, alpha=0.85)
        axes.axvline(sums.statistics.mean, color=_figure.RED, linewidth=1.4, label=f"mean {sums.statistics.mean:.4g}")
        for (name, part), line in zip(QUANTILES.items(), STYLES, strict=True):
            value = sums.quantile(part)
            if value:
                label = f"{LINES[name].heading} {value:.4g}"
                axes.axvline(value, color=_figure.INK, linestyle=line, linewidth=1, label=label)
        axes.legend(frameon=False, fontsize=8)
    axes.set_title(_note(sums), loc="right", fontsize=8, color=_figure.GRAY)


def _note(sums: ExactSums) -> str:
    """What the picture cannot show."""
    if not sums.row_count:
        return "no rows"
    zeros = sums.sketch.zero_count if sums.sketch else 0
    counts = {"at most 1e-12": zeros, "NaN or infinite": sums.loss.nonfinite_count}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _draw_changes(axes: "Axes", changes: LossHistogram) -> None:
    axes.set_xlabel("change, nats")
    if not changes.finite_count:
        return
    least, most = (changes.quantile(q) for q in ENDS)
    reach = max(abs(least), abs(most)) or 0.5
    edges = np.linspace(-reach, reach, BARS + 1)
    below = changes.count_below(edges)
    axes.stairs(np.diff(below), edges, fill=True, color=_figure.BLUE, alpha=0.85)
    axes.axvline(0, color=_figure.INK, linewidth=1)
    beyond = changes.finite_count - round(below[-1] - below[0])
    axes.set_title(f"{beyond:,} beyond" if beyond else "", loc="right", fontsize=8, color=_figure.GRAY)
