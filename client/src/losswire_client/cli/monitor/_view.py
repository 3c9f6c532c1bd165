"""Draws a frame for a terminal."""

import math
from collections.abc import Callable
from datetime import timedelta

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from losswire_client.cli import _units
from losswire_client.cli.monitor._frame import Frame
from losswire_client.cli.monitor._trends import Trends

MAX_SERIES = 20


def view(frame: Frame, trends: Trends, url: str, now: float) -> RenderableType:
    """All of a frame, at a time in seconds since the epoch."""
    return Group(_header(frame, url, now), _methods(frame, trends), _losses(frame, trends), _series(frame))


def _header(frame: Frame, url: str, now: float) -> Text:
    facts = {
        "up": _known(now - frame.started, lambda seconds: str(timedelta(seconds=int(seconds)))),
        "CPU": _known(frame.cpu, "{:.2f} cores".format),
        "memory": _known(frame.resident_bytes, _bytes),
        "in flight": _known(frame.inflight_bytes, _bytes),
        "shared memory": _known(frame.shared_memory_bytes, _bytes),
    }
    title = Text.assemble((f"losswire {frame.version}".rstrip(), "bold"), f" at {url}\n")
    return title.append(", ".join(f"{name} {fact}" for name, fact in facts.items()))


def _methods(frame: Frame, trends: Trends) -> Table:
    table = _table("RPC", "under way", "calls/s", "p50", "p99", "errors/s", trend=True)
    for each in frame.methods:
        errors = ", ".join(f"{code} {_units.significant(rate)}" for code, rate in each.errors.items())
        rates = f"{each.under_way:,.0f}", _units.significant(each.rate), *map(_seconds, each.latency)
        table.add_row(each.name, *rates, _red(errors), trends.sparkline(each.name))
    return table


def _losses(frame: Frame, trends: Trends) -> Table:
    table = _table("loss", "evaluations/s", "rows/s", "p50", "p99", trend=True)
    for each in frame.losses:
        rates = _units.significant(each.rate), _units.significant(each.rows), *map(_seconds, each.latency)
        table.add_row(each.name, *rates, trends.sparkline(each.name))
    return table


def _series(frame: Frame) -> Table:
    table = _table("series", "loss", "mean", "weight/s", "left out")
    for each in frame.series[:MAX_SERIES]:
        mean = _known(each.mean, "{:#.6g}".format)
        left_out = ", ".join(f"{reason} {count:,.0f}" for reason, count in each.left_out.items())
        table.add_row(each.name, each.loss, mean, _units.significant(each.weight), _red(left_out))
    if len(frame.series) > MAX_SERIES:
        table.caption = f"and {len(frame.series) - MAX_SERIES} with less"
    return table


def _table(name: str, *headings: str, trend: bool = False) -> Table:
    table = Table(name, box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    if trend:
        table.add_column("trend", no_wrap=True)
    return table


def _red(problems: str) -> Text:
    return Text(problems or "0", style="red" * bool(problems))


def _seconds(seconds: float) -> str:
    return _known(seconds, _units.seconds)


def _bytes(count: float) -> str:
    return decimal(int(count))


def _known(value: float, form: Callable[[float], str]) -> str:
    return "-" if math.isnan(value) else form(value)
