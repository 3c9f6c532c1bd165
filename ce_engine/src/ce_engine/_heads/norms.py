"""Norms of hidden states, forward and backward. Tensors are padded with zeros to H' columns; a row is over H of them.

With xh = (x - m) r, where r = 1 / sqrt(v + eps), the norm is xh weight + bias. For ``layer`` m and v are mean and
variance of the row; for ``rms`` m is 0 and v the mean of x^2. With g the gradient of xh, the gradient of x is
r (g - mean(g) - xh mean(g xh)), without mean(g) for ``rms`` (https://arxiv.org/abs/1910.07467, appendix).
"""

from typing import Protocol

from torch import Tensor

from ce_engine._heads.head import Norm


class Normed:
    """Some hidden states, normalised.

    Attributes:
        values: (r, H').
    """

    def __init__(
        self,
        x: Tensor,  # (r, H'), overwritten
        norm: Norm,
        width: int,  # H
    ) -> None:
        self._norm, self._width = norm, width
        if norm.kind == "layer":
            x[:, :width].sub_(self._means(x))
        self._factor = self._means(x.square()).add_(norm.eps).rsqrt_()  # (r, 1)
        self._unit = x.mul_(self._factor)
        weighted = x if norm.weight is None else x * norm.weight
        self.values = weighted if norm.bias is None else weighted + norm.bias

    def backward(
        self,
        grad: Tensor,  # (r, H'), of `values`; overwritten
    ) -> Tensor:
        """The gradient of the hidden states."""
        if self._norm.weight is not None:
            grad.mul_(self._norm.weight)
        slopes = self._means(grad * self._unit)
        if self._norm.kind == "layer":
            grad.sub_(self._means(grad))
        return grad.addcmul_(self._unit, slopes, value=-1).mul_(self._factor)

    def _means(self, x: Tensor) -> Tensor:  # (r, H') -> (r, 1)
        return x.sum(1, keepdim=True).div_(self._width)


class Normalizing(Protocol):
    """What comes before a head's product."""

    @property
    def norm(self) -> Norm | None: ...
    @property
    def width(self) -> int: ...


class Unnormed:
    """Hidden states of a head without a norm."""

    def __init__(self, x: Tensor) -> None:
        self.values = x

    def backward(self, grad: Tensor) -> Tensor:
        return grad


def normed(x: Tensor, head: Normalizing) -> Normed | Unnormed:
    return Unnormed(x) if head.norm is None else Normed(x, head.norm, head.width)
