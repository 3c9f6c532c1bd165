"""Divergences of two distributions."""

import torch
from torch import Tensor

from ce_engine._result import LossResult
from ce_engine.reference._tensors import last_rows
from ce_engine.reference._twin import Twin


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
    twin = Twin(last_rows(input))
    given = last_rows(target)
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
