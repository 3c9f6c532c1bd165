"""Draws a frame for a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from losswire.monitoring.figures import FIGURES
from losswire_client.cli.monitor import _words
from losswire_client.cli.monitor._frame import Column, Frame, Labels
from losswire_client.cli.monitor._runs import runs, runs_table
from losswire_client.cli.monitor._series import series_table
from losswire_client.cli.monitor._trends import Trends

METHODS: Sequence[Column] = (("under_way", ""), ("calls", ""), ("latency", "p50"), ("latency", "p99"))
LOSSES: Sequence[Column] = (
    *(("evaluations", ""), ("rows", "")),
    *(("evaluation_seconds", "p50"), ("evaluation_seconds", "p99")),
)
STAGES: Sequence[Column] = (("stage_share", ""), ("stage_mean", ""), ("stage_p99", ""))
BATCHING = ("launches", "launch_rows", "launch_requests", "queued_rows", "launch_retries")


def view(frame: Frame, trends: Trends, url: str) -> RenderableType:
    """All of a frame."""
    beside = Table.grid(padding=(0, 3))
    beside.add_row(_stages(frame), _batching(frame))
    tables = [_methods(frame, trends), _losses(frame, trends), beside, series_table(frame)]
    tables += [runs_table(frame)] if runs(frame) else []
    return Group(_header(frame, url), *(part for table in tables for part in ("", table)))


def _header(frame: Frame, url: str) -> Text:
    facts = {
        "up": _words.age(frame.number("uptime")),
        "CPU": _words.number("cpu", frame.number("cpu")),
        "memory": _words.number("resident", frame.number("resident")),
        "in flight": _of_budget(frame, "inflight", "in flight"),
        "shared memory": _of_budget(frame, "shared_memory", "leased"),
    }
    lines = Text.assemble((f"losswire {frame.version}".rstrip(), "bold"), f" at {url}\n")
    return lines.append(", ".join(f"{name} {fact}" for name, fact in facts.items()))


def _of_budget(frame: Frame, figure: str, curve: str) -> str:
    used, budget = (_words.number(figure, frame.number(figure, name)) for name in (curve, "budget"))
    return used if budget == "-" else f"{used} of {budget}"


def _methods(frame: Frame, trends: Trends) -> Table:
    table = _table("RPC", METHODS, trend=True)
    table.add_column(_words.heading(("failed_calls", "")), min_width=15)
    for labels in frame.seen(METHODS):
        failed = frame.parts("failed_calls", labels)
        told = ", ".join(f"{code} {_words.number('failed_calls', rate)}" for code, rate in failed.items())
        trend = trends.sparkline("calls", labels)
        table.add_row(labels[0], *_numbers(frame, METHODS, labels), trend, Text(told or "0", style="red" * bool(told)))
    return table


def _losses(frame: Frame, trends: Trends) -> Table:
    table = _table("loss", LOSSES, trend=True)
    for labels in frame.seen(LOSSES):
        table.add_row(labels[0], *_numbers(frame, LOSSES, labels), trends.sparkline("evaluations", labels))
    return table


def _stages(frame: Frame) -> Table:
    table = _table("stage", STAGES)
    for labels in frame.seen(STAGES):
        table.add_row(labels[0], *_numbers(frame, STAGES, labels))
    return table


def _batching(frame: Frame) -> Table:
    table = Table("batching", "", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.columns[1].justify = "right"
    for key in BATCHING:
        per_second = "/s" * (FIGURES[key].unit == "per second")
        table.add_row(f"{FIGURES[key].title.lower()}{per_second}", _words.number(key, frame.number(key)))
    return table


def _numbers(frame: Frame, columns: Sequence[Column], labels: Labels) -> list[str]:
    return [_words.number(figure, frame.number(figure, curve, labels)) for figure, curve in columns]


def _table(name: str, columns: Sequence[Column], *, trend: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(name, overflow="ellipsis")
    for column in columns:
        table.add_column(_words.heading(column), justify="right", no_wrap=True)
    if trend:
        table.add_column("trend", no_wrap=True)
    return table
