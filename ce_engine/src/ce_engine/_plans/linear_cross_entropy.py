"""Cross-entropy of logits that a head makes. It is planned as that of the logits, which are not there yet."""

from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._heads.head import Head
from ce_engine._plans.cross_entropy import cross_entropy
from ce_engine._plans.options import Common
from ce_engine._plans.validation import check_floating, check_same_precision, check_tensor, check_type, dtype_name
from ce_engine._slab import Slab


def linear_cross_entropy(
    input: Tensor,  # (H) or (..., H)
    head: Head,
    target: Tensor,  # () or (...); or (V) or (..., V)
    weight: Tensor | str | None = None,  # (V)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    **common: Unpack[Common],
) -> Slab:
    """Softmax cross-entropy of the logits that a head makes of hidden states, without ever holding all logits.

    It is as ``torch.nn.functional.linear_cross_entropy`` with the head's weight, where that takes the same arguments.
    The gradient is that of the hidden states. Logits are made tile by tile; a row's results have the same bits in any
    tile.

    Args:
        input: Hidden states, in float64, float32, float16 or bfloat16. Float64 if the head is, and only then.
        head: Makes the logits.
        target: Class indices in any integer dtype, each in [0, V) or equal to ``ignore_index``; or probabilities of the
            classes, in any of the input's dtypes.
        weight: As in `cross_entropy`.
        ignore_index: As in `cross_entropy`.
        reduction: As in `cross_entropy`.
        label_smoothing: As in `cross_entropy`.
        z_loss: As in `cross_entropy`.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    if not common.get("checked"):
        _check(input, head, target)
    logits = _stand_in(input, head)
    of_logits = target.movedim(-1, 1) if target.dtype.is_floating_point and target.dim() > 2 else target
    planned = cross_entropy(logits, of_logits, weight, ignore_index, reduction, label_smoothing, z_loss, **common)
    kind = planned.kind._replace(loss="linear_cross_entropy", head=head)
    distribution = None if planned.target is None else target.detach()
    return replace(planned, kind=kind, input=input.detach(), target=distribution)


def _stand_in(input: Tensor, head: Head) -> Tensor:  # (V) or (N, V, d1, ..., dk)
    """What is like the logits in all but numbers, and takes no memory."""
    *rows, _ = input.shape
    shape = (*rows[:1], head.class_count, *rows[1:])
    return torch.empty((), dtype=input.dtype, device=input.device).expand(shape)


def _check(input: Tensor, head: Head, target: Tensor) -> None:
    check_type("head", head, Head)
    check_floating("input", input)
    if input.dim() == 0 or input.shape[-1] != head.width:
        expected = f"expected shape (..., {head.width}), the head's width last"
        raise InvalidArgumentError("input", f"{expected}, got {tuple(input.shape)}")
    check_same_precision("input", input, "a head", head.dtype)
    check_tensor("target", target)
    rows = input.shape[:-1]
    if target.dtype.is_floating_point and target.shape != (*rows, head.class_count):
        expected = f"expected probabilities of shape {(*rows, head.class_count)}, or class indices of {tuple(rows)}"
        raise InvalidArgumentError(
            "target", f"{expected}, got {dtype_name(target.dtype)} of shape {tuple(target.shape)}"
        )
    if not target.dtype.is_floating_point and target.shape != rows:
        expected = f"expected shape {tuple(rows)}, one class index for each row of input of shape {tuple(input.shape)}"
        raise InvalidArgumentError("target", f"{expected}, got {tuple(target.shape)}")
