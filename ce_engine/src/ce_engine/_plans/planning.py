"""The last steps of every loss's plan, which they have in common."""

from typing import Any

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Kind, Rows
from ce_engine._plans.options import Options
from ce_engine._reduction import Reduction
from ce_engine._slab import Slab


def sample_weight(options: Options) -> Tensor | None:  # (R)
    return None if options.sample_weight is None else options.sample_weight.detach().cpu().reshape(-1).clone()


def product(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Their product in float64, where None stands for ones."""
    if a is None or b is None:
        return b if a is None else a
    return a.to(torch.float64, copy=True).mul_(b)


def computed_in(input: Tensor) -> torch.dtype:
    return torch.promote_types(input.dtype, torch.float32)


def computed(factor: Tensor | None, input: Tensor) -> Tensor | None:
    """A factor of rows as compiled code reads it, in the dtype that the input is computed in."""
    if factor is None:
        return None
    return factor.to(computed_in(input)).contiguous().resolve_neg()


def plan(
    loss: str,
    input: Tensor,
    options: Options,
    rows: Rows,
    *,
    shape: torch.Size,  # of rows
    class_count: int,
    weight_sum: float,
    ignored_count: int = 0,
    row_weight: Tensor | None = None,
    target: Tensor | None = None,
    **kind_options: Any,
) -> Slab:
    """Puts the slab together."""
    if options.top_k > class_count:  # compiled code relies on it
        problem = f"expected at most the number of classes, {class_count}, got {options.top_k}"
        raise InvalidArgumentError("top_k", problem)
    divisor = None if options.divisor is None else float(options.divisor)
    reduction = Reduction(options.reduction, options.empty, shape, weight_sum, ignored_count, row_weight, divisor)
    kind = Kind(
        loss,
        input.device,
        input.dtype,
        class_count,
        target_dtype=None if target is None else target.dtype,
        grad_dtype=(options.grad_dtype or input.dtype) if options.grad else None,
        outputs=frozenset(options.outputs),
        top_k=options.top_k,
        **kind_options,
    )
    if options.grad:
        rows = rows._replace(scale=reduction.row_scale(options.grad_output, kind.compute_dtype))
    return Slab(kind, input.detach(), None if target is None else target.detach(), rows, reduction)
