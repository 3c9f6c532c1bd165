"""What files add up to, as people read it."""

from collections.abc import Callable, Iterator, Mapping

from rich.table import Table

from losswire_client.cli import _units
from losswire_client.cli.evaluation._facts import Facts, class_facts, facts
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._run import Outcome

Columns = Mapping[str, tuple[str, Callable[..., str]]]  # heading and form of a fact, by its name

FILES: Columns = {
    "file": ("file", str),
    "loss": ("loss", "{:#.6g}".format),
    "perplexity": ("perplexity", _units.significant),
    "accuracy": ("accuracy", "{:.2%}".format),
    "row_count": ("rows", "{:,}".format),
    "ignored_count": ("ignored", "{:,}".format),
    "seconds": ("time", _units.seconds),
    "rows_per_second": ("rows/s", _units.significant),
}
CLASSES: Columns = {
    "class": ("class", str),
    "row_count": ("rows", "{:,}".format),
    "loss": ("mean loss", "{:#.6g}".format),
    "recall": ("recall", "{:.2%}".format),
}
MAX_CLASSES = 50


def tables(outcome: Outcome, plan: Plan) -> Iterator[Table | str]:
    """A line a file, and one for all of them; and the classes, of all files together."""
    if outcome.files:
        yield plan.loss.value
        yield _file_table(outcome, plan)
    if outcome.total and outcome.total.classes:
        lines = class_facts(outcome.total.classes)
        shown = lines
        if len(lines) > MAX_CLASSES:
            shown = sorted(lines, key=lambda line: -line["loss_sum"])[:MAX_CLASSES]
            yield f"the {MAX_CLASSES} of {len(lines):,} classes with most of the loss; --json has all"
        yield _table(CLASSES, shown)


def _file_table(outcome: Outcome, plan: Plan) -> Table:
    lines = [{"file": str(path), **facts(tallies, plan)} for path, tallies in outcome.files]
    columns = {name: column for name, column in FILES.items() if name in lines[0]}
    table = _table(columns, lines)
    if outcome.total and len(lines) > 1:
        table.add_section()
        table.add_row(*_cells({"file": "all", **facts(outcome.total, plan)}, columns), style="bold")
    return table


def _table(columns: Columns, lines: list[Facts]) -> Table:
    table = Table()
    for heading, _ in columns.values():
        table.add_column(heading, justify="left" if heading == "file" else "right", no_wrap=heading != "file")
    for line in lines:
        table.add_row(*_cells(line, columns))
    return table


def _cells(line: Facts, columns: Columns) -> list[str]:
    return [form(line[name]) for name, (_, form) in columns.items()]
