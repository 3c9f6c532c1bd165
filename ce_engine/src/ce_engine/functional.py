"""The losses, computed at once in the caller's thread. Signatures and results are those of ``torch.nn.functional``."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from torch import Tensor

from ce_engine import cpu, slabs
from ce_engine._batching.launchers import launch
from ce_engine._result import LossResult, StackedResult
from ce_engine._slab import Slab

P = ParamSpec("P")


def evaluate(slab: Slab, *, grad_into: Tensor | None = None) -> LossResult:
    """Computes a slab at once in the caller's thread.

    Args:
        slab: From one of the functions in ``ce_engine.slabs``.
        grad_into: Memory for the gradient: see `Slab.with_grad_into`.

    Raises:
        InvalidArgumentError: The gradient cannot be written there.
    """
    return _evaluate(slab if grad_into is None else slab.with_grad_into(grad_into))


def _evaluate(slab: Slab) -> LossResult:
    results = None if slab.form is None else cpu.evaluate_at_once(slab)
    result: LossResult = slab.result(launch(slab) if results is None else results)
    return result


def evaluate_stacked(plan: Callable[..., Slab], input: Tensor, target: Tensor, **options: Any) -> StackedResult:
    """Computes a loss for each of G requests at once in the caller's thread: see `slabs.stacked`.

        >>> logits, target = torch.randn(100, 32, 10), torch.randint(10, (100, 32))
        >>> means = ce_engine.evaluate_stacked(slabs.cross_entropy, logits, target).loss  # (100)

    Raises:
        InvalidArgumentError: An argument is wrong, even if for one request only; nothing was computed.
    """
    slab = slabs.stacked(plan, input, target, **options)
    result: StackedResult = slab.result(launch(slab))
    return result


def _at_once(plan: Callable[P, Slab]) -> Callable[P, LossResult]:
    @wraps(plan)
    def loss(*args: P.args, **kwargs: P.kwargs) -> LossResult:
        return _evaluate(plan(*args, **kwargs))

    return loss


cross_entropy = _at_once(slabs.cross_entropy)
linear_cross_entropy = _at_once(slabs.linear_cross_entropy)
nll_loss = _at_once(slabs.nll_loss)
kl_divergence = _at_once(slabs.kl_divergence)
binary_cross_entropy = _at_once(slabs.binary_cross_entropy)
binary_cross_entropy_with_logits = _at_once(slabs.binary_cross_entropy_with_logits)
