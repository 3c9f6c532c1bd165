"""``losswire runs rm``."""

import sys
from typing import Annotated

import typer
from typer import Argument, BadParameter, Exit, Option

from losswire_client import Client, NotFoundError, RunProgress
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import ExitCode, complain
from losswire_client.cli._output import stdout
from losswire_client.cli.runs._facts import state, told_keys


def remove(
    connection: Connection,
    names: Annotated[list[str], Argument(metavar="NAME", help="The run, or several.")],
    yes: Annotated[bool, Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs with their keys, finished or not. They cannot be brought back."""
    if not yes and not is_terminal():
        raise BadParameter("expected it, since nobody can be asked", param_hint="--yes")
    with connection.client(retry=None) as client:
        failed = [name for name in dict.fromkeys(names) if not _remove(client, name, yes=yes)]
    if failed:
        raise Exit(ExitCode.FAILED)


def is_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin.isatty()


def _remove(client: Client, name: str, *, yes: bool) -> bool:
    """Deletes a run unless its deletion is not meant; False if there is none."""
    try:
        run = client.get_run(name)
        is_meant = yes or typer.confirm(_question(run.progress()))
        if is_meant:
            run.delete()
    except NotFoundError as error:
        complain(error)
        return False
    stdout().print(f"{'deleted' if is_meant else 'kept'} {name}", soft_wrap=True)
    return True


def _question(run: RunProgress) -> str:
    return f"Delete {run.name} ({state(run)}, {told_keys(run)} keys, {run.row_count:,} rows)?"
