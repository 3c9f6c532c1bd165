"""A slow and obvious twin of each loss: one row at a time, in float64, straight from the definition. For tests.

Each takes those arguments of the function of the same name in ``ce_engine`` that change numbers, and returns what that
function returns with ``grad=True``.
"""

from ce_engine.reference._binary import binary_cross_entropy, binary_cross_entropy_with_logits
from ce_engine.reference._classes import cross_entropy, nll_loss
from ce_engine.reference._divergences import kl_divergence
from ce_engine.reference._heads import linear_cross_entropy

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_divergence",
    "linear_cross_entropy",
    "nll_loss",
]
