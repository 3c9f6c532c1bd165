"""The table of the latest runs: how far each of them is, and its mean."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from losswire_client.cli._fitting import fitting
from losswire_client.cli.monitor import _words
from losswire_client.cli.monitor._frame import Column, Frame, Labels

KEYS: Column = ("run_keys", "counted")
EXPECTED: Column = ("run_keys", "expected")
HEADINGS = ("run", "progress", "keys", "rows", "mean", "not finite", "state")
FIRST_LEFT_OUT = ("progress", "rows", "state", "not finite")  # if room is short


def runs_table(frame: Frame) -> Table:
    """The runs that were added to last, by their names. Where room is short, these are more than progress and rows."""
    rows = [[Text(labels[0]), *_cells(frame, labels)] for labels in runs(frame)]
    cells = {heading: [heading, *column] for heading, column in zip(HEADINGS, zip(*rows, strict=True), strict=True)}
    texts = {heading: [str(cell) for cell in column] for heading, column in cells.items()}
    widths = fitting(texts, {"run": 24}, FIRST_LEFT_OUT, beside=2)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading, width in widths.items():
        table.add_column(heading, width=width, overflow="fold", justify="left" if heading == "run" else "right")
    for row in zip(*(cells[heading][1:] for heading in widths), strict=True):
        table.add_row(*row)
    return table


def runs(frame: Frame) -> Sequence[Labels]:
    """The runs that a server tells of, also those without keys."""
    return sorted(frame.now[KEYS])


def _cells(frame: Frame, labels: Labels) -> list[Text]:
    keys, expected = (_whole(frame.number(*column, labels)) for column in (KEYS, EXPECTED))
    broken = frame.number("run_nonfinite_rows", "", labels)
    is_finished = frame.number("run_finished", "", labels) > 0
    return [
        Text(_words.number("run_progress", frame.number("run_progress", "", labels))),
        Text(keys if expected == "-" else f"{keys} of {expected}"),
        Text(_whole(frame.number("run_rows", "", labels))),
        Text(_words.number("run_mean_loss", frame.number("run_mean_loss", "", labels))),
        Text(_whole(broken), style="red" * (broken > 0)),
        Text("finished" if is_finished else "open", style="green" * is_finished),
    ]


def _whole(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:,.0f}"
