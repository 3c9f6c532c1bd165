"""The losses, checked and planned but not computed: slabs for ``Engine.submit``.

    >>> slab = ce_engine.slabs.cross_entropy(logits, target, grad=True)
    >>> result = engine.submit(slab).result()

Each takes the arguments of the function of the same name in ``ce_engine``, which computes at once. `stacked` plans many
small requests as one slab.
"""

from ce_engine._plans.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from ce_engine._plans.cross_entropy import cross_entropy
from ce_engine._plans.kl_divergence import kl_divergence
from ce_engine._plans.linear_cross_entropy import linear_cross_entropy
from ce_engine._plans.nll_loss import nll_loss
from ce_engine._slab import Slab
from ce_engine._stacked import stacked

__all__ = [
    "Slab",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "kl_divergence",
    "linear_cross_entropy",
    "nll_loss",
    "stacked",
]
