"""Batches whose true answers are known, for callers that check every answer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np
import numpy.typing as npt

from trials.twin.batch import Batch
from trials.twin.check import Answer, check, check_result
from trials.twin.tensors import as_torch
from trials.twin.truth import Truth, truth

LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
DTYPES = ("float32", "float32", "float64", "float16", "bfloat16")
SMALL = ((32, 10), (7, 3), (64, 100), (3, 5, 4))
SHAPES = (*SMALL, (256, 1000), (64, 10, 12, 12), (512, 2000))  # up to 4 MB of float32

Arrays = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A batch, and its true answer.

    Attributes:
        loss: Name of the client's method.
        input: In the dtype in which it is sent.
        target: Class indices, or numbers for the binary losses.
        options: Of the client's method that change numbers.
        wanted: Others, such as ``grad``.
    """

    loss: str
    input: Arrays
    target: Arrays
    options: dict[str, Any]
    wanted: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _batch(self) -> Batch:
        tensors = {
            name: as_torch(value) if isinstance(value, np.ndarray) else value for name, value in self.options.items()
        }
        return Batch(self.loss, as_torch(self.input), as_torch(self.target), tensors)

    @cached_property
    def _truth(self) -> Truth:
        return truth(self._batch)

    def prepare(self) -> None:
        """Computes the true answer, which takes a while."""
        _ = self._truth

    @property
    def arguments(self) -> tuple[tuple[Arrays, Arrays], dict[str, Any]]:
        """The arguments of the client's method, by position and by keyword."""
        return (self.input, self.target), {**self.options, **self.wanted}

    def check(self, result: Any) -> None:
        """Compares an answer with the twin.

        Raises:
            WrongAnswerError: They differ by more than rounding.
        """
        check_result(self._batch, result, self._truth)

    def check_numbers(self, answer: Answer) -> None:
        """Compares some numbers by the names of the SDK's results, such as ``loss_sum``.

        Raises:
            WrongAnswerError: As `check`.
        """
        check(self._batch, answer, self._truth)


def cases(seed: int, shapes: Sequence[tuple[int, ...]], count: int) -> list[Case]:
    """So many random cases. The same seed gives the same ones."""
    rng = random.Random(seed)
    return [_case(rng, rng.choice(shapes)) for _ in range(count)]


def _case(rng: random.Random, shape: tuple[int, ...]) -> Case:
    numbers = np.random.default_rng(rng.getrandbits(32))
    loss, dtype = rng.choice(LOSSES), np.dtype(rng.choice(DTYPES))
    x = numbers.standard_normal(shape)
    x = 1 / (1 + np.exp(-x)) if loss == "binary_cross_entropy" else 3 * x
    options: dict[str, Any] = {"reduction": rng.choice(("none", "mean", "sum"))}
    if loss.startswith("binary"):
        target: Arrays = numbers.random(shape).astype(np.float32)
    else:
        target = numbers.integers(shape[1], size=shape[:1] + shape[2:])
        if rng.random() < 0.3:
            options["weight"] = numbers.random(shape[1]).astype(np.float32) + np.float32(0.5)
        if rng.random() < 0.3:
            options["ignore_index"] = int(target.reshape(-1)[0])
    if loss == "cross_entropy" and rng.random() < 0.3:
        options["label_smoothing"] = 0.1
    outputs = tuple(name for name in ("probabilities", "predictions", "entropy") if rng.random() < 0.2)
    return Case(loss, x.astype(dtype), target, options, {"grad": rng.random() < 0.5, "outputs": outputs})
