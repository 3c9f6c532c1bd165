"""The command line. Each command has a file, and loads heavy libraries only when it runs."""

import sys
from typing import Annotated, Any

from typer import Context, Exit, Option, Typer
from typer.core import TyperGroup

from losswire_client import __version__
from losswire_client.cli._connection import with_connection
from losswire_client.cli._failures import ExitCode, told_in_a_line
from losswire_client.cli._output import stdout
from losswire_client.cli.bench import bench
from losswire_client.cli.compare import compare
from losswire_client.cli.eval import evaluate
from losswire_client.cli.ping import ping
from losswire_client.cli.runs import app as runs
from losswire_client.cli.top import top

EXIT_CODES = (
    "Exit codes: 0 done; 1 the server or a file said no; 2 wrong usage; 3 no server was reached, or none answered in "
    "time; 130 interrupted. Errors are one line on standard error."
)


class Commands(TyperGroup):
    """Commands whose failures are told in one line, errors of usage included."""

    def main(self, *args: Any, **extra: Any) -> Any:
        with told_in_a_line():
            code = super().main(*args, **{**extra, "standalone_mode": False})
        sys.exit(code)


app = Typer(
    cls=Commands,
    help="PyTorch's cross-entropy family, evaluated by a Losswire server.",
    epilog=EXIT_CODES,
    rich_markup_mode="markdown",  # it joins the lines of a paragraph
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(with_connection(ping))
app.command("eval")(with_connection(evaluate))
app.command()(with_connection(compare))
app.command()(with_connection(bench))
app.command()(top)
app.add_typer(runs, name="runs")


@app.callback(invoke_without_command=True)
def losswire(
    context: Context, version: Annotated[bool, Option("--version", help="Show the version and exit.")] = False
) -> None:
    if version:
        stdout().print(f"losswire {__version__}")
    elif context.invoked_subcommand is None:
        stdout().print(context.get_help())
        raise Exit(ExitCode.USAGE)
