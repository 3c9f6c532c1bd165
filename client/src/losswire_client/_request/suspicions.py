"""Finds numbers that a loss accepts but that are hardly meant for it, such as probabilities in place of logits."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

TOLERANCE = 2.0**-7  # bfloat16's step at 1, since numbers of any dtype may have been rounded to it on their way
FEWEST = 8  # numbers: fewer logits may well lie in [0, 1] by chance

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]  # (rows)
Numbers = npt.NDArray[np.float64]  # (rows, C); (rows, 1) for binary losses, whose rows are elements


class Finding(NamedTuple):
    """What is wrong with an argument.

    Attributes:
        argument: ``input`` or ``target``.
        problem: What was expected, and what came.
        row: The first wrong row, counted as in the flattened loss of reduction ``none``; None if all rows are alike.
    """

    argument: str
    problem: str
    row: int | None = None


class Suspicion(Protocol):
    """The suspicion that an argument is not what it should be.

    Attributes:
        argument: Name of the argument.
        settled: Whether no further row can change the finding.
    """

    argument: str

    @property
    def settled(self) -> bool: ...

    def add(self, numbers: Numbers, rows: Array) -> None:
        """Takes the numbers of these rows into account."""

    def finding(self) -> Finding | None: ...


class AllAlike:
    """The suspicion that all rows are of the same wrong kind. One row of another kind disproves it."""

    def __init__(self, argument: str, problem: str, alike: Callable[[Numbers], Mask], fewest: int = 2) -> None:
        self.argument = argument
        self.settled = False
        self._problem = problem
        self._alike = alike
        self._fewest = fewest
        self._count = 0
        self._least, self._most = np.inf, -np.inf

    def add(self, numbers: Numbers, rows: Array) -> None:  # noqa: ARG002 - the finding names no row
        if numbers.size:
            self.settled = not self._alike(numbers).all()
            self._count += numbers.size
            self._least = min(self._least, numbers.min())
            self._most = max(self._most, numbers.max())

    def finding(self) -> Finding | None:
        if self.settled or self._count < self._fewest:
            return None
        is_constant = self._least == self._most  # so are the logits of some untrained models
        return None if is_constant else Finding(self.argument, self._problem)


class AnyWrong:
    """The suspicion that some row is not what the loss takes. The finding names the first."""

    def __init__(self, argument: str, wrong: Callable[[Numbers], Mask], problem: Callable[[Numbers], str]) -> None:
        self.argument = argument
        self._wrong = wrong
        self._problem = problem
        self._finding: Finding | None = None

    @property
    def settled(self) -> bool:
        return self._finding is not None

    def add(self, numbers: Numbers, rows: Array) -> None:
        wrong = self._wrong(numbers)
        if wrong.any():
            first = int(wrong.argmax())
            self._finding = Finding(self.argument, self._problem(numbers[first]), int(rows[first]))

    def finding(self) -> Finding | None:
        return self._finding


def _are_probabilities(numbers: Numbers) -> Mask:
    return cast(Mask, np.all((numbers >= 0) & (numbers <= 1), axis=1))


def _are_no_probabilities(numbers: Numbers) -> Mask:
    return ~_are_probabilities(numbers)


def _are_distributions(numbers: Numbers) -> Mask:
    sums: Numbers = numbers.sum(axis=1)
    return _are_probabilities(numbers) & (np.abs(sums - 1) <= TOLERANCE)


def _are_no_distributions(numbers: Numbers) -> Mask:
    return ~_are_distributions(numbers)


def _are_zeros_and_ones(numbers: Numbers) -> Mask:
    return cast(Mask, np.all((numbers == 0) | (numbers == 1), axis=1))


def _are_no_log_distributions(numbers: Numbers) -> Mask:
    # The rounding error of a logarithm is proportional to it, and the logarithms' mean is log C at most.
    tolerance = TOLERANCE * (1 + np.log(numbers.shape[1]))
    wrong: Mask = np.abs(_sum_of_exponentials(numbers) - 1) > tolerance
    return wrong


def _are_more_than_all(numbers: Numbers) -> Mask:
    wrong: Mask = _sum_of_exponentials(numbers) > 1 + TOLERANCE * (1 + np.log(max(numbers.shape[1], 1)))
    return wrong


def _sum_of_exponentials(numbers: Numbers) -> Numbers:
    with np.errstate(over="ignore"):
        sums: Numbers = np.exp(numbers).sum(axis=-1)
    return sums


def _no_distribution(row: Numbers) -> str:
    expected = "expected probabilities of the classes, which sum to 1"
    if _are_zeros_and_ones(row[None]):
        return f"{expected}, got {row.sum():g} ones (binary_cross_entropy_with_logits takes labels of each class)"
    return f"{expected}, got a sum of {row.sum():.6g}"


def _cross_entropy() -> list[Suspicion]:
    logarithms = "nll_loss takes their logarithms"
    return [
        AllAlike(
            "input",
            f"expected logits, got numbers that look like probabilities, in [0, 1] and with sum 1: {logarithms}",
            _are_distributions,
        ),
        AllAlike("input", "expected logits, got nothing but zeros and ones", _are_zeros_and_ones, FEWEST),
        AnyWrong("target", _are_no_distributions, _no_distribution),
    ]


def _linear_cross_entropy() -> list[Suspicion]:
    return [AnyWrong("target", _are_no_distributions, _no_distribution)]


def _kl_divergence() -> list[Suspicion]:
    problem = (
        "expected logits, got numbers that look like probabilities, in [0, 1] and with sum 1: take their logarithms"
    )
    return [AllAlike(argument, problem, _are_distributions) for argument in ("input", "target")]


def of_some_classes() -> list[Suspicion]:
    """Suspicions of a divergence whose target is log-probabilities of some classes."""

    def too_much(row: Numbers) -> str:
        expected = "expected log-probabilities of some classes, whose exponentials sum to 1 at most"
        return f"{expected}, got a sum of {_sum_of_exponentials(row):.6g}"

    return [_kl_divergence()[0], AnyWrong("target", _are_more_than_all, too_much)]


def _nll_loss() -> list[Suspicion]:
    def no_log_distribution(row: Numbers) -> str:
        expected = "expected log-probabilities, whose exponentials sum to 1 (cross_entropy takes logits)"
        return f"{expected}, got a sum of {_sum_of_exponentials(row):.6g}"

    return [
        AllAlike(
            "input",
            "expected log-probabilities, got numbers that look like probabilities, in [0, 1] and with sum 1: "
            "take their logarithms",
            _are_distributions,
        ),
        AnyWrong("input", _are_no_log_distributions, no_log_distribution),
    ]


def _binary_cross_entropy() -> list[Suspicion]:
    problem = "expected probabilities, got nothing but zeros and ones"
    return [AllAlike("input", problem, _are_zeros_and_ones, FEWEST)]


def _binary_cross_entropy_with_logits() -> list[Suspicion]:
    def no_label(row: Numbers) -> str:
        return f"expected labels or probabilities in [0, 1], got {row[0]:.6g}"

    return [
        AllAlike("input", "expected logits, got nothing but zeros and ones", _are_zeros_and_ones, FEWEST),
        AllAlike(
            "input",
            "expected logits, got numbers that look like probabilities, all in [0, 1]: binary_cross_entropy takes them",
            _are_probabilities,
            FEWEST,
        ),
        AnyWrong("target", _are_no_probabilities, no_label),
    ]


SUSPICIONS: dict[str, Callable[[], list[Suspicion]]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "linear_cross_entropy": _linear_cross_entropy,
    "kl_divergence": _kl_divergence,
}
