"""What a file is, whatever its place: a fingerprint of its bytes, and of what is read from it."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

PIECES, PIECE_BYTES = 16, 2**16  # the part of a large file that is read for its fingerprint
DIGITS = 12  # two files of one name differ in them, with a chance to the contrary of 2^-48


class Reading(NamedTuple):
    """What the numbers of a file's rows depend on, beside its bytes and the run.

    Attributes:
        input: Name of the input's array.
        target: Name of the targets' array.
        sample_weight: Name of the array with the factor of each row.
        slice: Name of the array with the slice of each row.
        mask: Name of the array with 1 where a target counts.
        classes_last: Whether the classes are the last dimension.
        shift: Whether a position predicts the next one.
        logarithm: Whether the logarithm of the input is evaluated.
        wire_dtype: The dtype in which the input is sent, if it is another one.
        head: Digest of the head, if the input is hidden states.
        reference: Name of the array that the input is compared with, in the second file.
        reference_head: Digest of its head, if it is hidden states.
        labels: Name of the labels of a comparison.
    """

    input: str
    target: str
    sample_weight: str | None = None
    slice: str | None = None
    mask: str | None = None
    classes_last: bool = False
    shift: bool = False
    logarithm: bool = False
    wire_dtype: str | None = None
    head: str | None = None
    reference: str | None = None
    reference_head: str | None = None
    labels: str | None = None

    @property
    def text(self) -> str:
        """All that is not as usual, so that what may be chosen later changes no key of today."""
        usual = Reading._field_defaults
        chosen = {name: value for name, value in self._asdict().items() if value != usual.get(name)}
        return json.dumps(chosen, sort_keys=True)


def fingerprint(files: Iterable[IO[bytes] | Any], reading: Reading) -> str:
    """Digits that tell data apart by the sizes of its files and samples of their bytes, and by how they are read.

    Args:
        files: The open files, of Python or of pyarrow, of which each is read before the next one is taken.
        reading: How they are read.
    """
    digest = hashlib.sha256(reading.text.encode())
    for file in files:
        size = file.seek(0, 2)
        digest.update(size.to_bytes(8, "little"))
        for piece in _pieces(file, size):
            digest.update(piece)
    return digest.hexdigest()[:DIGITS]


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    if size <= PIECES * PIECE_BYTES:
        file.seek(0)
        yield file.read()
        return
    for i in range(PIECES):
        file.seek((size - PIECE_BYTES) * i // (PIECES - 1))
        yield file.read(PIECE_BYTES)
