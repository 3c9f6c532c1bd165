"""The numbers of evaluated files, for people to read."""

from collections.abc import Callable, Iterator, Mapping

from rich.table import Table

from losswire_client.cli import _units
from losswire_client.cli._fitting import fitting
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._run import Outcome
from losswire_client.cli.evaluation.report._facts import Facts, class_facts, facts

Columns = Mapping[str, tuple[str, Callable[..., str]]]  # heading and form of a fact, by its name

FILES: Columns = {
    "file": ("file", str),
    "loss": ("loss", "{:#.6g}".format),
    "standard_error": ("std. error", _units.significant),
    "perplexity": ("perplexity", _units.significant),
    "bits_per_byte": ("bits/byte", "{:#.6g}".format),
    "accuracy": ("accuracy", "{:.2%}".format),
    "row_count": ("rows", "{:,}".format),
    "ignored_count": ("ignored", "{:,}".format),
    "nonfinite_count": ("non-finite", "{:,}".format),
    "seconds": ("time", _units.seconds),
    "rows_per_second": ("rows/s", _units.significant),
}
CLASSES: Columns = {
    "class": ("class", str),
    "row_count": ("rows", "{:,}".format),
    "positive_count": ("positive", "{:,}".format),
    "loss": ("mean loss", "{:#.6g}".format),
    "recall": ("recall", "{:.2%}".format),
}
SELDOM = ("ignored_count", "nonfinite_count")  # columns that are left out if all values are 0
FIRST_LEFT_OUT = ("rows_per_second", "seconds", "ignored_count", "standard_error", "perplexity")  # if room is short
MIN_FILE_WIDTH = 12
MAX_CLASSES = 50


def tables(outcome: Outcome, plan: Plan) -> Iterator[Table | str]:
    """A table with a line for each file and one for all files, and a table of the classes of all files together."""
    if outcome.files:
        yield _title(outcome, plan)
        yield _file_table(outcome, plan)
    if outcome.total and outcome.total.classes:
        lines = class_facts(outcome.total.classes)
        shown = lines
        if len(lines) > MAX_CLASSES:
            shown = sorted(lines, key=lambda line: -line["loss_sum"])[:MAX_CLASSES]
            yield f"the {MAX_CLASSES} of {len(lines):,} classes with most of the loss; --json has all"
        yield _table({name: column for name, column in CLASSES.items() if not shown or name in shown[0]}, shown)


def _title(outcome: Outcome, plan: Plan) -> str:
    names = dict.fromkeys(file.input_name for file in outcome.files if file.with_logarithm)
    return f"{plan.loss} of the logarithm of {', '.join(names)}" if names else plan.loss.value


def _file_table(outcome: Outcome, plan: Plan) -> Table:
    lines = [{"file": str(file.path), **facts(file.tallies, plan)} for file in outcome.files]
    total = [{"file": "all", **facts(outcome.total, plan)}] if outcome.total and len(lines) > 1 else []
    columns = _fitting(_occurring([*lines, *total]), [*lines, *total])
    table = _table(columns, lines)
    for line in total:
        table.add_section()
        table.add_row(*_cells(line, columns), style="bold")
    return table


def _occurring(lines: list[Facts]) -> Columns:
    """The columns that have a value for at least one file."""
    left_out = {name for name in SELDOM if not any(line[name] for line in lines)}
    return {name: FILES[name] for name in FILES if name not in left_out and any(name in line for line in lines)}


def _fitting(columns: Columns, lines: list[Facts]) -> Columns:
    """The columns that a terminal has room for."""
    rows = [_cells(line, columns) for line in lines]
    texts = zip(*rows, strict=True)
    cells = {name: [heading, *column] for (name, (heading, _)), column in zip(columns.items(), texts, strict=True)}
    widths = fitting(cells, {"file": MIN_FILE_WIDTH}, FIRST_LEFT_OUT)
    return {name: column for name, column in columns.items() if name in widths}


def _table(columns: Columns, lines: list[Facts]) -> Table:
    table = Table()
    for heading, _ in columns.values():
        table.add_column(heading, justify="left" if heading == "file" else "right", no_wrap=heading != "file")
    for line in lines:
        table.add_row(*_cells(line, columns))
    return table


def _cells(line: Facts, columns: Columns) -> list[str]:
    return [form(line[name]) if name in line else "" for name, (_, form) in columns.items()]
