"""The losses, computed at once in the caller's thread. Signatures and results are those of ``torch.nn.functional``."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from ce_engine import slabs
from ce_engine._launch import launch
from ce_engine._result import LossResult
from ce_engine._slab import Slab

P = ParamSpec("P")


def evaluate(slab: Slab) -> LossResult:
    """Computes a slab here and now."""
    return slab.result(launch(slab))


def _at_once(plan: Callable[P, Slab]) -> Callable[P, LossResult]:
    @wraps(plan)
    def loss(*args: P.args, **kwargs: P.kwargs) -> LossResult:
        return evaluate(plan(*args, **kwargs))

    return loss


cross_entropy = _at_once(slabs.cross_entropy)
nll_loss = _at_once(slabs.nll_loss)
binary_cross_entropy = _at_once(slabs.binary_cross_entropy)
binary_cross_entropy_with_logits = _at_once(slabs.binary_cross_entropy_with_logits)
