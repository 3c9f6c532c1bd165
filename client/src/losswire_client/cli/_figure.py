"""The look of pictures, and how they are saved."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from losswire_client.cli._output import new_file

if TYPE_CHECKING:  # matplotlib takes as long to load as all the rest
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")
BLUE, RED, GRAY, INK = "#1f6feb", "#cf222e", "#9aa4b0", "#24292f"


def picture_path(path: Path | None) -> Path | None:
    """Refuses a picture that could not be drawn, before the work and not after it."""
    if path is None:
        return None
    import matplotlib as mpl  # noqa: F401 - it may be missing

    return new_file(path, SUFFIXES)


@contextmanager
def saved_figure(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """A figure to draw on. It is saved in the end."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # pyplot would look for a screen

    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    with mpl.rc_context({"svg.hashsalt": "losswire"}):  # otherwise pictures of the same numbers differ
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def style(axes: "Axes", grid: Literal["x", "y"]) -> None:
    """Removes everything but the data and the scales."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, alpha=0.25)
    axes.set_axisbelow(True)
