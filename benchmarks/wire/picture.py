"""Draws the times of large batches."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.batch import Batch

OURS = "Losswire"
COLORS = {True: "#1f6feb", False: "#9aa4b0"}


def save_picture(seconds: dict[Batch, dict[str, float]], names: Iterable[str], path: Path) -> None:
    """A panel for each batch, a bar for each contestant that was measured with it."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # not pyplot, which looks for a screen

    mpl.rcParams["svg.hashsalt"] = "losswire"  # else each picture of the same numbers differs
    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (batch, times) in zip(figure.subplots(2, 2, sharey=True).flat, seconds.items(), strict=True):
        _draw(axes, batch, {name: times[name] * 1e3 for name in names if name in times})
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw(axes: Any, batch: Batch, milliseconds: dict[str, float]) -> None:
    names = list(milliseconds)
    bars = axes.barh(names, milliseconds.values(), color=[COLORS[name.startswith(OURS)] for name in names])
    axes.bar_label(bars, [f"{value:.1f}" for value in milliseconds.values()], padding=3, fontsize=8)
    axes.margins(x=0.12)  # for the labels
    axes.set_title(str(batch), fontsize=10, loc="left")
    axes.set_xlabel("milliseconds", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_inverted(True)
