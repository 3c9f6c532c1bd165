"""The losses, computed at once in the caller's thread. Signatures and results are those of ``torch.nn.functional``."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import torch

from ce_engine import slabs
from ce_engine._launch import launch
from ce_engine._result import LossResult
from ce_engine._slab import Slab

P = ParamSpec("P")


def _at_once(plan: Callable[P, Slab]) -> Callable[P, LossResult]:
    @wraps(plan)
    @torch.no_grad()
    def evaluate(*args: P.args, **kwargs: P.kwargs) -> LossResult:
        slab = plan(*args, **kwargs)
        return slab.result(launch(slab))

    return evaluate


cross_entropy = _at_once(slabs.cross_entropy)
nll_loss = _at_once(slabs.nll_loss)
binary_cross_entropy = _at_once(slabs.binary_cross_entropy)
binary_cross_entropy_with_logits = _at_once(slabs.binary_cross_entropy_with_logits)
