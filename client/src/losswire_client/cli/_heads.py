"""Heads that the command line names: of files, or those that a server holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from losswire_client import Client, Head, HeadNotFoundError, InvalidArgumentError, Run
from losswire_client._readers import Array, FileError
from losswire_client.cli._connection import Connection
from losswire_client.cli._failures import CommandError, wrong_option

HELP = "safetensors file or folder of a checkpoint; or digest or alias of one that the server holds."


@dataclass(frozen=True)
class GivenHead:
    """A head, and what is known of it.

    Attributes:
        argument: What calls get: the head itself, or the digest of one that the server holds.
        digest: SHA-256 of its content.
        class_count: How many classes it has.
        width: How many numbers a hidden state has.
        is_float64: Whether it computes in float64; else in float32.
    """

    argument: Head | str
    digest: str
    class_count: int
    width: int
    is_float64: bool

    def check_width(self, path: Path, name: str, width: int) -> None:
        """Checks that the rows of an array are hidden states of this head.

        Raises:
            FileError: They have another width.
        """
        if width == self.width:
            return
        hint = ": logits need no head" if width == self.class_count else ""
        raise FileError(path, f"{name} has {width} numbers a row, expected {self.width}, the width of the head{hint}")

    def fitted(self, hidden: Array) -> Array:
        """Hidden states as the head takes them: float64 for one in float64, and only then, as many files have all."""
        if hidden.dtype.kind == "f" and (hidden.dtype == np.float64) != self.is_float64:
            return hidden.astype(np.float64 if self.is_float64 else np.float32)
        return hidden


def read_head(text: str | None, option: str) -> Head | str | None:
    """The head of a file or folder, or else the name of one that the server holds.

    Raises:
        BadParameter: There is no head in the file.
    """
    if text is None or not Path(text).exists():
        return text
    try:
        return Head.load(text)
    except InvalidArgumentError as error:
        raise wrong_option(option, error) from error


def given_head(connection: Connection, text: str | None, option: str = "--head") -> GivenHead | None:
    """The head that an option names. The server is asked for it only if it is named as one that the server holds.

    Raises:
        BadParameter: There is no head in the file, or the text can be no name of one.
        CommandError: There is no such file, and the server holds no head of this name.
    """
    head = read_head(text, option)
    if not isinstance(head, str):
        return None if head is None else _of_file(head)
    with connection.client() as client:
        try:
            return known(client, head)
        except InvalidArgumentError as error:
            raise wrong_option(option, error) from error
        except HeadNotFoundError as error:
            problem = f"there is no file or folder {head}, and the server holds no head of this name"
            raise CommandError(f"{option}: {problem}") from error


def known(client: Client, head: Head | str) -> GivenHead:
    """A head with what is known of it. One that the server lacks is registered by the first call that needs it.

    Raises:
        HeadNotFoundError: The server does not hold a head of this name.
    """
    if isinstance(head, Head):
        return _of_file(head)
    held = client.get_head(head)
    return GivenHead(held.digest, held.digest, held.class_count, held.width, held.dtype == "float64")


def head_of_run(client: Client, run: Run, name: str, given: GivenHead | None, option: str) -> GivenHead:
    """The head that a run names. The server gets it if it lacks it and the command line has it.

    Raises:
        CommandError: Neither has it.
    """
    if given and isinstance(given.argument, Head):
        try:
            client.get_head(given.argument)  # servers that let nobody register heads may hold it
        except HeadNotFoundError:
            client.register_head(given.argument)
    try:
        return given or known(client, name)
    except HeadNotFoundError as error:
        problem = f"the run {run.name} has the head {name}, which the server does not hold any more"
        raise CommandError(f"{problem}: name the file of it with {option}") from error


def _of_file(head: Head) -> GivenHead:
    return GivenHead(head, head.digest, head.class_count, head.width, head.arrays["weight"].dtype == np.float64)
