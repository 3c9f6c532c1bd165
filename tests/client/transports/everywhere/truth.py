"""PyTorch's float64 of two models: their logits from hidden states, and the divergence of each row."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from losswire_client import Head, Norm

Array = np.ndarray[Any, Any]


def tensor(x: object) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64)


@dataclass(frozen=True)
class Layer:
    """An output layer: as callers hand it in, and in float64."""

    weight: Array
    bias: Array | None = None
    norm: Norm | None = None
    softcap: float | None = None
    temperature: float = 1.0

    @cached_property
    def head(self) -> Head:
        return Head(self.weight, self.bias, norm=self.norm, softcap=self.softcap, temperature=self.temperature)

    def logits(self, states: Tensor) -> Tensor:  # (..., H) -> (..., V)
        x = states if self.norm is None else _normalized(states, self.norm)
        logits = F.linear(x, tensor(self.weight), None if self.bias is None else tensor(self.bias))
        capped = logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)
        return capped / self.temperature


def _normalized(x: Tensor, norm: Norm) -> Tensor:
    weight, bias = (None if y is None else tensor(y) for y in (norm.weight, norm.bias))
    if norm.kind == "layer":
        return F.layer_norm(x, x.shape[-1:], weight, bias, norm.eps)
    return F.rms_norm(x, x.shape[-1:], weight, norm.eps)


def divergence(log_q: Tensor, log_p: Tensor, kind: str, beta: float = 0.5) -> Tensor:  # (..., C) -> (...)
    """The divergence of each row, of log-probabilities."""
    if kind == "forward":
        return _kl(log_p, log_q)
    if kind == "reverse":
        return _kl(log_q, log_p)
    mixture = torch.logaddexp(log_p + tensor(beta).log(), log_q + tensor(1 - beta).log())
    return beta * _kl(log_p, mixture) + (1 - beta) * _kl(log_q, mixture)


def _kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)


def named(logits: Tensor, log_p: Tensor, classes: Tensor, tail: str) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the input and of the target, over what a target of some classes (..., k) leaves."""
    if tail == "renormalize":
        return logits.gather(-1, classes).log_softmax(-1), log_p.log_softmax(-1)
    log_q = logits.log_softmax(-1)
    own = log_q.gather(-1, classes)
    if tail == "drop":
        return own, log_p
    rest = log_q.scatter(-1, classes, -torch.inf).logsumexp(-1, keepdim=True)
    return torch.cat([own, rest], -1), torch.cat([log_p, (-log_p.exp().sum(-1, keepdim=True)).log1p()], -1)
