"""``losswire runs show``."""

from typing import Annotated

from typer import Argument, Option

from losswire_client import Run, RunResult
from losswire_client.cli._connection import Connection
from losswire_client.cli._output import stdout, write_json
from losswire_client.cli.runs._facts import facts
from losswire_client.cli.runs._tables import tables

MOST_WEIGHTS = 8  # that are shown


def show(
    connection: Connection,
    name: Annotated[str, Argument(metavar="NAME", help="The run.")],
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show a run: its loss and options, its totals, and those of each slice and class."""
    with connection.client(retry=None) as client:
        run = client.get_run(name)
        result = run.result()
    if json:
        write_json(facts(run, result))
        return
    for table in tables(run, result):
        stdout().print(table)
    for line in _lines(run, result):
        stdout().print(line, soft_wrap=True)


def _lines(run: Run, result: RunResult) -> list[str]:
    """What else is known of a run."""
    options = facts(run, result)["options"]
    weight = options.get("weight", [])
    if len(weight) > MOST_WEIGHTS:
        options["weight"] = f"of {len(weight):,} classes"
    return [
        f"options: {_listed(options)}",
        f"labels: {_listed(result.labels)}",
        f"created {result.created:%Y-%m-%d %H:%M:%S} UTC, last key {result.updated:%Y-%m-%d %H:%M:%S} UTC",
        f"digest of the loss and its options: {run.digest}",
    ]


def _listed(values: object) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(dict(values).items())) or "none"  # type: ignore[call-overload]
