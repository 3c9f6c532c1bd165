"""The keywords that every loss takes after those of PyTorch."""

from collections.abc import Collection
from typing import TypedDict

import numpy.typing as npt


class Options(TypedDict, total=False):
    """Keywords that every loss takes after those of PyTorch.

    Attributes:
        sample_weight: A factor for each row's loss, of the loss's shape with reduction ``none``, in a floating dtype.
            It does not change what ``mean`` divides by. Ones if None.
        grad: Whether to return the gradient with respect to the input.
        grad_output: The incoming gradient, of the loss's shape; ones if None.
        outputs: Any of ``lse`` (not for the binary losses), ``entropy``, ``probabilities``, ``log_probabilities``,
            ``predictions`` and, where targets or labels are class indices, ``target_log_probabilities`` and
            ``target_ranks``, each at most once; `Result` describes them.
        top_k: How many classes of each row to return that have the largest log-probabilities, up to 256; 0 for none.
            Not for the binary losses.
        divisor: What ``mean`` divides by in place of its own divisor, such as the tokens of all ranks and micro-batches
            of a step, whose losses and gradients then add up; its own if None. It changes no sum.
        empty: The value of ``mean`` if no row counts: ``nan``, as in PyTorch, or ``zero``.
        series: Name under which the server adds the loss up in its metrics: up to 64 letters, digits and any of
            ``_.:/-``.
        wire_dtype: A narrower dtype in which the input and its gradient travel: fewer bytes for less precision, as
            ``docs/numerics.md`` measures. Results are as if the input had been rounded to it, but the gradient still
            has the input's dtype. The input's dtype if None.
        strict: Whether to refuse numbers that the loss accepts but that are hardly meant for it: probabilities as
            logits, logits as log-probabilities, targets of several classes as probabilities. The check takes up to a
            pass over the arrays.
        exact: Whether to return exact sums, which merge in any order to the same bits: True, or ``by_class`` for those
            of each class too.
    """

    sample_weight: npt.ArrayLike | None
    grad: bool
    grad_output: npt.ArrayLike | None
    outputs: Collection[str]
    top_k: int
    divisor: float | None
    empty: str
    series: str
    wire_dtype: str | None
    strict: bool
    exact: bool | str


class Common(Options, total=False):
    """Keywords that every loss takes after those of PyTorch: see `Options`.

    Attributes:
        timeout: Seconds that this call may take; the client's if None.
    """

    timeout: float | None
