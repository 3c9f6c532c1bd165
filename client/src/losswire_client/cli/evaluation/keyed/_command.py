"""``losswire eval --run``."""

from collections.abc import Sequence
from pathlib import Path

from losswire_client._readers import Source
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import warn
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.keyed._evaluate import GOES_ON, evaluate_missing, finish_run
from losswire_client.cli.evaluation.keyed._preparing import prepare
from losswire_client.cli.evaluation.keyed._progress import key_bar
from losswire_client.cli.evaluation.keyed._report import end, show
from losswire_client.cli.evaluation.keyed._wanted import Wanted


def evaluate_in_run(
    connection: Connection,
    wanted: Wanted,
    files: Sequence[Source],
    plan: Plan,
    *,
    finish: bool,
    fail_on_nonfinite: bool,
    json: bool,
    output: Path | None,
) -> None:
    """Evaluates what a run lacks of files, and tells what it has come to.

    Args:
        connection: Where the server is.
        wanted: What the command line says of the run.
        files: The files.
        plan: What the command line says of how to evaluate them.
        finish: Whether to finish the run.
        fail_on_nonfinite: Whether a loss that is NaN or infinite is an error.
        json: Whether to write JSON.
        output: A file for JSON.
    """
    try:
        with connection.lasting_client() as client, key_bar(wanted.name) as advance:
            prepared = prepare(client, wanted, files, plan)
            outcome = evaluate_missing(prepared, advance)
            if finish:
                finish_run(prepared, outcome)
    except KeyboardInterrupt:
        warn(f"run {wanted.name}: interrupted; {GOES_ON}")
        raise
    show(prepared.run, outcome, output, json=json)
    end(outcome, fail_on_nonfinite=fail_on_nonfinite)
