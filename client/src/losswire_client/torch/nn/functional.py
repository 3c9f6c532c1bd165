"""``torch.nn.functional`` with the cross-entropy family evaluated by a server. Everything else is PyTorch's own."""

from typing import Any

from torch.nn import functional as _functional

from losswire_client.torch._fallthrough import of_torch
from losswire_client.torch._functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    nll_loss,
)

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "nll_loss"]


def __getattr__(name: str) -> Any:
    return of_torch(_functional, name)


def __dir__() -> list[str]:
    return dir(_functional)
