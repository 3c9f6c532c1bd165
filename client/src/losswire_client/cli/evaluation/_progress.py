from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from losswire_client.cli._output import stderr
from losswire_client.cli.evaluation._run import Advance

NAME = TextColumn("{task.description}", markup=False)
COLUMNS = NAME, BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn()


@contextmanager
def progress_bar() -> Iterator[Advance]:
    """Shows a bar for each file, on a terminal only. The bars disappear in the end."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _path, _total, _rows: None
        return
    with Progress(*COLUMNS, console=console, transient=True) as bar:
        tasks: dict[Path, TaskID] = {}

        def advance(path: Path, total: int | None, rows: int) -> None:
            if path not in tasks:
                tasks[path] = bar.add_task(path.name, total=total)
            bar.advance(tasks[path], rows)

        yield advance
