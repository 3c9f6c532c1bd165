"""The command ``losswire``. ``import losswire_client`` loads nothing of it."""

import sys


def main() -> None:
    """Runs the command, whose libraries come with the extra ``cli``."""
    try:
        from losswire_client.cli._app import app
    except ModuleNotFoundError as error:
        sys.stderr.write(f"losswire: {error.name} is not installed: pip install 'losswire-client[cli]'\n")
        sys.exit(2)
    app(prog_name="losswire")
