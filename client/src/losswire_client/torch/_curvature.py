"""Second derivatives of the losses in closed form, computed here from the server's gradients.

All formulas use tensors that autograd tracks, so derivatives of any order follow.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import cast

from torch import Tensor

from losswire_client import NotServedError

NEEDS_INPUT = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})  # the rest need only gradients


@dataclass(frozen=True)
class Arguments:
    """The arguments of a loss. Shapes are as in ``torch.nn.functional``; dtypes and devices may be any.

    Attributes:
        input: None if the loss is not one of ``NEEDS_INPUT``.
        weight: None for ones.
        pos_weight: None for ones.
        divisor: What ``mean`` divides by; None for its own.
    """

    input: Tensor | None
    target: Tensor
    reduction: str
    weight: Tensor | None = None
    pos_weight: Tensor | None = None
    ignore_index: int = -100
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    divisor: float | None = None


KNOWN = frozenset(field.name for field in fields(Arguments)) - {"input"}


def hessian_product(loss: str, gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """The Hessian of a loss times a vector; with reduction ``none``, the Hessian of the sum of the loss's rows.

    Args:
        loss: One of the client's losses.
        gradient: Gradient of the loss for an incoming gradient of ones. Its dtype and device are used throughout.
        vector: The vector, of the gradient's shape.
        arguments: The arguments of the loss.

    Raises:
        NotServedError: The Hessian does not follow from the gradient.
    """
    if loss not in PRODUCTS or arguments.z_loss:
        what = f"{loss} with z_loss" if loss in PRODUCTS else loss
        raise NotServedError(f"second derivatives of {what} are not served, nor is forward mode: use backward()")
    return PRODUCTS[loss](gradient, vector, arguments)


def _softmax(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """For loss = sum_c m_c (lse(x) - x_c). Its gradient is k p - m with k = sum_c m_c and p = softmax(x).

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
    """For loss = -t log p - (1 - t) log(1 - p), kept finite at its poles as in PyTorch."""
    p, t = _like(cast(Tensor, arguments.input), gradient), _like(arguments.target, gradient)
    poles = ((p + 1e-12) * (1 - p + 1e-12)).square()
    return vector * _scale(gradient, arguments) * (p * p - 2 * p * t + t) / poles


def _sigmoid(gradient: Tensor, vector: Tensor, arguments: Arguments) -> Tensor:
    """For loss = (1 + (pos_weight - 1) t) softplus(-x) + (1 - t) x."""
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
    """The factor of the log-probability of each class in each row, for targets that are class indices."""
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
        mass = mass / (picked.where(counts, 0.0).sum() if arguments.divisor is None else arguments.divisor)
    return mass.where(counts, 0.0)


def _mass_of_probabilities(gradient: Tensor, arguments: Arguments) -> Tensor:
    """The same factor, for targets that are probabilities."""
    count = gradient.shape[class_dimension(gradient)]
    smooth = arguments.label_smoothing
    mass = (_like(arguments.target, gradient) * (1 - smooth) + smooth / max(count, 1)) * _factors(gradient, arguments)
    return mass / _divisor(gradient.numel() / max(count, 1), arguments)


def _factors(gradient: Tensor, arguments: Arguments) -> Tensor:
    """Class weights, which broadcast to the gradient."""
    if arguments.weight is None:
        return gradient.new_ones(())
    return _like(arguments.weight, gradient).reshape(-1, *[1] * (gradient.ndim - class_dimension(gradient) - 1))


def _scale(gradient: Tensor, arguments: Arguments) -> Tensor | float:
    """The factor of each element's loss."""
    share = 1 / _divisor(gradient.numel(), arguments)
    return share if arguments.weight is None else _like(arguments.weight, gradient) * share


def _divisor(rows: float, arguments: Arguments) -> float:
    """What the losses of so many rows are divided by."""
    if arguments.reduction != "mean":
        return 1.0
    return max(rows, 1.0) if arguments.divisor is None else arguments.divisor


def _like(tensor: Tensor, gradient: Tensor) -> Tensor:
    return tensor.to(gradient.device, gradient.dtype)
