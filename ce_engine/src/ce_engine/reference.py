"""A slow and obvious twin of each loss: one row at a time, in float64, straight from the definition. For tests.

Each takes those arguments of the function of the same name in ``ce_engine`` that change numbers, and returns what that
function returns with ``grad=True``.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Size, Tensor
from torch.nn.functional import logsigmoid

from ce_engine._heads.head import Head
from ce_engine._kernel_rows import present
from ce_engine._result import LossResult
from ce_engine._rows import target_shape

LEAST_VARIANCE = float(torch.tensor(1e-12))  # in PyTorch a float32, whatever the dtype


def cross_entropy(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk); or as input
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: Tensor | None = None,  # as the loss with reduction none
    divisor: float | None = None,
    top_k: int = 0,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    rows = _class_rows(input)
    weights = _numbers(weight, rows.shape[1])
    twin = _Twin(rows, has_z_loss=z_loss != 0)
    if not target.is_floating_point():
        twin.add_places(rows.log_softmax(1), target.reshape(-1), ignore_index)
    twin.add_top(rows.log_softmax(1), top_k)
    by_probability = target.is_floating_point()
    for i, y in enumerate(_class_rows(target) if by_probability else target.reshape(-1)):
        if not by_probability and y == ignore_index:
            continue
        share = y if by_probability else _one_hot(y, rows)
        wanted = weights * ((1 - label_smoothing) * share + label_smoothing / rows.shape[1])
        log_p = rows[i] - rows[i].logsumexp(0)
        counted = rows.new_ones(()) if by_probability else weights[y]
        lse = rows[i].logsumexp(0)
        z_losses = z_loss * counted * lse**2 if z_loss else rows.new_zeros(())
        slope = 2 * z_loss * counted * lse * log_p.exp() if z_loss else 0
        grad = log_p.exp() * wanted.sum() - wanted + slope
        twin.add(i, -(wanted * log_p)[wanted != 0].sum() + z_losses, grad, counted, z_losses)
    return twin.result(input, target_shape(input), reduction, sample_weight, divisor, grad_output)


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
    states = [_HiddenState(x, head) for x in _numbers(input).reshape(-1, head.width)]
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
        self.head, self.weight = head, _numbers(head.weight)[: head.class_count, : head.width]
        self.unit, self.slope = _normalized(x, head)
        y = self.weight @ (self.unit * self._norm("weight", 1.0) + self._norm("bias", 0.0))
        y = y if head.bias is None else y + _numbers(head.bias)[: head.class_count]
        self.tanh = torch.zeros(()) if head.softcap is None else (y / head.softcap).tanh()
        self.logits = (y if head.softcap is None else head.softcap * self.tanh) / head.temperature

    def grad(self, of_logits: Tensor) -> Tensor:  # (V) -> (H)
        of_y = of_logits / self.head.temperature * (1 - self.tanh**2)
        return (of_y @ self.weight * self._norm("weight", 1.0)) @ self.slope

    def _norm(self, name: str, otherwise: float) -> Tensor:
        tensor = getattr(self.head.norm, name, None)
        return torch.full((), otherwise) if tensor is None else _numbers(tensor)[: self.head.width]


def _normalized(x: Tensor, head: Head) -> tuple[Tensor, Tensor]:  # (H), and its derivative (H, H) by x
    identity = torch.eye(head.width, dtype=torch.float64)
    if head.norm is None:
        return x, identity
    center = identity - 1 / head.width if head.norm.kind == "layer" else identity
    centered = center @ x
    size = (centered.square().mean() + head.norm.eps).sqrt()
    unit = centered / size
    return unit, (identity - unit.outer(unit) / head.width) @ center / size


def nll_loss(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk)
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    sample_weight: Tensor | None = None,  # as target
    divisor: float | None = None,
    top_k: int = 0,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    rows = _class_rows(input)
    weights = _numbers(weight, rows.shape[1])
    twin = _Twin(rows)
    twin.add_places(rows, target.reshape(-1), ignore_index)
    twin.add_top(rows, top_k)
    for i, y in enumerate(target.reshape(-1)):
        if y != ignore_index:
            twin.add(i, -weights[y] * rows[i, y], -weights[y] * _one_hot(y, rows), weights[y])
    return twin.result(input, target_shape(input), reduction, sample_weight, divisor, grad_output)


def kl_divergence(
    input: Tensor,  # (C) or (..., C)
    target: Tensor,  # as input; or (..., k) with target_classes
    *,
    divergence: str = "forward",
    beta: float | None = None,
    temperature: float = 1.0,
    target_classes: Tensor | None = None,  # as target
    tail: str | None = None,
    labels: Tensor | None = None,  # as the loss with reduction none
    ignore_index: int = -100,
    reduction: str = "mean",
    sample_weight: Tensor | None = None,  # as labels
    divisor: float | None = None,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    """Its gradient is autograd's, unlike those of the others."""
    twin = _Twin(_last_rows(input))
    given = _last_rows(target)
    named = None if target_classes is None else target_classes.reshape(given.shape)
    for i, y in enumerate(given):
        if labels is not None and labels.reshape(-1)[i] == ignore_index:
            continue
        with torch.enable_grad():
            x = twin.rows[i].clone().requires_grad_()
            p, q = _pair(x, y, None if named is None else named[i], temperature, tail)
            loss = _divergence(p, q, divergence, 0.5 if beta is None else beta)
            (grad,) = torch.autograd.grad(loss, x)
        twin.add(i, loss.detach(), grad, torch.ones(()))
    shape = input.shape[:-1]
    return twin.result(input, shape, reduction, sample_weight, divisor, grad_output, classes_last=True)


