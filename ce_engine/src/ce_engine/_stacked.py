"""Stacks requests that differ in their numbers alone to one slab, whose result has each reduced by itself.

Checking and planning a small batch takes longer than its losses. Here all is done once for all requests.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import ELEMENTWISE, RowResults
from ce_engine._plans.validation import check_tensor
from ce_engine._reduction import Reduction
from ce_engine._result import StackedResult
from ce_engine._slab import OF_ROWS, Slab
from ce_engine._sums.row_order import row_order_sums

OWN = ("target_classes", "labels")  # options of which each request has its own


def stacked(
    plan: Callable[..., Slab],
    input: Tensor,  # (G, ...)
    target: Tensor,  # (G, ...)
    *,
    sample_weight: Tensor | None = None,  # (G, ...)
    reduction: str = "mean",
    empty: str = "nan",
    divisor: float | None = None,
    grad_output: Tensor | None = None,
    **options: Any,
) -> Slab:
    """Plans G requests as one slab, whose result is a `StackedResult`: each has the same bits as if evaluated alone.

        >>> logits, target = torch.randn(100, 32, 10), torch.randint(10, (100, 32))
        >>> slab = slabs.stacked(slabs.cross_entropy, logits, target)
        >>> means = engine.submit(slab).result().loss  # (100)

    Args:
        plan: The loss: one of the functions in ``ce_engine.slabs``.
        input: The requests' inputs, one after the other along the first dimension.
        target: Their targets, likewise.
        sample_weight: The weights of their samples, likewise.
        reduction: How the losses of each request are reduced.
        empty: What ``mean`` is for a request in which nothing counts.
        divisor: What ``mean`` divides by in place of each request's ``weight_sum``.
        grad_output: The incoming gradient of each request's loss.
        **options: The loss's other arguments. All requests share them, as they share the last four, but for those with
            an entry for each row, which come as the targets do. A ``weight`` must not be computed from the targets.

    Raises:
        InvalidArgumentError: An argument is wrong, even if for one request only; nothing was computed.
    """
    own = {"input": input, "target": target} | ({} if sample_weight is None else {"sample_weight": sample_weight})
    own |= {name: options.pop(name) for name in OWN if options.get(name) is not None}
    _check(own, options)
    shared = {"reduction": reduction, "empty": empty, "divisor": divisor, "grad_output": grad_output}
    first = plan(**{name: x[0] for name, x in own.items()}, **shared, **options)
    if input.dim() > 2 and first.kind.loss not in ELEMENTWISE:  # the samples of all requests, as of one request
        own = {name: x.flatten(0, 1) for name, x in own.items()}
    slab = plan(**own, reduction="none", **options)
    reductions = _reductions(first.reduction, slab, input.shape[0])
    if first.rows.scale is not None:
        scale = _row_scales(reductions, grad_output, slab.kind.compute_dtype)
        slab = replace(slab, rows=slab.rows._replace(scale=scale))
    finish = partial(_result, reductions=reductions, shape=input.shape)
    return replace(slab, finish=finish, request_count=len(reductions))


def _check(own: dict[str, Tensor], options: dict[str, Any]) -> None:
    for name, x in own.items():
        check_tensor(name, x)
        if not x.dim() or not x.shape[0] or x.shape[0] != own["input"].shape[0]:
            expected = "expected a first dimension of one entry for each request"
            raise InvalidArgumentError(name, f"{expected}, got shape {tuple(x.shape)}")
    if isinstance(options.get("weight"), str):
        raise InvalidArgumentError("weight", f"expected numbers, which all requests share, got {options['weight']!r}")


def _reductions(
    first: Reduction,  # of the first request
    slab: Slab,  # of all
    count: int,
) -> list[Reduction]:
    rows = first.shape.numel()
    ignored, weight = slab.rows.ignored, slab.reduction.row_weight
    ignored_counts = [0] * count if ignored is None else ignored.view(count, rows).sum(1).tolist()
    if weight is None:
        weight_sums = [float(rows - ignored_count) for ignored_count in ignored_counts]
    else:
        weight_sums = row_order_sums(weight.view(count, rows)).tolist()
    sums = zip(weight_sums, ignored_counts, strict=True)
    divisor = first.given_divisor
    return [Reduction(first.kind, first.empty, first.shape, *of_request, given_divisor=divisor) for of_request in sums]


def _row_scales(
    reductions: Sequence[Reduction],
    grad_output: Tensor | None,  # of the loss's shape
    dtype: torch.dtype,
) -> Tensor:  # (G * R)
    """`Reduction.row_scale` of all requests."""
    one = torch.ones((), dtype=torch.float64, device="cpu")
    incoming = one if grad_output is None else grad_output.detach().cpu().to(torch.float64).reshape(-1)
    divisors = one.new_tensor([reduction.divisor for reduction in reductions])[:, None]
    scale = (incoming / divisors).to(dtype)  # (G, 1) or (G, R)
    return scale.expand(len(reductions), reductions[0].shape.numel()).reshape(-1)


def _result(
    results: RowResults,
    reductions: Sequence[Reduction],
    shape: Size,  # of the inputs
) -> StackedResult:
    count, rows = len(reductions), reductions[0].shape
    shaped = results.map(lambda x: x.reshape(count, *rows, *x.shape[1:]), lambda x: x.reshape(*shape[:-1], x.shape[-1]))
    loss_sums = row_order_sums(results.losses.reshape(count, rows.numel())).tolist()
    correct, z_losses = results.correct, results.z_losses
    return StackedResult(
        loss=_loss(shaped.losses, reductions, loss_sums),
        loss_sum=loss_sums,
        weight_sum=[reduction.weight_sum for reduction in reductions],
        row_count=[reduction.row_count for reduction in reductions],
        ignored_count=[reduction.ignored_count for reduction in reductions],
        grad=shaped.grad,
        probabilities=shaped.probabilities,
        log_probabilities=shaped.log_probabilities,
        **{name: getattr(shaped, name) for name in OF_ROWS},
        z_loss_sum=None if z_losses is None else row_order_sums(z_losses.reshape(count, rows.numel())).tolist(),
        correct_count=None if correct is None else correct.reshape(count, rows.numel()).sum(1).tolist(),
    )


def _loss(losses: Tensor, reductions: Sequence[Reduction], loss_sums: Sequence[float]) -> Tensor:
    if reductions[0].kind == "none":
        return losses
    reduced = [reduction.reduced(loss_sum) for reduction, loss_sum in zip(reductions, loss_sums, strict=True)]
    return torch.tensor(reduced, dtype=losses.dtype, device=losses.device)
