"""The loss of hidden states."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ce_engine._heads.head import Head
from ce_engine._kernel_rows import present
from ce_engine._result import LossResult
from ce_engine.reference._classes import cross_entropy
from ce_engine.reference._tensors import numbers


def linear_cross_entropy(
    input: Tensor,  # (H) or (..., H)
    head: Head,
    target: Tensor,  # () or (...); or (V) or (..., V)
    weight: Tensor | None = None,  # (V)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: Tensor | None = None,  # as the loss with reduction none
    divisor: float | None = None,
    top_k: int = 0,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    states = [_HiddenState(x, head) for x in numbers(input).reshape(-1, head.width)]
    logits = torch.stack([state.logits for state in states])
    flat = target.reshape(len(states), *target.shape[input.dim() - 1 :])
    given = {"sample_weight": sample_weight, "grad_output": grad_output}
    by_row = {name: None if x is None else x.expand(x.shape or flat.shape[:1]).reshape(-1) for name, x in given.items()}
    if reduction != "none":
        by_row["grad_output"] = grad_output
    of_logits = cross_entropy(
        logits,
        flat,
        weight,
        ignore_index,
        reduction,
        label_smoothing,
        z_loss,
        divisor=divisor,
        top_k=top_k,
        **by_row,
    )
    grads = [state.grad(of_row) for state, of_row in zip(states, present(of_logits.grad), strict=True)]
    shaped: dict[str, Any] = {
        name: x.reshape(*input.shape[:-1], *x.shape[1:])
        for name, x in vars(of_logits).items()
        if isinstance(x, Tensor) and x.dim() and name != "grad"
    }
    return replace(of_logits, **shaped, grad=torch.stack(grads).reshape(input.shape))


class _HiddenState:
    """The logits of a hidden state, and the gradient of the state from theirs."""

    def __init__(self, x: Tensor, head: Head) -> None:  # (H)
        self.head, self.weight = head, numbers(head.weight)[: head.class_count, : head.width]
        self.unit, self.slope = _normalized(x, head)
        y = self.weight @ (self.unit * self._norm("weight", 1.0) + self._norm("bias", 0.0))
        y = y if head.bias is None else y + numbers(head.bias)[: head.class_count]
        self.tanh = torch.zeros(()) if head.softcap is None else (y / head.softcap).tanh()
        self.logits = (y if head.softcap is None else head.softcap * self.tanh) / head.temperature

    def grad(self, of_logits: Tensor) -> Tensor:  # (V) -> (H)
        of_y = of_logits / self.head.temperature * (1 - self.tanh**2)
        return (of_y @ self.weight * self._norm("weight", 1.0)) @ self.slope

    def _norm(self, name: str, otherwise: float) -> Tensor:
        tensor = getattr(self.head.norm, name, None)
        return torch.full((), otherwise) if tensor is None else numbers(tensor)[: self.head.width]


def _normalized(x: Tensor, head: Head) -> tuple[Tensor, Tensor]:  # (H), and its derivative (H, H) by x
    identity = torch.eye(head.width, dtype=torch.float64)
    if head.norm is None:
        return x, identity
    center = identity - 1 / head.width if head.norm.kind == "layer" else identity
    centered = center @ x
    size = (centered.square().mean() + head.norm.eps).sqrt()
    unit = centered / size
    return unit, (identity - unit.outer(unit) / head.width) @ center / size
