"""What the table of figures says of each of them."""

from dataclasses import dataclass
from typing import Literal

from losswire.monitoring.expressions import Expression

Unit = Literal["per second", "seconds", "bytes", "bytes per second", "ratio", "count", "loss", "cores"]


@dataclass(frozen=True)
class Curve:
    """One expression of a figure.

    Attributes:
        name: What it is called beside other curves of the figure; empty if its labels say enough.
        expression: How it is computed.
    """

    name: str
    expression: Expression


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        key: Its name in code.
        title: For people.
        unit: Of its numbers.
        meaning: One or two sentences.
        curves: What it shows.
        only: Which servers have it, if not all do.
    """

    key: str
    title: str
    unit: Unit
    meaning: str
    curves: tuple[Curve, ...]
    only: str = ""


def one(key: str, title: str, unit: Unit, meaning: str, expression: Expression, only: str = "") -> Figure:
    """A figure with one curve."""
    return Figure(key, title, unit, meaning, (Curve("", expression),), only)
