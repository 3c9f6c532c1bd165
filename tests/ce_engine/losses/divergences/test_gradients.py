"""Gradients in float64 beside autograd's of the plain formulas: of every divergence, tail, norm and softcap."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import Head, Norm
from tests.ce_engine.losses.divergences.examples import KINDS, TAILS, by_torch, named, of_named
from tests.pairs import pairs

pytestmark = pytest.mark.usefixtures("either_kernels")

ROWS, WIDTH, CLASSES = 5, 12, 37
NORMS = (None, "rms", "layer")


class Output:
    """An output layer, as the engine takes it and as PyTorch's operators compute it."""

    def __init__(self, norm: str | None, softcap: float | None, temperature: float) -> None:
        weight, bias = torch.randn(CLASSES, WIDTH).double(), torch.randn(CLASSES).double()
        scale, shift = torch.rand(WIDTH).double() + 0.5, torch.randn(WIDTH).double() if norm == "layer" else None
        self._tensors, self._norm, self._softcap, self._temperature = (
            (weight, bias, scale, shift),
            norm,
            softcap,
            temperature,
        )
        of_states = None if norm is None else Norm(norm, 1e-3, scale, shift)  # type: ignore[arg-type]
        self.head = Head(weight, bias, norm=of_states, softcap=softcap, temperature=temperature)

    def logits(self, x: Tensor) -> Tensor:
        weight, bias, scale, shift = self._tensors
        if self._norm == "rms":
            x = F.rms_norm(x, (WIDTH,), scale, 1e-3)
        if self._norm == "layer":
            x = F.layer_norm(x, (WIDTH,), scale, shift, 1e-3)
        y = F.linear(x, weight, bias)
        return (y if self._softcap is None else self._softcap * (y / self._softcap).tanh()) / self._temperature


@pytest.mark.parametrize(
    ("kind", "tail", "norm", "softcap", "temperature", "reduction"),
    pairs(KINDS, (None, *TAILS), ("no head", *NORMS), (None, 4.0), (1.0, 2.5), ("mean", "none")),
)
def test_gradient_is_autograds(kind, tail, norm, softcap, temperature, reduction):
    torch.manual_seed(0)
    output = None if norm == "no head" else Output(norm, softcap, temperature)
    x = torch.randn(ROWS, CLASSES if output is None else WIDTH).double().requires_grad_()
    y, weight = 2 * torch.randn(ROWS, CLASSES).double(), torch.rand(ROWS).double()
    options: dict[str, Any] = {"divergence": kind}
    if tail not in ("one_bin", "drop"):
        options["temperature"] = temperature
    logits, of_target = x if output is None else output.logits(x), dict[str, Any](target=y)
    if tail is None:
        losses = by_torch(logits, y, **options)
    else:
        log_p, classes = named(y, 6)
        of_target = {"target": log_p, "target_classes": classes}
        losses = of_named(logits, log_p, classes, tail, **options)
    incoming = torch.rand(ROWS if reduction == "none" else ()).double()
    weighted = losses * weight
    loss = weighted.mean() if reduction == "mean" else weighted
    (grad,) = torch.autograd.grad(loss, x, incoming)
    options |= {"tail": tail, "head": None if output is None else output.head, "sample_weight": weight}
    ours = ce_engine.kl_divergence(
        x.detach(), **of_target, **options, reduction=reduction, grad=True, grad_output=incoming
    )
    torch.testing.assert_close(ours.loss, loss.detach(), atol=1e-12, rtol=1e-11)
    torch.testing.assert_close(ours.grad, grad, atol=1e-12, rtol=1e-10)
