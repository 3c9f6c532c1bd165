"""Tells the user the outcome in the end."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer import Exit

from losswire_client.cli._failures import CommandError, ExitCode, complain, warn
from losswire_client.cli._output import RESULT_SUFFIX, json_text, stdout, write_json
from losswire_client.cli.comparison._evaluate import Outcome, PairOutcome
from losswire_client.cli.comparison._facts import facts
from losswire_client.cli.comparison._plan import Plan
from losswire_client.cli.comparison.report._tables import tables


def show(outcome: Outcome, plan: Plan, output: Path | None, *, json: bool) -> None:
    """Writes results to standard output and to the file of ``--output``, and warnings to standard error."""
    if json:
        write_json(as_json(outcome, plan))
    elif outcome.pairs:
        for table in tables(outcome, plan):
            stdout().print(table)
    if output and output.suffix.lower() == RESULT_SUFFIX:
        output.write_text(json_text(as_json(outcome, plan)) + "\n")
    for warning in _warnings(outcome):
        warn(warning)
        if not json and not sys.stdout.isatty():
            stdout().print(f"warning: {warning}", soft_wrap=True)


def end(outcome: Outcome, *, fail_on_nonfinite: bool) -> None:
    """Tells why pairs failed, and ends with their exit code."""
    for _, error in outcome.failures:
        complain(error)
    code = outcome.exit_code
    if fail_on_nonfinite and (count := sum(pair.tally.sums.loss.nonfinite_count for pair in outcome.pairs)):
        complain(CommandError(f"--fail-on-nonfinite: {count:,} divergences are NaN or infinite"))
        code = max(code, ExitCode.FAILED)
    if code:
        raise Exit(code)


def as_json(outcome: Outcome, plan: Plan) -> dict[str, Any]:
    """All results. If a pair failed, it is listed in the errors, and there is no total."""
    return {
        "divergence": plan.divergence,
        "beta": plan.beta,
        "temperature": plan.temperature,
        "tail": plan.tail,
        "pairs": [{**_source(pair), **facts(pair.tally)} for pair in outcome.pairs],
        "total": facts(outcome.total) if outcome.total else None,
        "warnings": [*_warnings(outcome)],
        "errors": [{"file": str(path), "error": str(error)} for path, error in outcome.failures],
    }


def _source(pair: PairOutcome) -> dict[str, Any]:
    names = dict(zip(("reference_name", "candidate_name"), pair.names, strict=True))
    files = {"reference": str(pair.source.reference), "candidate": str(pair.source.candidate)}
    return {**files, **names, "labels_name": pair.labels_name}


def _warnings(outcome: Outcome) -> Iterator[str]:
    for pair in outcome.pairs:
        files = f"{pair.source.reference} and {pair.source.candidate}"
        yield from (f"{files}: {warning}" for warning in pair.warnings)
        sums = pair.tally.sums
        if count := sums.loss.nonfinite_count:
            places = "; ".join(f"row {row} is {divergence:g}" for row, divergence in pair.tally.nonfinite)
            more = "" if count == len(pair.tally.nonfinite) else "; ..."
            told = f"{count:,} of {sums.row_count:,} divergences are NaN or infinite: {places}{more}"
            yield f"{files}: {told}"
