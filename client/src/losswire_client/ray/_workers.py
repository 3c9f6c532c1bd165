"""What the actors of a job do, each with a client of its own: a pickled run connects anew where it is loaded.

Ray may run a part again: after its worker died, or after the servers were away for longer than the client retries. What
the run has by then is left out, and what was on its way counts once. An error that would come again is an answer.
"""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from losswire_client import LosswireError, Run
from losswire_client._errors import InvalidArgumentError, invalid_argument
from losswire_client._keys import Terms
from losswire_client._readers import Array, FileError
from losswire_client._retry import PASSING
from losswire_client.ray._files import File
from losswire_client.ray._groups import key_of, rows_of
from losswire_client.ray._parts import Names, Part, parts_of
from losswire_client.ray._slices import Block, cut

Row = dict[str, Any]


def listed(files: list[File], names: Names, terms: Terms) -> list[tuple[Part, list[str]]]:
    """The parts of some files, with the keys of each.

    Raises:
        InvalidArgumentError: A file cannot be read, or has no such columns.
    """
    try:
        return [part for file in files for part in parts_of(file, names, terms)]
    except FileError as error:
        raise wrong(error) from error


class PartEvaluator:
    """Evaluates parts of files."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, row: Row) -> Row:
        part, keys = pickle.loads(row["value"])  # noqa: S301 - our own
        ((value, error),) = answered(lambda: [self._evaluate(part, keys)])
        return {"value": value, "error": error}

    def _evaluate(self, part: Part, keys: list[str]) -> bytes:
        missing = set(self._run.missing(keys))
        for block in part.blocks() if missing else ():
            if block.key in missing:
                count(self._run, block)
                missing.remove(block.key)
        if missing:
            raise FileError(part.file.name, f"has changed since the job began: {min(missing)} is not in it any more")
        return part.file.name.encode()


class GroupEvaluator:
    """Evaluates rows of a dataset that have one key."""

    def __init__(self, run: Run, key: str, names: Names) -> None:
        self._run = run
        self._key = key
        self._names = names

    def __call__(self, group: dict[str, Array]) -> dict[str, list[bytes]]:
        values, errors = zip(*answered(lambda: self._evaluate(group)), strict=True)
        return {"value": list(values), "error": list(errors)}

    def _evaluate(self, group: dict[str, Array]) -> Iterator[bytes]:
        key = key_of(self._key, group[self._key])
        try:
            blocks = list(cut(key, rows_of(group, self._names)))
        except ValueError as error:
            raise invalid_argument("data", f"{key}: {error}") from error
        for block in blocks:
            count(self._run, block)
            yield block.key.encode()


def count(run: Run, block: Block) -> None:
    """Evaluates a block under its key. Errors name it."""
    rows = block.rows
    try:
        run.evaluate(rows.input, rows.target, key=block.key, slice=block.slice, sample_weight=rows.sample_weight)
    except LosswireError as error:
        error.args = (f"{block.key}: {error.args[0]}", *error.args[1:])
        raise


def answered(evaluate: Callable[[], Any]) -> Iterator[tuple[bytes, bytes]]:
    """What a part yields, and in the end its error, if it has one that would come again."""
    try:
        for value in evaluate():
            yield value, b""
    except PASSING:
        raise
    except LosswireError as error:
        yield b"", pickle.dumps(error)
    except FileError as error:
        yield b"", pickle.dumps(wrong(error))


def wrong(error: FileError) -> InvalidArgumentError:
    return invalid_argument("data", str(error))
