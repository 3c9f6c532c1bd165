"""The numbers of a run, for people to read."""

from collections.abc import Iterator, Mapping

from rich.table import Table

from losswire_client import Run, RunResult, RunTotals
from losswire_client.cli import _units
from losswire_client.cli._run_facts import Facts, has_perplexity, of_totals, state, told_keys

COLUMNS = {
    "key_count": ("keys", "{:,}".format),
    "mean": ("mean loss", "{:#.6g}".format),
    "standard_error": ("std. error", _units.significant),
    "perplexity": ("perplexity", _units.significant),
    "accuracy": ("accuracy", "{:.2%}".format),
    "row_count": ("rows", "{:,}".format),
    "ignored_count": ("ignored", "{:,}".format),
    "nonfinite_count": ("non-finite", "{:,}".format),
}
SELDOM = ("ignored_count", "nonfinite_count")  # columns that are left out if all values are 0
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
    every = [*lines, *([last] if last else [])]
    present = [name for name in COLUMNS if name in every[0]]
    columns = [name for name in present if name not in SELDOM or any(line[name] for line in every)]
    table = Table()
    if groups:
        table.add_column(heading)
    for name in columns:
        table.add_column(COLUMNS[name][0], justify="right", no_wrap=True)
    for line in lines:
        table.add_row(line[heading], *_cells(line, columns))
    if last:
        table.add_section()
        table.add_row(*(["all"] if groups else []), *_cells(last, columns), style="bold" if groups else "")
    yield table


def _cells(line: Facts, columns: list[str]) -> list[str]:
    return [COLUMNS[name][1](line[name]) for name in columns]
