"""The output layer of a model, which makes logits of hidden states."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ce_engine._heads.bfloat16 import PackedWeight, is_available
from ce_engine._heads.checks import check_bias, check_norm, check_weight
from ce_engine._heads.padding import padded
from ce_engine._plans.validation import check_number


class Norm(NamedTuple):
    """How hidden states are normalised before the product, as by ``torch.nn.RMSNorm`` or ``torch.nn.LayerNorm``.

    Attributes:
        kind: ``rms``, x / sqrt(mean(x^2) + eps), or ``layer``, (x - mean(x)) / sqrt(var(x) + eps).
        eps: From 0 to 1e15.
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

    It keeps one copy of its tensors, as products read them: on the CPU, in the dtype that is computed in, and padded
    with zeros. So a head in half precision takes twice its bytes.

    Args:
        weight: (V, H), in float64, float32, float16 or bfloat16. Float64 if the hidden states are, and only then.
        bias: (V); none if None. Float64 if the weight is, and only then, like the norm's tensors.
        norm: What is done to hidden states first.
        softcap: Bounds logits between its negative and itself; from 1e-15 to 1e15. None for none.
        temperature: What logits are divided by; from 1e-15 to 1e15.

    Attributes:
        class_count: V.
        width: H.
        dtype: Of the weight as it was given.
        bias: (V'), likewise.
        norm: With tensors of (H'), likewise.
        softcap: As given.
        temperature: As given.

    Raises:
        InvalidArgumentError: A tensor's dtype or shape, or a number, is wrong.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        norm: Norm | None = None,
        softcap: float | None = None,
        temperature: float = 1.0,
    ) -> None:
        check_weight(weight)
        check_bias(bias, weight)
        check_norm(norm, weight)
        if softcap is not None:
            check_number("softcap", softcap)
        check_number("temperature", temperature)
        self.class_count, self.width = weight.shape
        self.dtype = weight.dtype
        self._kept = _kept(weight)
        self.bias = None if bias is None else padded(bias)
        self.norm = None if norm is None else _padded_norm(norm)
        self.softcap = None if softcap is None else float(softcap)
        self.temperature = float(temperature)

    @property
    def weight(self) -> Tensor:
        """(V', H'), where V' and H' are multiples of 64, with zeros beyond V and H. Made anew where it is packed."""
        return self._kept.unpacked() if isinstance(self._kept, PackedWeight) else self._kept

    @property
    def packed(self) -> PackedWeight | None:
        """The weight as native products read it, if it is in bfloat16 and this CPU has instructions for that."""
        return self._kept if isinstance(self._kept, PackedWeight) else None

    @property
    def compute_dtype(self) -> torch.dtype:
        return torch.promote_types(self.dtype, torch.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, with what was prepared for products."""
        of_norm = () if self.norm is None else (self.norm.weight, self.norm.bias)
        return sum(x.nbytes for x in (self._kept, self.bias, *of_norm) if x is not None)


def _kept(weight: Tensor) -> Tensor | PackedWeight:
    if weight.dtype == torch.bfloat16 and is_available():
        return PackedWeight(padded(weight, weight.dtype))
    return padded(weight)


def _padded_norm(norm: Norm) -> Norm:
    weight, bias = (None if x is None else padded(x) for x in (norm.weight, norm.bias))
    return Norm(norm.kind, float(norm.eps), weight, bias)
