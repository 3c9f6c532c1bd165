"""Tells the user what a command has added to a run, and what the run has come to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from losswire_client.cli._output import json_text, stdout, write_json
from losswire_client.cli.comparison.keyed._compare import Outcome
from losswire_client.cli.comparison.keyed._preparing import Prepared
from losswire_client.cli.comparison.report._tables import ACCURACY_OF_RUNS, table, title
from losswire_client.cli.evaluation.keyed._report import as_json, told
from losswire_client.cli.runs._divergences import of_sums
from losswire_client.cli.runs._facts import state, told_keys


def show(prepared: Prepared, outcome: Outcome, output: Path | None, *, json: bool) -> None:
    """Writes results to standard output and to the file of ``--output``."""
    if json:
        write_json(_as_json(prepared, outcome))
    elif outcome.result:
        for each in _tables(prepared, outcome):
            stdout().print(each, soft_wrap=isinstance(each, str))
    if output:
        output.write_text(json_text(_as_json(prepared, outcome)) + "\n")


def _tables(prepared: Prepared, outcome: Outcome) -> Iterator[Any]:
    result = outcome.result
    if result is not None:
        yield f"run {result.name}, {state(result)}, {told_keys(result)} keys: {title(prepared.plan)}"
        yield table(of_sums(result.sums))
        for name, totals in result.by_slice.items():
            yield f"slice {name}"
            yield table(of_sums(totals.sums))
        yield ACCURACY_OF_RUNS
    yield told(outcome)


def _as_json(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    found = as_json(prepared.run, outcome)
    return {**found, "total": of_sums(outcome.result.sums) if outcome.result else None}
