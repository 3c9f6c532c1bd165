"""The numbers to show for an interval, computed without clock and terminal so that tests can check them."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from losswire.monitoring.figures import FIGURES
from losswire_client.cli.monitor._evaluate import Numbers, evaluate
from losswire_client.cli.monitor._interval import Interval

Labels = tuple[str, ...]
Column = tuple[str, str]  # a figure's key, and the name of its curve
Readings = Mapping[Column, Numbers]


class Frame(NamedTuple):
    """All figures of the table, of the last interval and since the server's start.

    Attributes:
        now: Of the interval.
        ever: Since the start; rates are numbers then.
    """

    now: Readings
    ever: Readings

    @classmethod
    def of(cls, interval: Interval) -> "Frame":
        return cls(_readings(interval), _readings(Interval.since_start(interval.after)))

    @property
    def version(self) -> str:
        """The server's; empty if it does not tell."""
        return ", ".join(labels[0] for labels in self.now["builds", ""])

    def number(self, figure: str, curve: str = "", labels: Labels = ()) -> float:
        """Of the interval; NaN if the server does not tell."""
        return self.now[figure, curve].get(labels, math.nan)

    def total(self, figure: str, curve: str = "", labels: Labels = ()) -> float:
        """The same since the start."""
        return self.ever[figure, curve].get(labels, math.nan)

    def seen(self, columns: Iterable[Column]) -> list[Labels]:
        """The labels, in the order of the server, for which one of these columns ever had a number but 0."""
        numbers = [self.ever[column] for column in columns]
        every = dict.fromkeys(labels for each in numbers for labels in each if labels[0])
        return [labels for labels in every if any(_tells(each.get(labels, 0.0)) for each in numbers)]

    def parts(self, figure: str, labels: Labels, *, ever: bool = False) -> dict[str, float]:
        """The numbers but 0 of a figure that has one label more, by the values of that label."""
        numbers = (self.ever if ever else self.now)[figure, ""]
        return {part: number for (*rest, part), number in numbers.items() if tuple(rest) == labels and number}


def _readings(interval: Interval) -> Readings:
    curves = [(figure.key, curve) for figure in FIGURES.values() for curve in figure.curves]
    return {(key, curve.name): evaluate(curve.expression, interval) for key, curve in curves}


def _tells(number: float) -> bool:
    return number != 0 and not math.isnan(number)
