"""``losswire runs list``."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from losswire_client import RunProgress
from losswire_client.cli._connection import Connection
from losswire_client.cli._output import stdout, write_json
from losswire_client.cli._run_facts import listed, state, told_keys


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
        stdout().print(_table(runs))
    else:
        stdout().print(f"there is no run whose name begins with {prefix}" if prefix else "there is no run")


def _table(runs: Sequence[RunProgress]) -> Table:
    table = Table()
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for heading in ("keys", "rows", "mean loss"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last key, UTC", no_wrap=True)
    table.add_column("labels", overflow="fold")
    for run in runs:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))
        numbers = told_keys(run), f"{run.row_count:,}", f"{run.mean:#.6g}"
        table.add_row(run.name, state(run), *numbers, f"{run.updated:%Y-%m-%d %H:%M:%S}", labels)
    return table
