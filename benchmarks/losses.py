"""The losses that are measured: how PyTorch and the engine call them, and their inputs and targets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def _classes(rows: int, classes: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    return torch.randint(classes, (rows,), generator=generator)


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes:
        name: Of the functions of ``torch.nn.functional`` and of the engine.
        options: Of both.
        input: Makes the input of logits.
        target: Makes the target, given rows, classes, the input's dtype and a generator.
        divisor: What the mean of an input divides by.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input: Callable[[Tensor], Tensor] = lambda logits: logits
    target: Callable[[int, int, torch.dtype, torch.Generator], Tensor] = _classes
    divisor: Callable[[Tensor], int] = len

    @property
    def torch(self) -> Callable[..., Tensor]:
        function: Callable[..., Tensor] = getattr(F, self.name)
        return function


def _probabilities(rows: int, classes: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.rand(rows, classes, generator=generator).to(dtype)


def _distributions(rows: int, classes: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, classes, generator=generator).softmax(-1).to(dtype)


LOSSES = {
    "cross_entropy": Loss("cross_entropy"),
    "label smoothing": Loss("cross_entropy", {"label_smoothing": 0.1}),
    "probability targets": Loss("cross_entropy", target=_distributions),
    "nll_loss": Loss("nll_loss", input=lambda logits: logits.log_softmax(-1)),
    "binary": Loss("binary_cross_entropy", input=torch.sigmoid, target=_probabilities, divisor=torch.numel),
    "binary with logits": Loss("binary_cross_entropy_with_logits", target=_probabilities, divisor=torch.numel),
}
