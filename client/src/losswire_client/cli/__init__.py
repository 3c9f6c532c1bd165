"""The command ``losswire``. ``import losswire_client`` does not load it."""

import os
import sys

from losswire_client._install import missing


def main() -> None:
    """Runs the command. The extra ``cli`` installs its libraries."""
    try:
        from losswire_client.cli._app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"losswire: {missing(f'{error.name} is not installed', 'cli')}\n")
        sys.exit(2)
    try:
        app(prog_name="losswire")
    except SystemExit as ended:
        _leave(ended.code)


def _leave(code: str | int | None) -> None:
    """Ends the process without waiting for its threads, since some may wait for a server."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))
