"""Batches whose true answers are known, for callers that check every answer."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ml_dtypes  # noqa: F401 - brings bfloat16 to numpy
import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.heads.content import tensors_of
from losswire_client import Head, Norm
from trials.twin.batch import Batch
from trials.twin.check import Answer, check, check_result
from trials.twin.heads import Head as TwinHead
from trials.twin.tensors import as_torch
from trials.twin.truth import Truth, truth

LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")
OF_MODELS = ("linear_cross_entropy", "kl_divergence")
DTYPES = ("float32", "float32", "float64", "float16", "bfloat16")
SMALL = ((32, 10), (7, 3), (64, 100), (3, 5, 4))
SHAPES = (*SMALL, (256, 1000), (64, 10, 12, 12), (512, 2000))  # up to 4 MB of float32
STATES = ((32, 24), (3, 5, 24), (300, 24))  # of hidden states
HEAD_CLASSES, WIDTH = 300, STATES[0][-1]
MOST_TOP = 5

Arrays = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A batch, and its true answer.

    Attributes:
        loss: Name of the client's method.
        input: In the dtype in which it is sent.
        target: Class indices, numbers for the binary losses, or what another model says of the same rows.
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
        options = {name: _of_the_twin(value) for name, value in self.options.items()}
        return Batch(self.loss, as_torch(self.input), as_torch(self.target), options)

    @cached_property
    def _truth(self) -> Truth:
        return truth(self._batch)

    def prepare(self) -> None:
        """Computes the true answer, which takes a while."""
        _ = self._truth

    @property
    def arguments(self) -> tuple[tuple[Arrays], dict[str, Any]]:
        """The arguments of the client's method, by position and by keyword."""
        return (self.input,), {"target": self.target, **self.options, **self.wanted}

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


def cases_of_models(seed: int, count: int) -> list[Case]:
    """The same for hidden states, of a few heads, and for divergences, of logits or of hidden states."""
    rng = random.Random(seed)
    heads = {name: _heads(np.random.default_rng(rng.getrandbits(32)), name) for name in ("float32", "float64")}
    return [_case_of_models(rng, rng.choice(STATES), heads) for _ in range(count)]


def head(numbers: np.random.Generator, **options: Any) -> Head:
    """A head in float32, for hidden states of `STATES`."""
    return Head(numbers.standard_normal((HEAD_CLASSES, WIDTH), np.float32), **options)


def _heads(numbers: np.random.Generator, name: str) -> list[Head]:
    if name == "float64":
        return [Head(numbers.standard_normal((HEAD_CLASSES, WIDTH)), temperature=2.0)]
    factors = (numbers.random(WIDTH) + 0.5).astype(np.float32)
    half = numbers.standard_normal((HEAD_CLASSES, WIDTH)).astype(np.dtype("bfloat16"))
    bias = numbers.standard_normal(HEAD_CLASSES).astype(np.float32)
    return [head(numbers, norm=Norm("rms", 1e-5, factors), softcap=20.0), Head(half, bias, norm=Norm("layer", 1e-5))]


def _case_of_models(rng: random.Random, shape: tuple[int, ...], heads: Mapping[str, Sequence[Head]]) -> Case:
    numbers = np.random.default_rng(rng.getrandbits(32))
    loss, dtype = rng.choice(OF_MODELS), np.dtype(rng.choice(DTYPES))
    own = heads["float64" if dtype == np.float64 else "float32"]
    x = numbers.standard_normal(shape).astype(dtype)
    options: dict[str, Any] = {"reduction": rng.choice(("none", "mean", "sum"))}
    if loss == "linear_cross_entropy":
        target: Arrays = numbers.integers(HEAD_CLASSES, size=shape[:-1])
        options["head"] = rng.choice(own)
    else:
        target = numbers.standard_normal(shape).astype(dtype)
        options["divergence"] = rng.choice(("forward", "reverse", "jensen_shannon"))
        if rng.random() < 0.5:
            options |= {"head": rng.choice(own), "target_head": rng.choice(own)}
    outputs = tuple(name for name in ("predictions", "entropy") if rng.random() < 0.2)
    wanted = {"grad": rng.random() < 0.5, "outputs": outputs, "top_k": rng.choice((0, MOST_TOP))}
    return Case(loss, x, target, options, wanted)


def _of_the_twin(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return as_torch(value)
    if not isinstance(value, Head):
        return value
    message = v1.Head()
    message.CopyFrom(value.form)
    for name, tensor in tensors_of(message).items():
        tensor.data = bytes(value.elements[name])
    return TwinHead.of(message)


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
