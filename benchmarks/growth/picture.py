"""Draws time against size, and the straight lines through it."""

from pathlib import Path
from typing import Any

from benchmarks.growth.times import SINGLE, STRAIGHT_FROM_BYTES, Timing, fit

COLORS = {"auto": "#1f6feb", "stream": "#d4762c", "shared_memory": "#2da44e"}
MARKERS = {"auto": "o", "stream": "s", "shared_memory": "^"}


def save_picture(timings: list[Timing], path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure  # not pyplot, which looks for a screen

    mpl.rcParams["svg.hashsalt"] = "losswire"  # else each picture of the same numbers differs
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for transport in COLORS:
        points = {each.nbytes: each.seconds[transport] for each in timings if transport in each.seconds}
        if points:
            style: dict[str, Any] = {"color": COLORS[transport], "marker": MARKERS[transport], "markersize": 5}
            axes.plot(list(points), list(points.values()), linestyle="none", label=transport, **style)
        if transport in SINGLE and (line := fit(timings, transport)):
            ends = [x for x in points if x >= STRAIGHT_FROM_BYTES]
            axes.plot(ends, [line.at(x) for x in ends], color=COLORS[transport], linewidth=0.8)
    axes.loglog()
    axes.set_xlabel("bytes of float32 logits")
    axes.set_ylabel("seconds, median; lines: straight, from 1 MB on")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
