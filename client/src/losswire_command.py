"""The command ``losswire`` from its first line on. It lies outside the package, whose import takes half a second."""

import os
import signal

INTERRUPTED = 130  # as in shells after SIGINT


def main() -> None:
    """Runs the command."""
    end_on_interrupt()
    from losswire_client.cli import main as run

    run()


def end_on_interrupt() -> None:
    """Has an interrupt end the process at once: while modules load, Python would show a traceback of theirs.

    A process that ignores interrupts, as in the background of a shell, goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_interrupt() -> None:
    """Has an interrupt raise KeyboardInterrupt again, so that a command can close what it has opened."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)
