"""Figures in words: headings and numbers of the table's units."""

import math
import textwrap
from collections.abc import Callable, Mapping
from datetime import timedelta

from rich.filesize import decimal

from losswire.monitoring.figure import Unit
from losswire.monitoring.figures import FIGURES
from losswire_client.cli import _units
from losswire_client.cli.monitor._frame import Column

HEADING_WIDTH = 8
FORMS: Mapping[Unit, Callable[[float], str]] = {
    "per second": _units.significant,
    "seconds": _units.seconds,
    "bytes": lambda number: decimal(int(number)),
    "bytes per second": lambda number: f"{decimal(int(number))}/s",
    "ratio": "{:.1%}".format,
    "count": _units.significant,
    "loss": "{:#.6g}".format,
    "cores": "{:.2f} cores".format,
}


def heading(column: Column) -> str:
    """A figure's title and unit, or what its curve is called, in lines that are not long."""
    figure = FIGURES[column[0]]
    per_second = "/s" * (figure.unit == "per second")
    return textwrap.fill(column[1] or f"{figure.title.lower()}{per_second}", HEADING_WIDTH, break_long_words=False)


def number(figure: str, value: float) -> str:
    """A number in the figure's unit; a dash if there is none."""
    return known(value, FORMS[FIGURES[figure].unit])


def age(seconds: float) -> str:
    """A long time, as in ``1:01:01``."""
    return known(seconds, lambda value: str(timedelta(seconds=int(value))))


def known(value: float, form: Callable[[float], str]) -> str:
    return "-" if math.isnan(value) else form(value)
