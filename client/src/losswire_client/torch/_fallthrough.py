"""Attributes that ``nn`` and ``functional`` take from PyTorch. Some of them may be mistaken for the server's losses."""

import warnings
from types import ModuleType
from typing import Any

MISTAKABLE = {"LinearCrossEntropyLoss", "NLLLoss2d", "linear_cross_entropy"}


def of_torch(module: ModuleType, name: str) -> Any:
    """PyTorch's own attribute of this name, with a warning if it may be mistaken for a loss of the server."""
    found = getattr(module, name)
    if name in MISTAKABLE:
        message = f"{name} is PyTorch's own, evaluated in this process and not by a server"
        warnings.warn(f"{message}; take it from {module.__name__} to silence this warning", UserWarning, stacklevel=3)
    return found
