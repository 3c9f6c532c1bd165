"""The command ``losswire``. ``import losswire_client`` loads nothing of it."""

import sys

from losswire_client._install import missing


def main() -> None:
    """Runs the command, whose libraries come with the extra ``cli``."""
    try:
        from losswire_client.cli._app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"losswire: {missing(f'{error.name} is not installed', 'cli')}\n")
        sys.exit(2)
    app(prog_name="losswire")
