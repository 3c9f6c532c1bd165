"""``losswire runs export``."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option

from losswire.exact_sums import ExactSums
from losswire_client import Run, RunResult
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import CommandError, warn
from losswire_client.cli._output import new_file, stderr
from losswire_client.cli.runs._facts import facts
from losswire_client.cli.runs._files import KeyFile, new_key_file

Format = Literal["json", "parquet"]


def export(
    connection: Connection,
    name: Annotated[str, Argument(metavar="NAME", help="The run.")],
    file: Annotated[Path, Argument(metavar="FILE", help="The file to write; - for JSON to standard output.")],
    format: Annotated[Format | None, Option(help="The format; by the end of the file's name if not given.")] = None,
) -> None:
    """Write a run to a file, with all its keys, and the exact sums of each.

    JSON is one object: the run, its totals, those of slices and classes, and keys. Parquet is the table of the keys,
    whose metadata has the rest under losswire.run. Exact sums are the message losswire.v1.ExactSums: in JSON by the
    rules of Protobuf, in Parquet serialized. The keys are added up again, and must give the totals of the run.
    """
    chosen = _format(file, format)
    with connection.lasting_client() as client, stderr().status("exporting"):
        run = client.get_run(name)
        with new_key_file(file, chosen) as out:
            total, count = _write_keys(run, out)
            result = run.result()
            _check(result, total, count)
            out.close(facts(run, result), result.sums)


def _format(file: Path, format: Format | None) -> Format:
    """The format, of a file that can be written."""
    if str(file) == "-":
        if format == "parquet" and sys.stdout.isatty():
            raise BadParameter("expected a file for Parquet", param_hint="FILE")
        return format or "json"
    new_file(file, [file.suffix.lower()] if format else [".json", ".parquet"])
    return format or ("json" if file.suffix.lower() == ".json" else "parquet")


def _write_keys(run: Run, out: KeyFile) -> tuple[ExactSums, int]:
    """Writes the keys as they come. Returns what they add up to, and their number."""
    total, count = ExactSums(), 0
    for key in run.keys():  # noqa: SIM118 - of the server
        out.add(key)
        total, count = total + key.sums, count + 1
    return total, count


def _check(result: RunResult, total: ExactSums, count: int) -> None:
    """Compares the totals of the run with those of its keys."""
    if result.key_count != count:
        warn(f"keys were added meanwhile: the file has {count:,} of {result.key_count or 0:,}, and totals of all")
    elif not total.is_same(result.sums):
        raise CommandError(f"{result.name}: the keys do not add up to its totals, but to {total.statistics}")
