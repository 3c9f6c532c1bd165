"""Draws measurements as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from losswire_client.cli import _figure, _units
from losswire_client.cli.load._measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = {50: "o", 90: "|", 99: ">"}  # by percentile
WIDE = 20.0  # from this ratio of the largest to the smallest value on, only a logarithmic scale shows both


def save_picture(measurements: Sequence[Measurement], title: str, path: Path) -> None:
    """Draws latencies on the left and throughput on the right, with a line for each case."""
    with _figure.saved_figure(path, 10, 1.7 + 0.45 * len(measurements)) as figure:
        latencies, rates = figure.subplots(1, 2, sharey=True)
        figure.suptitle(title, fontsize=11)
        _draw_latencies(latencies, measurements)
        _draw_rates(rates, measurements)
        latencies.set_yticks(range(len(measurements)), [str(each.case) for each in measurements])
        latencies.yaxis.set_inverted(True)  # in the table's order


def _draw_latencies(axes: "Axes", measurements: Sequence[Measurement]) -> None:
    points = {
        (percent, line): seconds * 1e3
        for line, each in enumerate(measurements)
        for percent in MARKERS
        if (seconds := each.percentile(percent)) is not None
    }
    for line in range(len(measurements)):
        ends = [milliseconds for (_, on), milliseconds in points.items() if on == line]
        axes.plot(ends, [line] * len(ends), color=_figure.BLUE, alpha=0.4, linewidth=4)
    for percent, marker in MARKERS.items():
        lines = [line for of, line in points if of == percent]
        axes.plot([points[percent, line] for line in lines], lines, marker, color=_figure.BLUE, label=f"p{percent}")
    axes.set_xlabel("latency, ms")
    _figure.style(axes, grid="x")
    if points and max(points.values()) > WIDE * min(points.values()):
        axes.set_xscale("log")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(MARKERS), frameon=False, fontsize=8)


def _draw_rates(axes: "Axes", measurements: Sequence[Measurement]) -> None:
    rates = [each.rate for each in measurements]
    bars = axes.barh(range(len(rates)), rates, height=0.5, color=_figure.BLUE, alpha=0.85)
    axes.bar_label(bars, [_units.significant(rate) for rate in rates], padding=3, fontsize=8)
    axes.margins(x=0.15)  # for the labels
    axes.set_xlabel("evaluations per second")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    _figure.style(axes, grid="x")
