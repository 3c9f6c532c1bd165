from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from losswire_client.cli._output import stderr
from losswire_client.cli.evaluation.keyed._evaluate import Advance

NAME = TextColumn("{task.description}", markup=False)
COLUMNS = NAME, BarColumn(), MofNCompleteColumn(), TextColumn("keys"), TimeRemainingColumn()


@contextmanager
def key_bar(run: str) -> Iterator[Advance]:
    """Shows a bar for the keys of all files, on a terminal only. It disappears in the end."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _done, _expected: None
        return
    with Progress(*COLUMNS, console=console, transient=True) as bar:
        task = bar.add_task(run, total=None)
        yield lambda done, expected: bar.update(task, completed=done, total=expected)
