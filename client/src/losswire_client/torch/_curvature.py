"""Second derivatives of the losses in closed form, computed here from the gradients that came.

All is said in terms of tensors that autograd tracks, so that derivatives of any order follow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor

NEEDS_INPUT = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})  # others need the gradient alone


@dataclass(frozen=True)
class Arguments:
    """What a loss was given; shapes are those of ``torch.nn.functional``, tensors in any dtype and on any device.

    Attributes:
        input: None where the loss is not one of ``NEEDS_INPUT``.
        weight: None for ones.
        pos_weight: None for ones.
    """

    input: Tensor | None
    target: Tensor
    weight: Tensor | None
    pos_weight: Tensor | None
    reduction: str
    ignore_index: int = -100
    label_smoothing: float = 0.0


def hessian_product(loss: str, gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """The Hessian of a loss times a vector; with reduction ``none``, that of the sum of its rows.

    Args:
        loss: One of the client's losses.
        gradient: Of the loss, for an incoming gradient of ones. In its dtype and on its device the product is computed.
        vector: Of the gradient's shape.
        arguments: What the loss was given.
    """
    return PRODUCTS[loss](gradient, vector, arguments)


def _softmax(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """Of loss = sum_c m_c (lse(x) - x_c), whose gradient is k p - m with k = sum_c m_c, and p the softmax of x.

    The Hessian is k (diag(p) - p p^T). Since k p is the gradient plus m, x itself is not needed.
    """
    mass = (_mass_of_probabilities if arguments.target.is_floating_point() else _mass_of_classes)(gradient, arguments)
    classes = class_dimension(gradient)
    total = mass.sum(classes, keepdim=True)
    scaled = gradient + mass
    inner = (scaled * vector).sum(classes, keepdim=True)
    return scaled * (vector - inner / total.where(total != 0, 1.0))


def _linear(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:  # noqa: ARG001
    return vector.new_zeros(vector.shape)


def _probabilities(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """Of loss = -t log p - (1 - t) log(1 - p), kept finite at its poles as PyTorch keeps its own."""
    p, t = _like(cast(Tensor, arguments.input), gradient), _like(arguments.target, gradient)
    poles = ((p + 1e-12) * (1 - p + 1e-12)).square()
    return vector * _scale(gradient, arguments) * (p * p - 2 * p * t + t) / poles


def _sigmoid(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """Of loss = (1 + (pos_weight - 1) t) softplus(-x) + (1 - t) x."""
    x, t = _like(cast(Tensor, arguments.input), gradient), _like(arguments.target, gradient)
    positive = 1.0 if arguments.pos_weight is None else 1 + (_like(arguments.pos_weight, gradient) - 1) * t
    return vector * _scale(gradient, arguments) * positive * x.sigmoid() * (-x).sigmoid()


PRODUCTS: dict[str, Callable[[Tensor, Tensor, Arguments], Tensor]] = {
    "cross_entropy": _softmax,
    "nll_loss": _linear,
    "binary_cross_entropy": _probabilities,
    "binary_cross_entropy_with_logits": _sigmoid,
}


def class_dimension(input: Tensor) -> int:
    return min(1, input.ndim - 1)


def _mass_of_classes(gradient: Tensor, arguments: Arguments) -> Tensor:
    """What multiplies the log-probability of each class of each row, where targets are class indices."""
    classes = class_dimension(gradient)
    target = arguments.target.to(gradient.device).long().unsqueeze(classes)
    counts = target != arguments.ignore_index
    target = target.where(counts, 0)
    factors = _factors(gradient, arguments)
    picked = factors.expand_as(gradient).gather(classes, target)
    smooth = arguments.label_smoothing
    spread = factors.expand_as(gradient) * (smooth / max(gradient.shape[classes], 1))
    mass = spread.scatter_add(classes, target, (1 - smooth) * picked)
    if arguments.reduction == "mean":
        mass = mass / picked.where(counts, 0.0).sum()
    return mass.where(counts, 0.0)


def _mass_of_probabilities(gradient: Tensor, arguments: Arguments) -> Tensor:
    """The same, where targets are probabilities."""
    count = gradient.shape[class_dimension(gradient)]
    smooth = arguments.label_smoothing
    mass = (_like(arguments.target, gradient) * (1 - smooth) + smooth / max(count, 1)) * _factors(gradient, arguments)
    return mass * (count / max(gradient.numel(), 1)) if arguments.reduction == "mean" else mass


def _factors(gradient: Tensor, arguments: Arguments) -> Tensor:
    """Class weights, which broadcast to the gradient."""
    if arguments.weight is None:
        return gradient.new_ones(())
    return _like(arguments.weight, gradient).reshape(-1, *[1] * (gradient.ndim - class_dimension(gradient) - 1))


def _scale(gradient: Tensor, arguments: Arguments) -> Tensor | float:
    """The factor of each element's loss."""
    share = 1 / max(gradient.numel(), 1) if arguments.reduction == "mean" else 1.0
    return share if arguments.weight is None else _like(arguments.weight, gradient) * share


def _like(tensor: Tensor, gradient: Tensor) -> Tensor:
    return tensor.to(gradient.device, gradient.dtype)
