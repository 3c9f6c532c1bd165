"""Checks of what a head is made of."""

from typing import TYPE_CHECKING

from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._plans.validation import check_choice, check_floating, check_number, check_same_precision

if TYPE_CHECKING:
    from ce_engine._heads.head import Norm


def check_weight(weight: Tensor) -> None:
    check_floating("weight", weight)
    if weight.dim() != 2 or 0 in weight.shape:
        problem = f"expected shape (V, H), with at least one class and one number, got {tuple(weight.shape)}"
        raise InvalidArgumentError("weight", problem)


def check_bias(bias: Tensor | None, weight: Tensor) -> None:
    if bias is not None:
        _check_vector("bias", bias, weight.shape[0], "one number a class", weight)


def check_norm(norm: "Norm | None", weight: Tensor) -> None:
    if norm is None:
        return
    kind = getattr(norm, "kind", None)
    if kind is None:
        raise InvalidArgumentError("norm", f"expected Norm, got {type(norm).__name__}")
    check_choice("norm.kind", kind, ("rms", "layer"))
    check_number("norm.eps", norm.eps, least=0)
    if norm.bias is not None and kind == "rms":
        raise InvalidArgumentError("norm.bias", "expected none with kind 'rms', got a tensor")
    for name, x in (("norm.weight", norm.weight), ("norm.bias", norm.bias)):
        if x is not None:
            _check_vector(name, x, weight.shape[1], "one number for each of a hidden state", weight)


def _check_vector(name: str, x: Tensor, size: int, what: str, weight: Tensor) -> None:
    check_floating(name, x)
    if x.shape != (size,):
        raise InvalidArgumentError(name, f"expected shape ({size},), {what}, got {tuple(x.shape)}")
    check_same_precision(name, x, "a weight", weight.dtype)
