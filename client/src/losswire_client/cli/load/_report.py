"""Reports measurements, for machines and for people."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from rich.table import Table

from losswire_client.cli import _units
from losswire_client.cli.load._measurement import Case, Measurement, Turn

PERCENTS = (50, 90, 99)
BUSY = 0.9  # if this process takes so much of a core, calls wait for Python's global lock


def as_json(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    return [{**_case(each.case), **_numbers(each.whole, each.rate, each)} for each in measurements]


def write_csv(measurements: Sequence[Measurement], facts: Mapping[str, Any], stream: IO[str]) -> None:
    """Writes a line for each case and turn, each with the facts that all of them share."""
    rows = [
        {**facts, **_case(each.case), "turn": number, **_numbers(turn, turn.rate, each)}
        for each in measurements
        for number, turn in enumerate(each.turns, 1)
    ]
    writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def table(measurements: Sequence[Measurement]) -> Table:
    """A table with a line for each case."""
    table = Table("batch")
    for heading in ("callers", "p50", "p90", "p99", "evaluations/s", "rows/s", "MB/s", "measured", "refused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in measurements:
        table.add_row(str(each.case.shape), str(each.case.concurrency), *_cells(each))
    return table


def shortfalls(measurements: Sequence[Measurement]) -> Iterator[str]:
    """Warnings about calls that were not made when they were due, with the reasons."""
    for each in measurements:
        turn = each.whole
        due = len(turn.latencies) + turn.refused_count + turn.unsent_count
        behind = turn.waiting_count + turn.unsent_count
        if turn.late_count or (behind and turn.cpu_seconds > BUSY * turn.seconds):
            late = turn.late_count + behind
            yield f"{each.case}: this process could not keep up: {late:,} of {due:,} calls were late or left out"
        elif behind:
            callers = f"all {each.case.concurrency} callers were waiting when {behind:,} of {due:,} calls were due"
            yield f"{each.case}: {callers}, of which {turn.unsent_count:,} were left out"


def _case(case: Case) -> dict[str, Any]:
    return {"rows": case.shape.rows, "classes": case.shape.classes, "concurrency": case.concurrency}


def _numbers(turn: Turn, rate: float, each: Measurement) -> dict[str, Any]:
    return {
        **{f"p{percent}_seconds": turn.percentile(percent) for percent in PERCENTS},
        "max_seconds": max(turn.latencies, default=None),
        "evaluations_per_second": rate,
        "rows_per_second": rate * each.case.shape.rows,
        "bytes_per_second": rate * each.evaluation_bytes,
        "seconds": turn.seconds,
        "client_cpu_seconds": turn.cpu_seconds,
        "evaluation_count": len(turn.latencies),
        "refused_count": turn.refused_count,
        "waiting_count": turn.waiting_count,
        "late_count": turn.late_count,
        "unsent_count": turn.unsent_count,
    }


def _cells(each: Measurement) -> list[str]:
    rates, whole = (each.rate, each.rate * each.case.shape.rows, each.rate * each.evaluation_bytes / 1e6), each.whole
    return [
        *(_latency(whole.percentile(percent)) for percent in PERCENTS),
        *(_units.significant(rate) for rate in rates),
        f"{len(whole.latencies):,}",
        f"{whole.refused_count:,}",
    ]


def _latency(seconds: float | None) -> str:
    return "too few" if seconds is None else _units.seconds(seconds)
