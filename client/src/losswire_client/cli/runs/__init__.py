"""``losswire runs``: the runs that a server keeps. Each command has a file."""

from typer import Context, Exit, Typer

from losswire_client.cli._connection import with_connection
from losswire_client.cli._failures import ExitCode
from losswire_client.cli._output import stdout
from losswire_client.cli.runs.export import export
from losswire_client.cli.runs.finish import finish
from losswire_client.cli.runs.list import list_runs
from losswire_client.cli.runs.rm import remove
from losswire_client.cli.runs.show import show
from losswire_client.cli.runs.watch import watch

app = Typer(help="The runs that a server keeps: list, show, watch, finish, export and delete them.")
app.command("list")(with_connection(list_runs))
app.command()(with_connection(show))
app.command()(with_connection(watch))
app.command()(with_connection(finish))
app.command()(with_connection(export))
app.command("rm")(with_connection(remove))


@app.callback(invoke_without_command=True)
def runs(context: Context) -> None:
    """The runs that a server keeps: list, show, watch, finish, export and delete them."""
    if context.invoked_subcommand is None:
        stdout().print(context.get_help())
        raise Exit(ExitCode.USAGE)