def binary_cross_entropy(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    sample_weight: Tensor | None = None,  # as input
    divisor: float | None = None,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    weights = _numbers(weight, *input.shape)
    twin = _Twin(_numbers(input).reshape(-1, 1))
    for i, (p, t, w) in enumerate(zip(twin.rows, _flat(target), _flat(weights), strict=True)):
        loss = -t * p.log().clamp(min=-100) - (1 - t) * (1 - p).log().clamp(min=-100)
        twin.add(i, w * loss, w * (p - t) / (p * (1 - p)).clamp(min=LEAST_VARIANCE), torch.ones(()))
    return twin.result(input, input.shape, reduction, sample_weight, divisor, grad_output)


def binary_cross_entropy_with_logits(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    pos_weight: Tensor | None = None,  # broadcasts to the input's shape
    sample_weight: Tensor | None = None,  # as input
    divisor: float | None = None,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    weights, pos_weights = _numbers(weight, *input.shape), _numbers(pos_weight, *input.shape)
    twin = _Twin(_numbers(input).reshape(-1, 1))
    for i, (x, t, w, q) in enumerate(zip(twin.rows, _flat(target), _flat(weights), _flat(pos_weights), strict=True)):
        loss = -q * t * logsigmoid(x) - (1 - t) * logsigmoid(-x)
        twin.add(i, w * loss, w * ((1 - t) * x.sigmoid() - q * t * (-x).sigmoid()), torch.ones(()))
    return twin.result(input, input.shape, reduction, sample_weight, divisor, grad_output)


class _Twin:
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
        numbers, ranks = self.losses.new_zeros(len(target)), torch.zeros(len(target), dtype=torch.int64)
        for i, y in enumerate(target.tolist()):
            if y != ignore_index:
                numbers[i], ranks[i] = log_p[i, y], 1 + descending(self.rows[i]).index(y)
        self.outputs |= {"target_log_probabilities": numbers, "target_ranks": ranks}

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
        sample_weights, incoming = _flat(_numbers(sample_weight, *shape)), _flat(_numbers(grad_output))
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


def _pair(
    x: Tensor,  # (C)
    y: Tensor,  # (C), or (k) with classes
    classes: Tensor | None,  # (k)
    temperature: float,
    tail: str | None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the target and of the input, of the classes that count."""
    if classes is None:
        return (y / temperature).log_softmax(0), (x / temperature).log_softmax(0)
    y, at = y[y > -torch.inf], classes[y > -torch.inf].long()
    if tail == "renormalize":
        return (y / temperature).log_softmax(0), (x[at] / temperature).log_softmax(0)
    log_q = x.log_softmax(0)
    if tail == "drop":
        return y, log_q[at]
    others = torch.ones(len(x), dtype=torch.bool)
    others[at] = False
    if not others.any():  # what is left of p is a rounding error
        return y, log_q[at]
    rest = (1 - y.exp().sum()).clamp(min=0).log()
    return torch.cat([y, rest[None]]), torch.cat([log_q[at], log_q[others].logsumexp(0)[None]])


def _divergence(log_p: Tensor, log_q: Tensor, kind: str, beta: float) -> Tensor:
    if kind == "forward":
        return _less(log_p, log_q)
    if kind == "reverse":
        return _less(log_q, log_p)
    some = (log_p.exp() != 0) | (log_q.exp() != 0)
    log_p, log_q = log_p[some], log_q[some]
    mixture = (beta * log_p.exp() + (1 - beta) * log_q.exp()).log()
    return beta * _less(log_p, mixture) + (1 - beta) * _less(log_q, mixture)


def _less(log_p: Tensor, log_q: Tensor) -> Tensor:
    """The sum of p (log p - log q) over classes whose p is not 0."""
    some = log_p.exp() != 0
    return (log_p.exp()[some] * (log_p[some] - log_q[some])).sum()


def _last_rows(x: Tensor) -> Tensor:  # (R, C)
    return _numbers(x).reshape(x.shape[:-1].numel(), x.shape[-1])


def descending(row: Tensor) -> list[int]:  # (C)
    """Classes by descending number: of equal numbers the first comes first, and NaN is larger than all others."""
    return sorted(range(len(row)), key=lambda i: (not row[i].isnan(), 0 if row[i].isnan() else -float(row[i]), i))


def _class_rows(x: Tensor) -> Tensor:  # (R, C)
    x = _numbers(x)
    return x.movedim(1, -1).reshape(-1, x.shape[1]) if x.dim() > 1 else x[None]


def _numbers(x: Tensor | None, *shape: int) -> Tensor:
    """A tensor in float64, expanded to that shape if one is given; ones for None."""
    numbers = torch.ones(()) if x is None else x.detach()
    return numbers.to(torch.float64).expand(shape or numbers.shape)


def _flat(x: Tensor) -> Tensor:
    return x.to(torch.float64).reshape(-1)


def _one_hot(y: Tensor, rows: Tensor) -> Tensor:  # (C)
    return torch.eye(rows.shape[1], dtype=torch.float64)[y]
