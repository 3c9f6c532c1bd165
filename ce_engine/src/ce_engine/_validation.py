"""What an argument must be, said so that the caller can mend it. Everything here runs before anything is computed."""

from collections.abc import Collection

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._rows import target_shape

INPUT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise InvalidArgumentError(name, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")


def check_label_smoothing(value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InvalidArgumentError("label_smoothing", f"expected a number in [0, 1], got {value}")


def check_input(input: Tensor) -> None:
    _check_floating("input", input)
    if input.dim() == 0:
        raise InvalidArgumentError("input", "expected shape (C), (N, C) or (N, C, d1, ..., dk), got a scalar")


def check_index_target(target: Tensor, input: Tensor) -> None:
    if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype is torch.bool:
        raise InvalidArgumentError(
            "target", f"expected class indices of an integer dtype, got {_dtype_name(target.dtype)}"
        )
    expected = target_shape(input)
    if target.shape != expected:
        raise InvalidArgumentError(
            "target",
            f"expected shape {tuple(expected)}, one class index for each row of input of shape {tuple(input.shape)}, "
            f"got {tuple(target.shape)}",
        )


def int64_classes(target: Tensor) -> Tensor:
    classes = target.to(torch.int64)
    wrapped = classes[classes < 0] if target.dtype is torch.uint64 else classes[:0]
    if len(wrapped):
        raise InvalidArgumentError("target", f"expected classes that int64 holds, got {int(wrapped[0]) + 2**64}")
    return classes


def check_classes(target: Tensor, class_count: int, ignore_index: int) -> None:
    """Checks that a flat target of int64 holds classes only.

    On a GPU a class out of range would end the process's CUDA context, so this comes before everything else.
    """
    wrong = ((target < 0) | (target >= class_count)) & (target != ignore_index)
    if wrong.any():
        row = int(wrong.to(torch.uint8).argmax())
        raise InvalidArgumentError(
            "target",
            f"expected classes in [0, {class_count}) or ignore_index {ignore_index}, "
            f"got {int(target[row])} at row {row}",
        )


def check_class_weight(weight: Tensor | None, class_count: int) -> None:
    if weight is None:
        return
    _check_floating("weight", weight)
    if weight.shape != (class_count,):
        raise InvalidArgumentError(
            "weight", f"expected shape ({class_count},), one number a class, got {tuple(weight.shape)}"
        )


def check_grad_output(grad_output: Tensor | None, loss_shape: torch.Size, *, grad: bool) -> None:
    if grad_output is None:
        return
    if not grad:
        raise InvalidArgumentError("grad_output", "expected grad=True beside it, got grad=False")
    _check_floating("grad_output", grad_output)
    if grad_output.shape != loss_shape:
        raise InvalidArgumentError(
            "grad_output", f"expected the loss's shape {tuple(loss_shape)}, got {tuple(grad_output.shape)}"
        )


def _check_floating(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in INPUT_DTYPES:
        names = ", ".join(map(_dtype_name, INPUT_DTYPES))
        raise InvalidArgumentError(name, f"expected one of the dtypes {names}, got {_dtype_name(tensor.dtype)}")


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
