"""``torch.nn`` with the cross-entropy family evaluated by a server. Everything else is PyTorch's own."""

from typing import Any

from torch import nn as _nn

from losswire_client.torch._fallthrough import of_torch
from losswire_client.torch._modules import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
from losswire_client.torch.nn import functional

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "NLLLoss", "functional"]


def __getattr__(name: str) -> Any:
    return of_torch(_nn, name)


def __dir__() -> list[str]:
    return dir(_nn)
