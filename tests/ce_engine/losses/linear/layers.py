"""Heads, for us and for PyTorch, and inputs."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ce_engine import Head, Norm

WIDTH, CLASSES = 33, 70  # neither is a multiple of 64


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def classes(*shape: int, count: int = CLASSES) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(sum(shape)))


class Layer:
    """A head's tensors, for us and for PyTorch."""

    def __init__(
        self,
        dtype: torch.dtype = torch.float64,
        *,
        count: int = CLASSES,
        width: int = WIDTH,
        norm: Literal["rms", "layer"] | None = None,
        softcap: float | None = None,
        temperature: float = 1.0,
        bias: bool = True,
    ) -> None:
        self.weight = random(count, width, dtype=dtype)
        self.bias = random(count, dtype=dtype) if bias else None
        self.norm, self.softcap, self.temperature = norm, softcap, temperature
        self.factor, self.shift = random(width, dtype=dtype) + 1, random(width, dtype=dtype, seed=1)

    def head(self) -> Head:
        norm = None
        if self.norm is not None:
            norm = Norm(self.norm, 1e-5, self.factor, self.shift if self.norm == "layer" else None)
        return Head(self.weight, self.bias, norm=norm, softcap=self.softcap, temperature=self.temperature)

    def logits(self, x: Tensor) -> Tensor:
        if self.norm == "rms":
            x = F.rms_norm(x, x.shape[-1:], self.factor, 1e-5)
        if self.norm == "layer":
            x = F.layer_norm(x, x.shape[-1:], self.factor, self.shift, 1e-5)
        y = F.linear(x, self.weight, self.bias)
        return (y if self.softcap is None else self.softcap * torch.tanh(y / self.softcap)) / self.temperature

    def theirs(
        self, x: Tensor, target: Tensor, grad_output: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]:
        leaf = x.detach().clone().requires_grad_()
        target = target.movedim(-1, 1) if target.is_floating_point() and target.dim() > 2 else target
        logits = self.logits(leaf)
        loss = F.cross_entropy(logits.movedim(-1, 1) if logits.dim() > 2 else logits, target, **options)
        (grad,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss) if grad_output is None else grad_output)
        return loss.detach(), grad


LAYERS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"softcap": 3.0},
    {"temperature": 0.7},
    {"norm": "rms", "softcap": 3.0, "temperature": 1.7},
    {"norm": "layer", "temperature": 1.7},
]
