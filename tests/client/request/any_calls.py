"""Calls of any loss with any arguments. Arguments that a test names are likely to be wrong."""

from collections.abc import Collection, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from losswire_client import Head

FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ">f4")
INTEGERS = (np.int64, np.int32, np.int16, np.uint8, np.int8, np.uint32, ">i8")
NOT_FLOATS = (np.int64, np.bool_)
PROBABILITIES = (0.0, 1.0, 0.5, 2.0**-14)
WRONG_PROBABILITIES = (*PROBABILITIES, -0.0, -1e-300, 1.0000001, 7.0, float("inf"), float("nan"))
FACTORS = (0.5, 1.0, -2.0, float("nan"))
NARROWER = {np.float32: ("bfloat16", "float16"), np.float64: ("bfloat16", "float16", "float32")}
ARGUMENTS = (
    "input",
    "target",
    "weight",
    "pos_weight",
    "sample_weight",
    "grad_output",
    "ignore_index",
    "label_smoothing",
    "outputs",
    "series",
    "head",
    "target_head",
    "z_loss",
    "divergence",
    "beta",
    "temperature",
    "tail",
    "top_k",
    "divisor",
)
HEADS = {  # by dtype and width
    (dtype, width): Head(np.ones((3, width), dtype)) for dtype in (np.float32, np.float64) for width in (1, 2, 3)
}

Shape = tuple[int, ...]


