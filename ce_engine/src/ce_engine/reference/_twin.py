"""What the twins of all losses share: the rows, their sums and the reduction."""

from typing import Any

import torch
from torch import Size, Tensor

from ce_engine._result import LossResult
from ce_engine.reference._tensors import flat, numbers


class Twin:
    """The loss and gradient of each row, and its share of what ``mean`` divides by; 0 for rows that are not added."""

    def __init__(self, rows: Tensor, *, has_z_loss: bool = False) -> None:  # (R, C)
        self.rows, self.has_z_loss = rows, has_z_loss
        self.losses, self.divisors, self.z_losses = (rows.new_zeros(len(rows)) for _ in range(3))
        self.outputs: dict[str, Any] = {}
        self.grads = torch.zeros_like(rows)
        self.added: list[int] = []

    def add(self, i: int, loss: Tensor, grad: Tensor, divisor: Tensor, z_loss: Tensor | float = 0.0) -> None:
        self.losses[i], self.grads[i], self.divisors[i], self.z_losses[i] = loss, grad, divisor, z_loss
        self.added.append(i)

    def add_places(self, log_p: Tensor, target: Tensor, ignore_index: int) -> None:
        """What is known of targets, (R)."""
        found, ranks = self.losses.new_zeros(len(target)), torch.zeros(len(target), dtype=torch.int64)
        for i, y in enumerate(target.tolist()):
            if y != ignore_index:
                found[i], ranks[i] = log_p[i, y], 1 + descending(self.rows[i]).index(y)
        self.outputs |= {"target_log_probabilities": found, "target_ranks": ranks}

    def add_top(self, log_p: Tensor, top_k: int) -> None:
        if top_k:
            classes = torch.tensor([descending(row)[:top_k] for row in self.rows], dtype=torch.int64)
            classes = classes.reshape(len(self.rows), top_k)
            self.outputs |= {"top_classes": classes, "top_log_probabilities": log_p.gather(1, classes)}

    def result(
        self,
        input: Tensor,
        shape: Size,
        reduction: str,
        sample_weight: Tensor | None,
        divisor: float | None,
        grad_output: Tensor | None,
        *,
        classes_last: bool = False,
    ) -> LossResult:
        sample_weights, incoming = flat(numbers(sample_weight, *shape)), flat(numbers(grad_output))
        losses, weight_sum = self.losses * sample_weights, self.divisors.sum()
        grads = self.grads * (sample_weights * incoming)[:, None]
        by = weight_sum if divisor is None else weight_sum.new_tensor(divisor)
        loss = {"none": losses.reshape(shape), "sum": losses.sum(), "mean": losses.sum() / by}[reduction]
        if reduction == "mean":
            grads[self.added] /= by
        is_last = classes_last or shape == input.shape or input.dim() < 2
        last = input if is_last else input.movedim(1, -1)
        grad = grads.reshape(last.shape)
        return LossResult(
            loss,
            float(losses.sum()),
            float(weight_sum),
            len(self.added),
            len(losses) - len(self.added),
            grad if last is input else grad.movedim(-1, 1),
            z_loss_sum=float((self.z_losses * sample_weights).sum()) if self.has_z_loss else None,
            **{name: x.reshape(shape + x.shape[1:]) for name, x in self.outputs.items()},
        )


def descending(row: Tensor) -> list[int]:  # (C)
    """Classes by descending number: of equal numbers the first comes first, and NaN is larger than all others."""
    return sorted(range(len(row)), key=lambda i: (not row[i].isnan(), 0 if row[i].isnan() else -float(row[i]), i))
