"""The command ``losswire``. ``import losswire_client`` does not load it."""

import os
import sys

from losswire_client._install import missing
from losswire_command import INTERRUPTED, end_on_interrupt, raise_on_interrupt


def main() -> None:
    """Runs the command. The extra ``cli`` installs its libraries."""
    end_on_interrupt()
    try:
        from losswire_client.cli._app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"losswire: {missing(f'{error.name} is not installed', 'cli')}\n")
        sys.exit(2)
    try:
        raise_on_interrupt()
        app(prog_name="losswire")
    except SystemExit as ended:
        end_on_interrupt()
        _leave(ended.code)
    except KeyboardInterrupt:
        _leave(INTERRUPTED)


def _leave(code: str | int | None) -> None:
    """Ends the process without waiting for its threads, since some may wait for a server."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))
