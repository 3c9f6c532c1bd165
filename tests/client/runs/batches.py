"""Batches of four losses, and how they are cut into shards."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire_client import Run

ROWS, CLASSES = 300, 5
RNG = np.random.default_rng(19)
LOGITS = RNG.standard_normal((ROWS, CLASSES), np.float32)
TARGET = RNG.integers(0, CLASSES, ROWS)
TARGET[::50] = -100
LABELS = RNG.integers(0, 2, (ROWS, CLASSES)).astype(np.float32)
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))
WEIGHT = RNG.random(CLASSES, np.float32)

BATCHES: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {
    "cross_entropy": (LOGITS, TARGET),
    "nll_loss": (np.log(PROBABILITIES), TARGET),
    "binary_cross_entropy": (PROBABILITIES, LABELS),
    "binary_cross_entropy_with_logits": (LOGITS, LABELS),
}


def shards(
    loss: str = "cross_entropy", *, count: int = 5, void: int = -100
) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The batch of a loss in parts of different sizes, by their keys. Ignored rows have the target `void`."""
    input, target = BATCHES[loss]
    target = np.where(target == -100, np.array(void, target.dtype), target)
    ends = [ROWS * number**2 // count**2 for number in range(count + 1)]
    return {f"shard-{n}": (input[a:b], target[a:b]) for n, (a, b) in enumerate(pairwise(ends))}


def filled(run: Run, **options: Any) -> Run:
    """The run, with a key for each shard."""
    for key, shard in shards(run.loss, void=run.options.get("ignore_index", -100)).items():
        run.evaluate(*shard, key=key, **options)
    return run
