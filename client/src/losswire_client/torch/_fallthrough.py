"""What ``nn`` and ``functional`` have from PyTorch, and which of it may be mistaken for the server's."""

import warnings
from types import ModuleType
from typing import Any

MISTAKABLE = {"LinearCrossEntropyLoss", "NLLLoss2d", "linear_cross_entropy"}


def of_torch(module: ModuleType, name: str) -> Any:
    """PyTorch's own thing of this name, with a warning if it is of the family that a server evaluates."""
    found = getattr(module, name)
    if name in MISTAKABLE:
        message = f"{name} is PyTorch's own, evaluated in this process and not by a server"
        warnings.warn(f"{message}; take it from {module.__name__} to say that you know", UserWarning, stacklevel=3)
    return found
