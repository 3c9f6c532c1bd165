"""Base files of llama.cpp: a model's log-probabilities of a text, which ``--kl-divergence-base`` has it write.

All numbers are little-endian. After the magic bytes come the length of a context, the number of classes and the number
of contexts, as int32, and the tokens of all contexts. Then there is a row for each position of the second half of each
context but its last one: a scale and the least log-probability, as float32, and a 16-bit number q for each class,
padded to an even number of them. The log-probability of a class is scale * q + least (ggml-org/llama.cpp,
tools/perplexity/perplexity.cpp).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire_client._readers._columns import Array, slices

MAGIC = b"_logits_"
HEADER = 20  # bytes: the magic and three int32
STEPS = 65535  # the largest q
RANGE = 16.0  # logits that are lower by more than this than the row's largest are raised to that
NEARLY = RANGE - 1e-3  # a row's range is rounded


class BaseFile:
    """A base file. A row's position in the file tells which token it predicts.

    Attributes:
        class_count: How many classes a row has.
        row_count: How many rows there are.
        labels: (rows) int32, the token that each row predicts.
    """

    def __init__(self, path: Path) -> None:
        context, self.class_count, chunks = _header(path)
        first = context // 2
        shape = chunks * (context - 1 - first), 2 * ((self.class_count + 1) // 2) + 4
        tokens_end = HEADER + 4 * chunks * context
        _check_size(path, tokens_end + 2 * shape[0] * shape[1])
        tokens = np.fromfile(path, "<i4", chunks * context, offset=HEADER).reshape(chunks, context)
        self.labels: npt.NDArray[np.int32] = np.ascontiguousarray(tokens[:, first + 1 :]).reshape(-1)
        self.row_count: int | None = shape[0]
        self._rows: Array = np.memmap(path, "<u2", "r", tokens_end, shape)

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        """The log-probabilities, -infinity where the file only tells that they are low, so many rows at a time."""
        return (self._log_probabilities(self._rows[part]) for part in slices(len(self._rows), rows, start))

    def _log_probabilities(self, rows: Array) -> npt.NDArray[np.float32]:
        scale, least = np.ascontiguousarray(rows[:, :4]).view("<f4").T[..., None]
        steps = rows[:, 4 : 4 + self.class_count]
        values: npt.NDArray[np.float32] = steps.astype(np.float32) * scale + least
        values[(steps == 0) & (scale * STEPS >= NEARLY)] = -np.inf
        return values


def is_base_file(path: Path) -> bool:
    """Whether a file begins as a base file does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _header(path: Path) -> tuple[int, int, int]:
    numbers: Any = np.fromfile(path, "<i4", 3, offset=len(MAGIC))
    if len(numbers) < 3:
        raise ValueError("is a base file of llama.cpp that ends within its header")
    context, classes, chunks = numbers.tolist()
    if context < 3 or classes < 1 or chunks < 1:
        problem = f"contexts of {context} tokens, {classes} classes and {chunks} contexts"
        raise ValueError(f"is a base file of llama.cpp whose header tells of {problem}")
    return context, classes, chunks


def _check_size(path: Path, expected: int) -> None:
    size = path.stat().st_size
    if size != expected:
        cause = "it was cut short" if size < expected else "it holds something else"
        raise ValueError(f"is a base file of llama.cpp of {size:,} bytes, expected {expected:,} by its header: {cause}")
