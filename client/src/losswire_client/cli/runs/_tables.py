"""The numbers of a run, for people to read."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from losswire_client import Run, RunResult, RunTotals
from losswire_client.cli import _units
from losswire_client.cli._fitting import fitting, left_out
from losswire_client.cli.runs._facts import Facts, has_perplexity, of_totals, state, told_keys

COLUMNS = {
    "key_count": ("keys", "{:,}".format),
    "mean": ("mean loss", "{:#.6g}".format),
    "standard_error": ("std. error", _units.significant),
    "perplexity": ("perplexity", _units.significant),
    "accuracy": ("accuracy", "{:.2%}".format),
    "median": ("median", "{:#.4g}".format),
    "quantile_0.99": ("99 %", "{:#.4g}".format),
    "maximum": ("maximum", "{:#.4g}".format),
    "change": ("change", "{:#.4g}".format),
    "same_top": ("same top", "{:.2%}".format),
    "row_count": ("rows", "{:,}".format),
    "ignored_count": ("ignored", "{:,}".format),
    "nonfinite_count": ("non-finite", "{:,}".format),
}
SELDOM = ("ignored_count", "nonfinite_count")  # columns that are left out if all values are 0
OF_LOSSES = ("perplexity", "ignored_count", "key_count", "standard_error", "accuracy")
FIRST_LEFT_OUT = (*OF_LOSSES, "change", "maximum")  # if room is short
MIN_NAME_WIDTH = 12
MAX_LINES = 50


def tables(run: Run, result: RunResult) -> Iterator[Table | str]:
    """The totals with a line for each slice, and the classes."""
    has = has_perplexity(run)
    finished = f"{result.finished:%Y-%m-%d %H:%M:%S} UTC" if result.finished else ""
    yield f"run {run.name} ({run.loss}), {state(result)} {finished}".strip() + f", {told_keys(result)} keys"
    yield from _table("slice", result.by_slice, result, perplexity=has)
    if result.by_class:
        yield from _table("class", {str(i): totals for i, totals in result.by_class.items()}, None, perplexity=has)


def _table(
    heading: str, groups: Mapping[str, RunTotals], total: RunTotals | None, *, perplexity: bool
) -> Iterator[Table | str]:
    """A line for each group, of many for those with most of the loss, and a line for all of them."""
    lines = [{heading: name, **of_totals(totals, perplexity=perplexity)} for name, totals in groups.items()]
    last = {heading: "all", **of_totals(total, perplexity=perplexity)} if total else None
    if len(lines) > MAX_LINES:
        yield f"the {MAX_LINES} of {len(lines):,} with most of the loss; --json has all"
        lines = sorted(lines, key=lambda line: -line["loss_sum"])[:MAX_LINES]
    cells = _cells(heading if groups else None, [*lines, *([last] if last else [])])
    widths = fitting(cells, {heading: MIN_NAME_WIDTH}, FIRST_LEFT_OUT)
    yield _drawn(cells, widths, has_total=bool(groups and last))
    if told := left_out(cells, widths):
        yield told


def _cells(heading: str | None, lines: Sequence[Facts]) -> dict[str, list[str]]:
    """The heading and the texts of each column. Not all slices may have an accuracy."""
    cells = {heading: [heading, *(line[heading] for line in lines)]} if heading else {}
    for name, (told, form) in COLUMNS.items():
        values = [line.get(name) for line in lines]
        if any(value is not None and (value or name not in SELDOM) for value in values):
            cells[name] = [told, *("-" if value is None else form(value) for value in values)]
    return cells


def _drawn(cells: Mapping[str, Sequence[str]], widths: Mapping[str, int], *, has_total: bool) -> Table:
    table = Table()
    for name, width in widths.items():
        is_number = name in COLUMNS
        table.add_column(cells[name][0], width=width, justify="right" if is_number else "left", overflow="fold")
    *rows, last = zip(*(cells[name][1:] for name in widths), strict=True)
    for row in rows:
        table.add_row(*row)
    if has_total:
        table.add_section()
    table.add_row(*last, style="bold" if has_total else "")
    return table
