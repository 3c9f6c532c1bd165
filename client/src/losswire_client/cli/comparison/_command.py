"""``losswire compare``, from its options on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from losswire_client._readers.sides import PairSource
from losswire_client.cli._connection import Connection
from losswire_client.cli.comparison import keyed
from losswire_client.cli.comparison._evaluate import compare_files
from losswire_client.cli.comparison._plan import Plan
from losswire_client.cli.comparison.report._picture import save_picture
from losswire_client.cli.comparison.report._report import end, show
from losswire_client.cli.comparison.report._row_files import row_writer
from losswire_client.cli.evaluation import progress_bar


@dataclass(frozen=True)
class Told:
    """What is told in the end, and where.

    Attributes:
        output: A file for rows or results.
        plot: A file for a picture.
        fail_on_nonfinite: Whether a divergence that is NaN or infinite is an error.
        json: Whether to write JSON.
    """

    output: Path | None
    plot: Path | None
    fail_on_nonfinite: bool
    json: bool


def compare_alone(connection: Connection, sources: Sequence[PairSource], plan: Plan, told: Told) -> None:
    """Compares pairs of files, and tells what they come to."""
    with connection.client() as client, progress_bar() as progress, row_writer(told.output) as rows:
        client.ping()  # fails at once without a server, for which evaluations would wait
        outcome = compare_files(client, sources, plan, progress, rows.add)
        if outcome.total:
            rows.keep()
    show(outcome, plan, told.output, json=told.json)
    if told.plot and outcome.total:
        save_picture(outcome.total.sums, outcome.total.changes, plan, told.plot)
    end(outcome, fail_on_nonfinite=told.fail_on_nonfinite)


def compare_keyed(
    connection: Connection, wanted: keyed.Wanted, sources: Sequence[PairSource], plan: Plan, told: Told
) -> None:
    """Compares what a run lacks of pairs of files, and tells what it has come to."""
    prepared, outcome = keyed.compare_in_run(connection, wanted, sources, plan)
    keyed.show(prepared, outcome, told.output, json=told.json)
    if told.plot and outcome.result:
        save_picture(outcome.result.sums, None, prepared.plan, told.plot)
    keyed.end(outcome, fail_on_nonfinite=told.fail_on_nonfinite)