class AnyCall:
    """A call that a seed decides on.

    Attributes:
        arguments: The arguments by their names.
    """

    def __init__(self, loss: str, seed: int, wrong: Collection[str]) -> None:
        self._rng = np.random.default_rng(seed)
        self._wrong = wrong
        self._binary = loss.startswith("binary")
        self._last = loss in ("linear_cross_entropy", "kl_divergence")
        self._shape = self._input_shape()
        self._row_shape = self._shape if self._binary else self._shape[:1] + self._shape[2:] if self._shape[1:] else ()
        if self._last:
            self._row_shape = self._shape[:-1]
        self.arguments = self._own(loss) | self._common()
        input = self.arguments["input"]
        self.arguments["wire_dtype"] = self._pick(None, *NARROWER.get(input.dtype.type, ()))

    def _own(self, loss: str) -> dict[str, Any]:
        if self._binary:
            own = {
                "input": self._probabilities("input"),
                "target": self._probabilities("target"),
                "weight": self._pick(None, "balanced", "complement", self._broadcasting("weight")),
            }
            with_logits = {"pos_weight": self._broadcasting("pos_weight")} if loss.endswith("with_logits") else {}
            return own | with_logits
        if loss == "linear_cross_entropy":
            return self._own_of_head()
        if loss == "kl_divergence":
            return self._own_of_divergence()
        of_probabilities = loss == "cross_entropy" and self._pick(False, True)
        own = {
            "input": self._array(self._shape, self._floating("input"), FACTORS),
            "target": self._probabilities("target") if of_probabilities else self._classes(),
            "weight": self._weight_of_classes(of_probabilities),
            "ignore_index": self._ignore_index(of_probabilities),
        }
        more = {"label_smoothing": self._label_smoothing(), "z_loss": self._z_loss()}
        return own | (more if loss == "cross_entropy" else {})

    def _own_of_head(self) -> dict[str, Any]:
        input = self._array(self._shape, self._floating("input"), FACTORS)
        precise = np.float64 if input.dtype == np.float64 else np.float32
        classes = self._array(self._row_shape, self._pick(np.int64, np.int16), (0, 1, 2, -100))
        return {
            "input": input,
            "head": self._pick(HEADS[precise, (*self._shape, 3)[-1] or 3], *self._if_wrong("head", "")),
            "target": self._pick(classes, *self._if_wrong("target", np.zeros((5, 3), np.int64), np.ones(3, bool))),
            "label_smoothing": self._label_smoothing(),
            "z_loss": self._z_loss(),
        }

    def _own_of_divergence(self) -> dict[str, Any]:
        input = self._array(self._shape, self._floating("input"), (0.5, 1.0, -2.0))
        divergence = self._pick("forward", "reverse", "jensen_shannon")
        beta = (
            self._pick(None, 0.25) if divergence == "jensen_shannon" else self._pick(None, *self._if_wrong("beta", 0.5))
        )
        return {
            "input": input,
            "target": self._pick(input, *self._if_wrong("target", np.ones((5, 3), np.float32))),
            "divergence": divergence,
            "beta": self._pick(None, *beta),
            "temperature": self._pick(1.0, 2.0, *self._if_wrong("temperature", 0.0, -1.0, float("nan"))),
            "tail": self._pick(None, *self._if_wrong("tail", "drop")),
        }

    def _z_loss(self) -> Any:
        return self._pick(0, 0.5, *self._if_wrong("z_loss", -1.0, float("nan"), float("inf")))

    def _common(self) -> dict[str, Any]:
        reduction, grad = self._pick("none", "mean", "sum"), self._pick(False, True)
        loss_shape = self._row_shape if reduction == "none" else ()
        of_targets = () if self._binary else self._if_wrong("outputs", "target_ranks", "target_log_probabilities")
        wrong = self._if_wrong("outputs", "lse", "predictions", *of_targets)
        names = ["probabilities", "predictions", "entropy", *wrong]
        least = 3 if self._last else 1  # classes of any such call that is right, but for calls without classes
        return {
            "reduction": reduction,
            "top_k": self._pick(0, *self._if_wrong("top_k", least, 300, -1)),
            "grad": grad,
            "grad_output": self._pick(None, self._factors("grad_output", loss_shape)) if grad else None,
            "sample_weight": self._pick(None, self._factors("sample_weight", self._row_shape)),
            "outputs": names[: self._rng.integers(len(names) + 1)],
            "divisor": self._divisor(reduction),
            "empty": self._pick("nan", "zero"),
            "series": self._pick("", "a/b", *self._if_wrong("series", "a b", "a" * 65)),
        }

    def _divisor(self, reduction: str) -> Any:
        right = (None, 3.0) if reduction == "mean" else (None,)
        return self._pick(*right, *self._if_wrong("divisor", 0.0, -1.0, float("nan"), 2.0))

    def _input_shape(self) -> Shape:
        shape = self._any_shape()
        if self._binary or "input" in self._wrong:
            return shape
        return tuple(size or 3 for size in shape) or (3,)

    def _any_shape(self) -> Shape:
        return tuple(self._rng.choice((1, 2, 3, 0), self._rng.integers(5), p=(0.3, 0.3, 0.3, 0.1)).tolist())

    def _classes(self) -> np.ndarray:
        right = list(range((*self._shape, 0)[1 if self._shape[1:] else 0])) or [-100]
        ignored = self._pick([], [-100])
        wrong = self._pick([], *self._if_wrong("target", [3], [-1], [5], [200]))
        numbers = [*right, *ignored, *wrong]
        dtype = self._pick(*INTEGERS) if min(numbers) >= 0 else self._pick(np.int64, np.int16, ">i4")
        shape = self._pick(self._row_shape, *self._if_wrong("target", self._row_shape, self._any_shape()))
        return self._array(shape, self._pick(dtype, dtype, *self._if_wrong("target", np.bool_)), numbers)

    def _probabilities(self, argument: str) -> np.ndarray:
        numbers = self._pick(PROBABILITIES, (0.0, 1.0), *self._if_wrong(argument, *[WRONG_PROBABILITIES] * 4))
        wrong_shapes = self._if_wrong("target", self._any_shape()) if argument == "target" else ()
        return self._array(self._pick(self._shape, *wrong_shapes), self._floating(argument), numbers)

    def _weight_of_classes(self, of_probabilities: bool) -> Any:
        classes = self._shape[1 if self._shape[1:] else 0 : 2 if self._shape[1:] else 1]
        weightings = self._if_wrong("weight", "balanced") if of_probabilities else ("balanced", "complement")
        return self._pick(None, self._factors("weight", classes), *weightings)

    def _broadcasting(self, argument: str) -> Any:
        kept = self._shape[self._rng.integers(len(self._shape) + 1) :]
        return self._pick(None, self._factors(argument, tuple(self._pick(1, size) for size in kept)))

    def _factors(self, argument: str, shape: Shape) -> np.ndarray:
        shape = self._pick(shape, *self._if_wrong(argument, self._any_shape()))
        return self._array(shape, self._floating(argument), FACTORS)

    def _ignore_index(self, of_probabilities: bool) -> Any:
        return self._pick(-100, -1, *(self._if_wrong("ignore_index", 0) if of_probabilities else (0, 5)))

    def _label_smoothing(self) -> Any:
        return self._pick(0, 0.5, 1, *self._if_wrong("label_smoothing", -1, 1.5, float("nan"), 1e300))

    def _floating(self, argument: str) -> Any:
        return self._pick(*FLOATS, *self._if_wrong(argument, *NOT_FLOATS))

    def _array(self, shape: Shape, dtype: Any, numbers: Sequence[float]) -> np.ndarray:
        """An array of few different elements, in row-major or another order."""
        with np.errstate(over="ignore", invalid="ignore"):
            array = np.asarray(self._rng.choice(numbers, shape)).astype(dtype)
        ordered: np.ndarray = self._pick(array, np.asfortranarray(array))
        return ordered

    def _if_wrong(self, argument: str, *values: Any) -> tuple[Any, ...]:
        return values if argument in self._wrong else ()

    def _pick(self, *values: Any) -> Any:
        return values[self._rng.integers(len(values))]
