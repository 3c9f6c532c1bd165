"""Tells the user the outcome in the end."""

import sys
from pathlib import Path

from typer import Exit

from losswire_client.cli._failures import CommandError, ExitCode, complain, warn
from losswire_client.cli._output import RESULT_SUFFIX, json_text, stdout, write_json
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation._run import Outcome
from losswire_client.cli.evaluation.report._facts import as_json
from losswire_client.cli.evaluation.report._tables import tables


def show(outcome: Outcome, plan: Plan, output: Path | None, *, json: bool) -> None:
    """Writes results to standard output and to the file of ``--output``, and warnings to standard error.

    If standard output goes to a file, its tables have the warnings too, since standard error is not in the file.
    """
    if json:
        write_json(as_json(outcome, plan))
    else:
        for table in tables(outcome, plan):
            stdout().print(table)
    if output and output.suffix.lower() == RESULT_SUFFIX:
        output.write_text(json_text(as_json(outcome, plan)) + "\n")
    for file in outcome.files:
        for warning in file.warnings:
            warn(f"{file.path}: {warning}")
            if not json and not sys.stdout.isatty():
                stdout().print(f"warning: {file.path}: {warning}", soft_wrap=True)


def end(outcome: Outcome, *, fail_on_nonfinite: bool) -> None:
    """Tells why files failed, and ends with their exit code."""
    for _, error in outcome.failures:
        complain(error)
    code = outcome.exit_code
    if fail_on_nonfinite and (count := sum(file.tallies.nonfinite.count for file in outcome.files)):
        complain(CommandError(f"--fail-on-nonfinite: {count:,} losses are NaN or infinite"))
        code = max(code, ExitCode.FAILED)
    if code:
        raise Exit(code)
