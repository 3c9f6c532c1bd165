"""How a failed command ends: with a line for people and an exit code for scripts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from typer import BadParameter, TyperException

from losswire_client._errors import DeadlineExceededError, InvalidArgumentError, LosswireError, UnavailableError
from losswire_client._install import missing
from losswire_client._readers import FileError
from losswire_client.cli._output import stderr


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130  # as in shells after SIGINT; Typer sets it


class CommandError(Exception):
    """An error that the user is told in a line instead of a traceback."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


def wrong_option(option: str, error: InvalidArgumentError) -> BadParameter:
    """The error of an argument as that of the option that stands for it."""
    return BadParameter(str(error).removeprefix(f"{error.argument}: "), param_hint=option)


# The first type that fits counts: some SDK errors are OSErrors too. Any other error is a bug, and shows its traceback.
CODES: dict[type[Exception], ExitCode] = {
    UnavailableError: ExitCode.UNREACHABLE,
    DeadlineExceededError: ExitCode.UNREACHABLE,
    LosswireError: ExitCode.FAILED,
    FileError: ExitCode.FAILED,
    TyperException: ExitCode.USAGE,
    ModuleNotFoundError: ExitCode.USAGE,
    OSError: ExitCode.FAILED,
}
TOLD: tuple[type[Exception], ...] = (CommandError, *CODES)


def exit_code(error: Exception) -> ExitCode:
    """The exit code for an error of `CODES`, or for an error that has its own code."""
    if isinstance(error, CommandError):
        return error.code
    return next(code for kind, code in CODES.items() if isinstance(error, kind))


def line(error: Exception) -> str:
    """The text of an error in one line."""
    if isinstance(error, ModuleNotFoundError):
        return missing(f"{error.name} is not installed", "cli")
    text = error.format_message() if isinstance(error, TyperException) else str(error)
    return " ".join(text.split())


def complain(error: Exception) -> None:
    """Tells the user what is wrong."""
    stderr().print(f"losswire: {line(error)}", style="red", soft_wrap=True)


def warn(text: str) -> None:
    """Warns the user."""
    stderr().print(f"losswire: warning: {text}", style="yellow", soft_wrap=True)


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Ends the process with a line for errors that the user can do something about."""
    try:
        yield
    except TOLD as error:
        complain(error)
        sys.exit(exit_code(error))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has errors of the system name the file: a full disk's does not."""
    try:
        yield
    except LosswireError:  # some are errors of the system too
        raise
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error
