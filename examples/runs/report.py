"""What the example prints: tables, and what was checked."""

from collections.abc import Mapping, Sequence

from comparison import Means
from rich.console import Console
from rich.table import Table

from losswire_client import RunResult, RunTotals

RESULTS = ("mean", "standard_error", "perplexity", "loss_sum")


def means_table(means: Means) -> Table:
    table = Table("mean loss", "", "off by", title="The mean, and what it would be otherwise", title_justify="left")
    for text, mean, style in (
        ("of the run", means.run, "bold"),
        ("PyTorch, all rows at once, float64", means.float64, ""),
        ("PyTorch, all rows at once, float32", means.float32, ""),
        ("mean of the means of all keys", means.of_means, "red"),
        ("all answers added up, with repeats", means.of_answers, "red"),
    ):
        table.add_row(text, f"{mean:.12f}", f"{abs(mean - means.float64):.1e}", style=style)
    return table


def result_table(result: RunResult) -> Table:
    columns = ("mean", "std. error", "perplexity", "accuracy", "rows", "keys")
    table = Table("", *columns, title=f"Run {result.name}", title_justify="left")
    table.add_row(*_row("all", result))
    for name, totals in result.by_slice.items():
        table.add_row(*_row(f"digits {name}", totals))
    hardest = max(result.by_class, key=lambda digit: result.by_class[digit].mean)
    table.add_row(*_row(f"digit {hardest}", result.by_class[hardest]), style="dim")
    return table


def _row(name: str, totals: RunTotals) -> Sequence[str]:
    accuracy = "" if totals.accuracy is None else f"{totals.accuracy:.2%}"
    keys = "" if totals.key_count is None else str(totals.key_count)
    numbers = f"{totals.mean:.6f}", f"{totals.standard_error:.6f}", f"{totals.perplexity:.4f}"
    return [name, *numbers, accuracy, str(totals.row_count), keys]


def bits_table(first: RunResult, second: RunResult) -> Table:
    table = Table("", first.name, second.name, title="All bits of the two runs", title_justify="left")
    table.add_row("keys", str(first.key_count), str(second.key_count))
    for name in RESULTS:
        table.add_row(name.replace("_", " "), *(float.hex(getattr(result, name)) for result in (first, second)))
    return table


def show_checks(checks: Mapping[str, bool], console: Console) -> None:
    for text, holds in checks.items():
        console.print(f"[green]✓[/] {text}" if holds else f"[red]✗ {text}[/]", highlight=False, soft_wrap=True)
