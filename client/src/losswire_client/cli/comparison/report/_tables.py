"""The numbers of a comparison, for people to read."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from rich.table import Table

from losswire_client.cli import _units
from losswire_client.cli.comparison._evaluate import Outcome
from losswire_client.cli.comparison._facts import Facts, facts
from losswire_client.cli.comparison._plan import Plan

ACCURACY = "quantiles are within 1 %; the maximum is exact"
ACCURACY_OF_RUNS = "quantiles and the maximum are within 1 %"


class Line(NamedTuple):
    """A line of the table: its heading, how its number is told, and whether it is left out if it is 0."""

    heading: str
    form: Callable[[float], str]
    is_seldom: bool = False


LINES = {
    "mean": Line("mean", "{:#.6g}".format),
    "median": Line("median", "{:#.4g}".format),
    "quantile_0.9": Line("90 %", "{:#.4g}".format),
    "quantile_0.95": Line("95 %", "{:#.4g}".format),
    "quantile_0.99": Line("99 %", "{:#.4g}".format),
    "quantile_0.999": Line("99.9 %", "{:#.4g}".format),
    "maximum": Line("maximum", "{:#.4g}".format),
    "perplexity_reference": Line("perplexity of A", "{:#.6g}".format),
    "perplexity_candidate": Line("perplexity of B", "{:#.6g}".format),
    "perplexity_ratio": Line("their ratio, B / A", "{:#.6g}".format),
    "change": Line("change of log-probability", "{:#.4g}".format),
    "same_top": Line("same top class", "{:.3%}".format),
    "row_count": Line("rows", "{:,}".format),
    "ignored_count": Line("ignored", "{:,}".format, is_seldom=True),
    "nonfinite_count": Line("NaN or infinite", "{:,}".format, is_seldom=True),
}
ERRORS = {name: f"{name}_standard_error" for name in LINES} | {"mean": "standard_error"}


def tables(outcome: Outcome, plan: Plan) -> Iterator[Table | str]:
    """The numbers of all pairs together, and if there are several, a line for each."""
    if len(outcome.pairs) > 1 or not outcome.total:
        yield _pairs(outcome)
    if outcome.total:
        yield title(plan)
        yield table(facts(outcome.total))
        yield ACCURACY


def title(plan: Plan) -> str:
    """What the numbers are."""
    options = {
        "beta": plan.beta,
        "temperature": None if plan.temperature == 1 else plan.temperature,
        "other classes": plan.tail,
    }
    told = [f"{name} {value}" for name, value in options.items() if value is not None]
    return ", ".join([f"{plan.divergence} divergence of B from A, in nats", *told])


def table(found: Facts) -> Table:
    """A line for each number, with its standard error if it has one."""
    lines = Table("", "value", "std. error")
    for column in lines.columns[1:]:
        column.justify = "right"
    for name, line in LINES.items():
        value = found.get(name)
        if value is not None and (value or not line.is_seldom):
            error = found.get(ERRORS[name])
            lines.add_row(line.heading, line.form(value), "" if error is None else _error(name, error))
    return lines


def _error(name: str, error: float) -> str:
    return f"{error:.3%}" if name == "same_top" else _units.significant(error)


def _pairs(outcome: Outcome) -> Table:
    lines = Table()
    for heading in ("A", "B", "mean", "std. error", "99.9 %", "maximum", "rows"):
        is_file = heading in ("A", "B")
        lines.add_column(heading, justify="left" if is_file else "right", no_wrap=not is_file, overflow="fold")
    for pair in outcome.pairs:
        found = facts(pair.tally)
        numbers = [LINES[name].form(found[name]) for name in ("quantile_0.999", "maximum", "row_count")]
        mean, error = LINES["mean"].form(found["mean"]), _units.significant(found["standard_error"])
        lines.add_row(str(pair.source.reference), str(pair.source.candidate), mean, error, *numbers)
    return lines
