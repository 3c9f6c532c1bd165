"""Tells the user what a command has added to a run, and what the run has come to."""

import sys
from pathlib import Path
from typing import Any

from typer import Exit

from losswire_client import Run
from losswire_client.cli import _units
from losswire_client.cli._failures import CommandError, ExitCode, complain, warn
from losswire_client.cli._output import json_text, stdout, write_json
from losswire_client.cli.evaluation.keyed._outcome import KeyedOutcome
from losswire_client.cli.runs._facts import facts
from losswire_client.cli.runs._tables import tables


def show(run: Run, outcome: KeyedOutcome[Any], output: Path | None, *, json: bool) -> None:
    """Writes results to standard output and to the file of ``--output``, and warnings to standard error."""
    if json:
        write_json(as_json(run, outcome))
    elif outcome.result:
        for table in tables(run, outcome.result):
            stdout().print(table)
        stdout().print(told(outcome), soft_wrap=True)
    if output:
        output.write_text(json_text(as_json(run, outcome)) + "\n")
    for name, warning in outcome.warnings:
        warn(f"{name}: {warning}")
        if not json and not sys.stdout.isatty():
            stdout().print(f"warning: {name}: {warning}", soft_wrap=True)


def end(outcome: KeyedOutcome[Any], *, fail_on_nonfinite: bool) -> None:
    """Tells why files failed, and ends with their exit code."""
    for _, error in outcome.failures:
        complain(error)
    code = outcome.exit_code
    if fail_on_nonfinite and outcome.result and (count := outcome.result.nonfinite_count):
        complain(CommandError(f"--fail-on-nonfinite: {count:,} losses of the run are NaN or infinite"))
        code = max(code, ExitCode.FAILED)
    if code:
        raise Exit(code)


def told(outcome: KeyedOutcome[Any]) -> str:
    """What was done, and what is left to do, in a line."""
    if not outcome.expected_count:
        return "none of these files has a key"
    time = f" in {_units.seconds(outcome.seconds)}" if outcome.added_count else ""
    added = f"added {outcome.added_count:,} keys ({outcome.added_rows:,} rows){time}"
    there = outcome.expected_count - outcome.missing_count - outcome.added_count
    others = f"; {outcome.other_count:,} keys are of other files" if outcome.other_count else ""
    lacks = f"lacks {outcome.missing_count:,} of {outcome.expected_count:,} keys of these files"
    complete = f"has all {outcome.expected_count:,} keys of these files"
    return f"{added}; {there:,} were there already{others}; the run {complete if outcome.is_complete else lacks}"


def as_json(run: Run, outcome: KeyedOutcome[Any]) -> dict[str, Any]:
    """All results."""
    return {
        "run": facts(run, outcome.result) if outcome.result else None,
        "expected_key_count": outcome.expected_count,
        "found_key_count": outcome.found_count,
        "added_key_count": outcome.added_count,
        "added_row_count": outcome.added_rows,
        "missing_key_count": outcome.missing_count,
        "other_key_count": outcome.other_count,
        "is_complete": outcome.is_complete,
        "seconds": outcome.seconds,
        "files": [
            {"file": str(file.source.path), "name": file.name, "fingerprint": file.fingerprint, "slice": file.slice}
            | {"row_count": file.row_count, "key_count": sum(1 for _ in file.all_keys())}
            | {"added_key_count": tally.key_count if (tally := outcome.tallies.get(file.name)) else 0}
            for file in outcome.files
        ],
        "warnings": [{"file": name, "warning": text} for name, text in outcome.warnings],
        "errors": [{"file": str(path), "error": str(error)} for path, error in outcome.failures],
    }
