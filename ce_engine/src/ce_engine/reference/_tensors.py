"""Tensors in float64, and as rows."""

import torch
from torch import Tensor


def class_rows(x: Tensor) -> Tensor:  # (R, C)
    x = numbers(x)
    return x.movedim(1, -1).reshape(-1, x.shape[1]) if x.dim() > 1 else x[None]


def last_rows(x: Tensor) -> Tensor:  # (R, C)
    return numbers(x).reshape(x.shape[:-1].numel(), x.shape[-1])


def numbers(x: Tensor | None, *shape: int) -> Tensor:
    """A tensor in float64, expanded to that shape if one is given; ones for None."""
    given = torch.ones(()) if x is None else x.detach()
    return given.to(torch.float64).expand(shape or given.shape)


def flat(x: Tensor) -> Tensor:
    return x.to(torch.float64).reshape(-1)


def one_hot(y: Tensor, rows: Tensor) -> Tensor:  # (C)
    return torch.eye(rows.shape[1], dtype=torch.float64)[y]
