"""The output layer of a model, which makes logits of hidden states."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Norm(NamedTuple):
    """How hidden states are normalised before the product, as by ``torch.nn.RMSNorm`` or ``torch.nn.LayerNorm``.

    Attributes:
        kind: ``rms``, x / sqrt(mean(x^2) + eps), or ``layer``, (x - mean(x)) / sqrt(var(x) + eps).
        eps: At least 0.
        weight: (H), a factor; ones if None.
        bias: (H), added at last, for ``layer`` only; zeros if None.
    """

    kind: Literal["rms", "layer"]
    eps: float
    weight: Tensor | None = None
    bias: Tensor | None = None


class Head:
    """An output layer, which never changes. It equals only itself.

    The logits of a hidden state x are z / temperature, where z = softcap tanh(y / softcap), or y without a softcap, and
    y = weight norm(x) + bias.

    Args:
        weight: (V, H), in float64, float32, float16 or bfloat16. Float64 if the hidden states are, and only then.
        bias: (V); none if None. Float64 if the weight is, and only then, like the norm's tensors.
        norm: What is done to hidden states first.
        softcap: Bounds logits between its negative and itself; above 0. None for none.
        temperature: What logits are divided by; above 0.

    Attributes:
        class_count: V.
        width: H.
        dtype: Of the weight.

    Raises:
        InvalidArgumentError: A tensor's dtype or shape, or a number, is wrong.
    """

    class_count: int
    width: int
    dtype: torch.dtype

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        norm: Norm | None = None,
        softcap: float | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.class_count, self.width = weight.shape
        self.dtype = weight.dtype
        self.weight, self.bias, self.norm = weight, bias, norm
        self.softcap, self.temperature = softcap, temperature

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, with what was prepared for products."""
        return self.weight.nbytes
