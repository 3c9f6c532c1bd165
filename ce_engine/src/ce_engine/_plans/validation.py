"""Checks of arguments, whose errors tell the caller what to correct. They run before anything is computed."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._rows import target_shape

INPUT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
REDUCTIONS = ("none", "mean", "sum")
PART_ROWS = 2**18  # rows of a target that are looked at, or widened, at a time
LEAST, MOST = 1e-15, 1e15  # float32 has the reciprocals of numbers between, and products and quotients of any two


def check_type(name: str, value: object, expected: Any) -> None:
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        what = getattr(expected, "__name__", expected)
        raise InvalidArgumentError(name, f"expected {what}, got {type(value).__name__}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgumentError(name, f"expected one of {_listed(choices)}, got {value!r}")


def check_reduction(reduction: str) -> None:
    if reduction == "batchmean":
        expected = f"expected one of {_listed(REDUCTIONS)}, where 'mean' divides by rows, and with a divisor by that"
        raise InvalidArgumentError("reduction", f"{expected}, got 'batchmean'")
    check_choice("reduction", reduction, REDUCTIONS)


def check_outputs(outputs: Collection[str], choices: Collection[str]) -> None:
    listed = isinstance(outputs, Collection) and not isinstance(outputs, str)
    wrong = [output for output in outputs if output not in choices] if listed else [outputs]
    if wrong:
        came = wrong[0]
        raise InvalidArgumentError("outputs", f"expected a collection of any of {_listed(choices)}, got {came!r}")


def check_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        check_type(name, number, int)
        if number < least:
            raise InvalidArgumentError(name, f"expected at least {least}, got {number}")


def check_range(name: str, number: int, least: int, most: int) -> None:
    check_type(name, number, int)
    if not least <= number <= most:
        raise InvalidArgumentError(name, f"expected an integer in [{least}, {most}], got {number}")


def check_divisor(divisor: float | None, reduction: str) -> None:
    if divisor is None:
        return
    check_number("divisor", divisor)
    if reduction != "mean":
        raise InvalidArgumentError("divisor", f"expected reduction 'mean' with it, got {reduction!r}")


def check_number(name: str, number: float, least: float = LEAST) -> None:
    check_type(name, number, float | int)
    if not least <= number <= MOST:
        raise InvalidArgumentError(name, f"expected a number from {least:g} to 1e15, got {number}")


def check_label_smoothing(value: float) -> None:
    check_type("label_smoothing", value, float | int)
    if not 0.0 <= value <= 1.0:
        raise InvalidArgumentError("label_smoothing", f"expected a number in [0, 1], got {value}")


def is_plain(tensor: object) -> bool:
    """Whether it is a dense tensor on the CPU, and not of a subclass."""
    return type(tensor) is Tensor and tensor.is_cpu and tensor.layout is torch.strided and not tensor.is_nested


def check_tensor(name: str, tensor: Tensor) -> None:
    if is_plain(tensor):
        return
    check_type(name, tensor, Tensor)
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.device.type not in ("cpu", "cuda"):
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise InvalidArgumentError(name, f"expected a plain tensor on cpu or cuda, got a {kind} one on {tensor.device}")


def check_floating(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype not in INPUT_DTYPES:
        names = ", ".join(map(dtype_name, INPUT_DTYPES))
        raise InvalidArgumentError(name, f"expected one of the dtypes {names}, got {dtype_name(tensor.dtype)}")


def check_class_input(input: Tensor) -> None:
    check_floating("input", input)
    if input.dim() == 0:
        raise InvalidArgumentError("input", "expected shape (C), (N, C) or (N, C, d1, ..., dk), got a scalar")


def check_probabilities(name: str, tensor: Tensor) -> None:
    """Checks that all elements are in [0, 1]; NaN is not. A second pass runs only to find the wrong element."""
    if tensor.numel() == 0:
        return
    least, most = tensor.aminmax()
    if not (least >= 0 and most <= 1):
        flat = tensor.reshape(-1)
        row = first_row(flat, lambda part: ~((part >= 0) & (part <= 1)))
        if row is not None:  # the caller may have changed it meanwhile
            problem = f"expected probabilities in [0, 1], got {float(flat[row])}"
            raise InvalidArgumentError(name, problem, ("element", row))


def first_row(
    x: Tensor,  # (R)
    matches: Callable[[Tensor], Tensor],
) -> int | None:
    """The first row that matches, if one does. Flags of all rows together would take memory."""
    for number, part in enumerate(torch.split(x, PART_ROWS)):
        found = matches(part)
        if found.any():
            return number * PART_ROWS + int(found.to(torch.uint8).argmax())
    return None


def check_integers(name: str, tensor: Tensor) -> None:
    check_tensor(name, tensor)
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype is torch.bool:
        raise InvalidArgumentError(name, f"expected class indices of an integer dtype, got {dtype_name(tensor.dtype)}")


def check_index_target(target: Tensor, input: Tensor) -> None:
    check_integers("target", target)
    expected = target_shape(input)
    if target.shape != expected:
        raise InvalidArgumentError(
            "target",
            f"expected shape {tuple(expected)}, one class index for each row of input of shape {tuple(input.shape)}, "
            f"got {tuple(target.shape)}",
        )


def check_target_like_input(target: Tensor, input: Tensor) -> None:
    check_floating("target", target)
    if target.shape != input.shape:
        raise InvalidArgumentError(
            "target", f"expected the input's shape {tuple(input.shape)}, got {tuple(target.shape)}"
        )
    check_same_device(target, input)


def check_probability_target(target: Tensor, input: Tensor) -> None:
    check_tensor("target", target)
    if target.dtype not in INPUT_DTYPES or target.shape != input.shape:
        raise InvalidArgumentError(
            "target",
            "expected class indices of an integer dtype or probabilities of the input's shape "
            f"{tuple(input.shape)}, got {dtype_name(target.dtype)} of shape {tuple(target.shape)}",
        )
    check_same_device(target, input)


def check_classes(target: Tensor, class_count: int, ignore_index: int, name: str = "target") -> None:
    """Checks that a flat target of int64 holds classes only.

    On a GPU a class out of range would end the process's CUDA context, so this comes before everything else.
    """
    row = first_row(target, lambda part: ((part < 0) | (part >= class_count)) & (part != ignore_index))
    if row is not None:
        raise InvalidArgumentError(
            name,
            f"expected classes in [0, {class_count}) or ignore_index {ignore_index}, got {int(target[row])}",
            ("row", row),
        )


def check_class_weight(weight: Tensor, class_count: int) -> None:
    check_floating("weight", weight)
    if weight.shape != (class_count,):
        raise InvalidArgumentError(
            "weight", f"expected shape ({class_count},), one number a class, got {tuple(weight.shape)}"
        )


def check_broadcasts(name: str, tensor: Tensor, shape: Size) -> None:
    check_floating(name, tensor)
    sizes = zip(reversed(tensor.shape), reversed(shape), strict=False)
    if tensor.dim() > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
        raise InvalidArgumentError(
            name, f"expected a shape that broadcasts to the input's {tuple(shape)}, got {tuple(tensor.shape)}"
        )


def check_shape(name: str, tensor: Tensor, shape: Size, whose: str) -> None:
    check_floating(name, tensor)
    if tensor.shape != shape:
        raise InvalidArgumentError(name, f"expected {whose} shape {tuple(shape)}, got {tuple(tensor.shape)}")


def check_same_precision(name: str, tensor: Tensor, whose: str, dtype: torch.dtype) -> None:
    """Checks that a tensor is float64 if what it meets is, and only then."""
    if (tensor.dtype is torch.float64) == (dtype is torch.float64):
        return
    expected = "float64" if dtype is torch.float64 else "float32, float16 or bfloat16"
    problem = f"expected {expected} with {whose} in {dtype_name(dtype)}, got {dtype_name(tensor.dtype)}"
    raise InvalidArgumentError(name, problem)


def check_grad_dtype(dtype: torch.dtype | None, *, grad: bool) -> None:
    if dtype is None:
        return
    if not grad:
        raise InvalidArgumentError("grad_dtype", "expected grad=True with it, got grad=False")
    if dtype not in INPUT_DTYPES:
        names = ", ".join(map(dtype_name, INPUT_DTYPES))
        raise InvalidArgumentError("grad_dtype", f"expected one of {names}, got {dtype_name(dtype)}")


def check_grad_output(grad_output: Tensor | None, loss_shape: Size, *, grad: bool) -> None:
    if grad_output is None:
        return
    if not grad:
        raise InvalidArgumentError("grad_output", "expected grad=True with it, got grad=False")
    check_shape("grad_output", grad_output, loss_shape, "the loss's")


def check_same_device(target: Tensor, input: Tensor) -> None:
    """For targets as large as the input. Other targets are copied to the host anyway, to be checked."""
    if target.device != input.device:
        raise InvalidArgumentError("target", f"expected it on the input's device {input.device}, got {target.device}")


def _listed(choices: Collection[str]) -> str:
    return ", ".join(map(repr, choices))


def dtype_name(dtype: torch.dtype) -> str:
    """A dtype as numpy names it."""
    return str(dtype).removeprefix("torch.")
