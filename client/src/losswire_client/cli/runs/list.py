"""``losswire runs list``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Literal

from rich.table import Table
from typer import Argument, Option

from losswire_client import RunProgress
from losswire_client.cli._connection import Connection
from losswire_client.cli._fitting import fitting, left_out
from losswire_client.cli._output import stdout, write_json
from losswire_client.cli.runs._facts import listed, state, told_keys


def list_runs(
    connection: Connection,
    prefix: Annotated[str, Argument(metavar="[PREFIX]", help="How the names begin.")] = "",
    limit: Annotated[int | None, Option(min=1, help="The most to show; all if not given.")] = None,
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
) -> None:
    """List runs, the newest first: how far they are, and the mean loss of their rows."""
    with connection.client(retry=None) as client:
        runs = list(islice(client.runs(prefix), limit))
    if json:
        write_json([listed(run) for run in runs])
    elif runs:
        for part in _table(runs):
            stdout().print(part)
    else:
        stdout().print(f"there is no run whose name begins with {prefix}" if prefix else "there is no run")


def _table(runs: Sequence[RunProgress]) -> Iterator[Table | str]:
    """A line for each run. Where room is short, names are more than all else but the numbers."""
    cells = {heading: [heading, *map(tell, runs)] for heading, tell in COLUMNS.items()}
    widths = fitting(cells, WRAPPING, FIRST_LEFT_OUT)
    table = Table()
    for heading, width in widths.items():
        justify: Literal["right", "left"] = "right" if heading in NUMBERS else "left"
        table.add_column(heading, width=width, justify=justify, overflow="fold")
    for row in zip(*(cells[heading][1:] for heading in widths), strict=True):
        table.add_row(*row)
    yield table
    if told := left_out(cells, widths):
        yield told


def _labels(run: RunProgress) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))


COLUMNS: Mapping[str, Callable[[RunProgress], str]] = {
    "run": lambda run: run.name,
    "state": state,
    "keys": told_keys,
    "rows": lambda run: f"{run.row_count:,}",
    "mean loss": lambda run: f"{run.mean:#.6g}",
    "last key, UTC": lambda run: f"{run.updated:%Y-%m-%d %H:%M:%S}",
    "labels": _labels,
}
NUMBERS = ("keys", "rows", "mean loss")
WRAPPING = {"run": 32, "labels": 16}
FIRST_LEFT_OUT = ("labels", "last key, UTC", "rows", "state")  # if room is short
