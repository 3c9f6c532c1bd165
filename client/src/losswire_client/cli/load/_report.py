"""What was measured, for machines and for people."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from losswire_client.cli import _units
from losswire_client.cli.load._measurement import Measurement


def as_json(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    return [
        {
            "rows": each.case.shape.rows,
            "classes": each.case.shape.classes,
            "concurrency": each.case.concurrency,
            **{f"p{percent}_seconds": each.percentile(percent) for percent in (50, 90, 99)},
            "evaluations_per_second": each.rate,
            "rows_per_second": each.rate * each.case.shape.rows,
            "bytes_per_second": each.rate * each.evaluation_bytes,
            "evaluation_count": each.evaluation_count,
            "refused_count": each.refused_count,
        }
        for each in measurements
    ]


def table(measurements: Sequence[Measurement]) -> Table:
    """A line a case."""
    table = Table("batch")
    for heading in ("callers", "p50", "p90", "p99", "evaluations/s", "rows/s", "MB/s", "measured", "refused"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in measurements:
        table.add_row(str(each.case.shape), str(each.case.concurrency), *_cells(each))
    return table


def _cells(each: Measurement) -> list[str]:
    rates = each.rate, each.rate * each.case.shape.rows, each.rate * each.evaluation_bytes / 1e6
    return [
        *(_latency(each.percentile(percent)) for percent in (50, 90, 99)),
        *(_units.significant(rate) for rate in rates),
        f"{each.evaluation_count:,}",
        f"{each.refused_count:,}",
    ]


def _latency(seconds: float | None) -> str:
    return "too few" if seconds is None else _units.seconds(seconds)
