"""``losswire runs finish``."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, BadParameter, Option

from losswire_client import InvalidArgumentError, PreconditionError, RunResult
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import CommandError
from losswire_client.cli._output import stdout, write_json
from losswire_client.cli.runs._facts import listed, told_keys


def finish(
    connection: Connection,
    names: Annotated[list[str], Argument(metavar="NAME", help="The run, or several.")],
    count: Annotated[int | None, Option(min=0, help="How many keys it must have.")] = None,
    keys: Annotated[
        Path | None,
        Option(help="Text file with the keys it must have, one a line; or -."),
    ] = None,
    json: Annotated[bool, Option("--json", help="Write JSON.")] = False,
) -> None:
    """Finish runs that lack nothing: they take no more keys, and their totals never change.

    A run must have the expected keys, and no others: those of --keys, as many as --count, or else as many as
    was noted. To finish a finished run again changes nothing.
    """
    if count is not None and keys is not None:
        raise BadParameter("expected one of it and --keys", param_hint="--count")
    if len(names) > 1 and (count is not None or keys is not None):
        raise BadParameter("expected one run with --keys or --count", param_hint="NAME")
    expected = None if keys is None else _keys(keys)
    with connection.client(retry=None) as client:
        results = []
        for name in names:
            try:
                results.append(client.get_run(name).finish(expected, count))
            except InvalidArgumentError as error:
                raise _without_number(name, error) from error
            except PreconditionError as error:
                raise CommandError(f"{error}{_way_out(count, keys, error)}") from error
    if json:
        write_json([listed(result) for result in results])
        return
    for result in results:
        stdout().print(_line(result), soft_wrap=True)


def _keys(path: Path) -> list[str]:
    """The keys in a text. A key may contain what Python takes for the end of a line, as U+2028."""
    data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadParameter(f"{path}: expected text in UTF-8, {error}", param_hint="--keys") from error
    return [key for line in lines if (key := line.removesuffix("\r"))]


def _without_number(name: str, error: InvalidArgumentError) -> Exception:
    """The error, with the options that say what it lacks."""
    if error.argument != "keys":
        return error
    return CommandError(f"run {name!r} was created without the number of its keys: expected --count or --keys")


def _way_out(count: int | None, keys: Path | None, error: PreconditionError) -> str:
    """What to do if the number that was noted is not that of the keys."""
    is_noted = count is None and keys is None and not error.argument
    return ", which was noted: --count or --keys say it anew" if is_noted else ""


def _line(run: RunResult) -> str:
    when = f"{run.finished:%Y-%m-%d %H:%M:%S} UTC" if run.finished else ""
    return f"{run.name}: finished {when}, {told_keys(run)} keys, {run.row_count:,} rows, mean loss {run.mean:#.6g}"
