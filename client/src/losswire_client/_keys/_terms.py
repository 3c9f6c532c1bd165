"""How files are cut into blocks."""

from collections.abc import Mapping
from dataclasses import dataclass

from losswire_client import Run
from losswire_client._keys._names import parsed

BLOCK_NUMBERS = 2**24  # of the input, 64 MiB of float32. Keys hang on it: it must never change
FILE, FOLDER = "file", "folder"


@dataclass(frozen=True)
class Terms:
    """How files are put into keys. A run's labels keep it, so that all who add to it do the same.

    Attributes:
        block_rows: Rows of a file that have a key together; None for as many as have 2**24 numbers in the input.
        slice_by: What the slice of a key is: ``file``, ``folder``, or the name of an array; None for no slices.
    """

    block_rows: int | None = None
    slice_by: str | None = None

    @property
    def array(self) -> str | None:
        """The array that names the slice of each row."""
        return None if self.slice_by in (FILE, FOLDER) else self.slice_by

    @property
    def labels(self) -> dict[str, str]:
        """The terms as labels of a run."""
        rows = {} if self.block_rows is None else {"block_rows": str(self.block_rows)}
        return rows | ({"slice_by": self.slice_by} if self.slice_by else {})

    def slice_of(self, name: str, folder: str) -> str:
        """The slice of all blocks of a file.

        Args:
            name: Name of the file in keys.
            folder: Name of the folder that it is in.
        """
        return {FILE: name, FOLDER: folder}.get(self.slice_by or "", "")

    def rows(self, row_numbers: int) -> int:
        """How many rows a block of a file has.

        Args:
            row_numbers: The numbers of the input in a row of the file.
        """
        return self.block_rows or rows_of_block(row_numbers)


def rows_of_block(row_numbers: int) -> int:
    """How many rows a block has if the run does not say it. It hangs on nothing but the file."""
    return max(1, BLOCK_NUMBERS // max(1, row_numbers))


def terms_of(labels: Mapping[str, str]) -> Terms:
    """The terms that the labels of a run tell.

    Raises:
        ValueError: They tell no size of a block.
    """
    rows = labels.get("block_rows")
    if rows is not None and (not rows.isdecimal() or not int(rows)):
        raise ValueError(f"its label block_rows is no number of rows: {rows}")
    return Terms(None if rows is None else int(rows), labels.get("slice_by"))


def is_of_files(run: Run) -> bool:
    """Whether a run has blocks of files as its keys, as far as its first one tells."""
    first = next(run.keys(), None)
    return first is not None and parsed(first.key) is not None
