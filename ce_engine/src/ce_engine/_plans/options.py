"""Options that all losses share: the reduction and the other outputs."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypedDict

import torch
from torch import Tensor

from ce_engine._plans.validation import (
    check_choice,
    check_divisor,
    check_grad_dtype,
    check_outputs,
    check_range,
    check_reduction,
    check_type,
)

EMPTY_MEANS = {"nan": float("nan"), "zero": 0.0}
WEIGHTINGS = ("balanced", "complement")
OUTPUTS = (
    "lse",
    "entropy",
    "probabilities",
    "log_probabilities",
    "predictions",
    "target_log_probabilities",
    "target_ranks",
)
OF_TARGETS = ("target_log_probabilities", "target_ranks")  # outputs that class indices alone have
MOST_TOP = 256  # classes


class Common(TypedDict, total=False):
    """Keywords that every loss takes after those of PyTorch.

    Attributes:
        sample_weight: A factor for each row's loss, of the shape that the loss has with reduction ``none``, in any of
            the input's dtypes. It does not change what ``mean`` divides by. Ones if None.
        grad: Whether to compute the gradient with respect to the input.
        grad_output: The incoming gradient, of the loss's shape; ones if None.
        grad_dtype: Of the gradient; the input's if None.
        outputs: Any of ``lse`` (not for the binary losses), ``entropy``, ``probabilities``, ``log_probabilities``,
            ``predictions``, and for class indices ``target_log_probabilities`` and ``target_ranks``; `LossResult` says
            what they are.
        top_k: How many of each row's classes to return that have the largest log-probabilities: at most 256 and C. Not
            for the binary losses.
        divisor: What ``mean`` divides by in place of ``weight_sum``, such as the tokens of all ranks; from 1e-15
            to 1e15. None with other reductions.
        empty: What ``mean`` is when nothing counts: ``nan``, as in PyTorch, or ``zero``.
        checked: Whether the caller has checked types, shapes and options already. Numbers are checked anyway.
    """

    sample_weight: Tensor | None
    grad: bool
    grad_output: Tensor | None
    grad_dtype: torch.dtype | None
    outputs: Collection[str]
    top_k: int
    divisor: float | None
    empty: str
    checked: bool


@dataclass(frozen=True, eq=False)
class Options:
    """The reduction and the keywords of `Common`, checked as far as possible without the input."""

    reduction: str
    sample_weight: Tensor | None = None
    grad: bool = False
    grad_output: Tensor | None = None
    grad_dtype: torch.dtype | None = None
    outputs: Collection[str] = field(default=())
    top_k: int = 0
    divisor: float | None = None
    empty: str = "nan"
    checked: bool = False

    def __post_init__(self) -> None:
        if self.checked:
            return
        check_reduction(self.reduction)
        check_choice("empty", self.empty, EMPTY_MEANS)
        check_type("grad", self.grad, bool)
        check_outputs(self.outputs, OUTPUTS)
        check_range("top_k", self.top_k, 0, MOST_TOP)
        check_divisor(self.divisor, self.reduction)
        check_grad_dtype(self.grad_dtype, grad=self.grad)
