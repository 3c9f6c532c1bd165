"""How a figure looks on a dashboard. What it shows and means is in the table of figures."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "stacked", "stat", "bars", "band", "table"]


@dataclass(frozen=True)
class Look:
    """How a figure looks.

    Attributes:
        figure: Its key.
        kind: Of the panel.
        width: In 24ths of the page.
        height: In the grid's units.
        split: Labels by which it is split, beyond its own.
        warn: Where its numbers become orange.
        bad: Where they become red.
        exemplars: Whether traced calls are shown as points.
        from_zero: Whether the axis has zero.
        matchers: Of all its metrics, if not the dashboard's own.
        nothing: What is said instead of "No data".
    """

    figure: str
    kind: Kind = "lines"
    width: int = 8
    height: int = 7
    split: tuple[str, ...] = ()
    warn: float | None = None
    bad: float | None = None
    exemplars: bool = False
    from_zero: bool = True
    matchers: str = ""
    nothing: str = ""
