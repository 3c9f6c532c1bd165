"""The table of series: their losses, and what is left out of them."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from losswire.monitoring.figures import FIGURES
from losswire_client.cli import _units
from losswire_client.cli.monitor import _words
from losswire_client.cli.monitor._frame import Column, Frame, Labels

MAX_SERIES = 20
QUANTILES: Sequence[Column] = tuple(("loss_quantiles", name) for name in ("p10", "p50", "p90"))
COLUMNS: Sequence[Column] = (("mean_loss", ""), *QUANTILES, ("series_rows", ""), ("top1", ""))
LEFT_OUT: Sequence[Column] = (("nonfinite_rows", ""), ("unsummed", ""))


def series_table(frame: Frame) -> Table:
    """First the series that lose something now, then the busiest. Idle ones have their numbers since the start, dim."""
    every = series(frame)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)  # 80 columns are few
    table.add_column("series", overflow="ellipsis", min_width=10)
    table.add_column("loss", overflow="fold", min_width=8)  # two of them begin alike
    for heading in map(_words.heading, COLUMNS):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("left out", min_width=8)
    for labels in every[:MAX_SERIES]:
        table.add_row(*labels, *_numbers(frame, labels), _left_out(frame, labels))
    if len(every) > MAX_SERIES:
        table.caption = f"and {len(every) - MAX_SERIES} with less"
    return table


def series(frame: Frame) -> list[Labels]:
    """The series ever used, in their order."""
    used = frame.seen([("series_rows", ""), ("mean_loss", ""), ("nonfinite_rows", "")])
    used += dict.fromkeys(labels[:2] for labels in frame.seen([("unsummed", "")]) if labels[:2] not in used)
    return sorted(used, key=lambda labels: (not _lost(frame, labels), -_zero(frame.number("series_rows", "", labels))))


def _numbers(frame: Frame, labels: Labels) -> list[Text]:
    is_idle = not _zero(frame.number("series_rows", "", labels))
    return [_number(frame, column, labels, is_idle=is_idle) for column in COLUMNS]


def _number(frame: Frame, column: Column, labels: Labels, *, is_idle: bool) -> Text:
    figure, curve = column
    is_old = is_idle and figure != "series_rows"  # of an idle series, how it ended says more than nothing
    value = (frame.total if is_old else frame.number)(figure, curve, labels)
    form = _units.significant if column in QUANTILES else _words.FORMS[FIGURES[figure].unit]
    return Text(_words.known(value, form), style="dim" * is_old)


def _left_out(frame: Frame, labels: Labels) -> Text:
    """Since the start, since few of them are enough to be looked for; red while there are more of them."""
    rows = frame.total("nonfinite_rows", "", labels)
    told = [f"{rows:,.0f} rows"] if _zero(rows) else []
    told += [f"{count:,.0f} {reason}" for reason, count in frame.parts("unsummed", labels, ever=True).items()]
    return Text(", ".join(told) or "0", style=("red" if _lost(frame, labels) else "yellow") * bool(told))


def _lost(frame: Frame, labels: Labels) -> bool:
    return bool(_zero(frame.number("nonfinite_rows", "", labels)) or frame.parts("unsummed", labels))


def _zero(number: float) -> float:
    return 0.0 if math.isnan(number) else number
