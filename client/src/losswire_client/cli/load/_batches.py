"""Random batches for each loss."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.dtypes import BY_NAME
from losswire.losses import LOSSES
from losswire_client._readers import Batch
from losswire_client.cli.load._measurement import Shape

Numbers = npt.NDArray[Any]


def random_batch(shape: Shape, dtype: str, loss: str = "cross_entropy", class_count: int | None = None) -> Batch:
    """Logits, or log-probabilities for ``nll_loss``, or probabilities for ``binary_cross_entropy``; and their targets.

    The targets of binary losses are 0 and 1, in the input's shape and dtype, and those of divergences are logits. With
    a head, which has so many classes, the input is hidden states.
    """
    rng = np.random.default_rng(0)
    x = INPUTS[loss](rng.standard_normal(shape, np.float32)).astype(BY_NAME[dtype].numpy)
    if LOSSES[loss].elementwise:
        return Batch(x, rng.integers(2, size=shape).astype(x.dtype))
    if loss == "kl_divergence":
        return Batch(x, rng.standard_normal(shape, np.float32).astype(x.dtype))
    return Batch(x, rng.integers(class_count or shape.classes, size=shape.rows))


def _log_probabilities(logits: Numbers) -> Numbers:
    shifted = logits - logits.max(1, keepdims=True)
    log_p: Numbers = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return log_p


def _probabilities(logits: Numbers) -> Numbers:
    p: Numbers = np.float32(1) / (1 + np.exp(-logits))
    return p


INPUTS: dict[str, Callable[[Numbers], Numbers]] = {
    "cross_entropy": lambda logits: logits,
    "nll_loss": _log_probabilities,
    "linear_cross_entropy": lambda hidden: hidden,
    "kl_divergence": lambda logits: logits,
    "binary_cross_entropy": _probabilities,
    "binary_cross_entropy_with_logits": lambda logits: logits,
}
