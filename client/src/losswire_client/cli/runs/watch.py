"""``losswire runs watch``."""

from collections.abc import Iterator
from typing import Annotated

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer import Argument, Option

from losswire_client import RunProgress
from losswire_client._runs.texts import expected_keys
from losswire_client.cli._connection import Connection
from losswire_client.cli._output import json_text, stdout
from losswire_client.cli.runs._facts import listed, told_keys

COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    TextColumn("{task.fields[told]}", markup=False),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def watch(
    connection: Connection,
    name: Annotated[str, Argument(metavar="NAME", help="The run.")],
    interval: Annotated[float, Option(min=0.1, max=3600, help="Seconds between two looks at least.")] = 1.0,
    json: Annotated[bool, Option("--json", help="Write JSON, an object a line.")] = False,
) -> None:
    """Watch a run until it is finished: how many keys count, of how many, and the mean loss of their rows.

    Into a pipe, or with --json, a line is written whenever the run has changed. The command goes on while the server
    is away. Ctrl-C ends it.
    """
    with connection.lasting_client() as client:
        states = client.get_run(name).watch(interval)
        console = stdout()
        if json:
            for run in states:
                console.print(json_text(listed(run), indent=None), soft_wrap=True)
        elif console.is_terminal:
            _show_live(console, states)
        else:
            for run in states:
                console.print(_line(run), soft_wrap=True)


def _show_live(console: Console, states: Iterator[RunProgress]) -> None:
    """Shows a bar, which stays when the run is finished."""
    with Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task("", total=None, told="")
        for run in states:
            done = run.key_count or 0
            total = done if run.is_finished else expected_keys(run)
            bar.update(task, description=run.name, completed=done, total=total, told=_numbers(run))


def _line(run: RunProgress) -> str:
    return f"{run.name}: {_numbers(run)}{', finished' if run.is_finished else ''}"


def _numbers(run: RunProgress) -> str:
    return f"{told_keys(run)} keys, {run.row_count:,} rows, mean loss {run.mean:#.6g}"
