"""The histogram of losses as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from losswire_client.cli import _figure
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._run import Outcome
from losswire_client.cli.evaluation.tallies._histogram import LossHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 80
TAIL = 0.999  # losses far beyond this quantile are only counted in a note, since they would leave no room for the rest
FAR = 1.5
HEAVY = 50.0  # from this ratio of the highest to the median bar on, only a logarithmic scale shows both


def save_picture(outcome: Outcome, plan: Plan, path: Path) -> None:
    """Draws the histogram of the losses of all files, with the mean and the median."""
    if outcome.total is None or (histogram := outcome.total.histogram) is None:
        raise ValueError("nothing was counted that could be drawn")
    mean, names = outcome.total.sums.loss, [file.path.name for file in outcome.files]
    with _figure.saved_figure(path, 8, 4.5) as figure:
        axes = figure.subplots()
        _figure.style(axes, grid="y")
        axes.set_title(f"{plan.loss} of {names[0] if len(names) == 1 else f'{len(names)} files'}", loc="left")
        axes.set_xlabel("loss of a row, nats")
        axes.set_ylabel("rows")
        axes.margins(x=0)
        notes = [f"{histogram.nonfinite_count:,} NaN or infinite"] if histogram.nonfinite_count else []
        if histogram.finite_count:
            notes += _draw(axes, histogram, mean)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(", ".join(notes), loc="right", fontsize=8, color=_figure.GRAY)


def _draw(axes: "Axes", histogram: LossHistogram, mean: float) -> list[str]:
    """Draws the finite losses; returns notes about losses that are not in the picture."""
    edges = np.linspace(*_range(histogram), BARS + 1)
    below = histogram.count_below(edges)
    heights = np.diff(below)
    axes.stairs(heights, edges, fill=True, color=_figure.BLUE, alpha=0.85)
    if heights.max() > HEAVY * np.median(heights[heights > 0]):
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
    _draw_line(axes, mean, f"mean {mean:.4g}", _figure.RED, "-")
    median = histogram.quantile(0.5)
    _draw_line(axes, median, f"median {median:.4g}", _figure.INK, ":")
    axes.legend(frameon=False)
    beyond = round(histogram.finite_count - below[-1])
    return [f"{beyond:,} beyond, up to {histogram.quantile(1):.3g}"] if beyond else []


def _range(histogram: LossHistogram) -> tuple[float, float]:
    least, tail, most = (histogram.quantile(q) for q in (0, TAIL, 1))
    end = tail if most > least + FAR * (tail - least) else most
    return (least, end) if end > least else (least - 0.5, least + 0.5)


def _draw_line(axes: "Axes", loss: float, label: str, color: str, style: str) -> None:
    least, most = axes.get_xlim()
    if least <= loss <= most:
        axes.axvline(loss, color=color, linestyle=style, linewidth=1.4, label=label)
    else:
        axes.plot([], [], " ", label=label)  # NaN, or beyond the axis: still in the legend
