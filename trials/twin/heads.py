"""Output layers in float64: from hidden states to logits, and gradients back."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from losswire import v1
from losswire.heads.content import tensors_of
from losswire.tensors import decode
from trials.twin.tensors import as_torch

TAME = 1e4  # no number that matters is larger


@dataclass(frozen=True)
class Head:
    """A head.

    Attributes:
        weight: (V, H), in float64, as all tensors.
        bias: (V).
        norm: None, or its kind and what is added to the mean square.
        factors: The norm's weight, (H).
        shifts: The norm's bias, (H).
        softcap: Bounds logits; None for no bound.
        temperature: What logits are divided by.
    """

    weight: Tensor
    bias: Tensor
    norm: tuple[v1.NormKind.ValueType, float] | None
    factors: Tensor
    shifts: Tensor
    softcap: float | None
    temperature: float

    @classmethod
    def of(cls, message: v1.Head) -> "Head":
        """The head of a message that has its elements."""
        tensors = {name: as_torch(decode(tensor, name)).double() for name, tensor in tensors_of(message).items()}
        weight = tensors["weight"]
        return cls(
            weight,
            tensors.get("bias", weight.new_zeros(weight.shape[0])),
            (message.norm.kind, message.norm.eps) if message.HasField("norm") else None,
            tensors.get("norm.weight", weight.new_ones(weight.shape[1])),
            tensors.get("norm.bias", weight.new_zeros(weight.shape[1])),
            message.softcap or None,
            message.temperature if message.HasField("temperature") else 1.0,
        )

    @property
    def classes(self) -> int:
        return self.weight.shape[0]

    def logits(self, states: Tensor) -> Tensor:  # (R, H) -> (R, V)
        y = self._normalized(states) @ self.weight.T + self.bias
        return (y if self.softcap is None else self.softcap * (y / self.softcap).tanh()) / self.temperature

    def magnitudes(self, states: Tensor) -> Tensor:  # (R, H) -> (R)
        """Sizes of the numbers that are added up for the largest logit."""
        numbers = self._unit_sizes(states)[:, None] * self.factors.abs() + self.shifts.abs()
        return (numbers @ self.weight.abs().T + self.bias.abs()).amax(1) / self.temperature

    def growth(self, states: Tensor) -> Tensor:  # (R, H) -> (R)
        """How many times as large as that of logits a gradient of hidden states may be, with its errors."""
        slope = self.weight.abs().amax() * self.factors.abs().amax() / self.temperature
        if self.norm is None:
            return slope.expand(len(states))
        units = self._unit_sizes(states)
        return slope * (2 + units) * (1 + units) / self._sizes(self._centered(states))[:, 0]

    def _normalized(self, states: Tensor) -> Tensor:
        if self.norm is None:
            return states
        centered = self._centered(states)
        return centered / self._sizes(centered) * self.factors + self.shifts

    def _unit_sizes(self, states: Tensor) -> Tensor:  # (R)
        largest = states.abs().amax(1)
        return largest if self.norm is None else largest / self._sizes(self._centered(states))[:, 0]

    def _centered(self, states: Tensor) -> Tensor:
        is_layer = self.norm is not None and self.norm[0] == v1.NormKind.NORM_KIND_LAYER
        return states - states.mean(1, keepdim=True) if is_layer else states

    def _sizes(self, centered: Tensor) -> Tensor:  # (R, 1)
        eps = 0.0 if self.norm is None else self.norm[1]
        return (centered.square().mean(1, keepdim=True) + eps).sqrt()


Heads = Mapping[str, Head]  # by the names that requests have for them


@dataclass(frozen=True)
class Logits:
    """The logits of a batch's rows, and how a gradient goes back to its input.

    Attributes:
        input: (R, H), or the logits themselves.
        values: (R, V).
        magnitudes: (R): sizes of the numbers that make the largest of a row.
        growth: (R): see `Head.growth`.
    """

    input: Tensor
    values: Tensor
    magnitudes: Tensor
    growth: Tensor

    @classmethod
    def of(cls, input: Tensor, head: Head | None) -> "Logits":
        if head is None:
            return cls(input, input, input.abs().amax(1), input.new_ones(len(input)))
        leaf = input.clone().requires_grad_()
        magnitudes = torch.where(input.abs().amax(1) > TAME, torch.inf, head.magnitudes(input))  # squares overflow
        return cls(leaf, head.logits(leaf), magnitudes, head.growth(input))

    def back(self, grads: Tensor) -> Tensor:  # (R, V) -> (R, H)
        """The gradient of the input from that of the logits."""
        if self.input is self.values:
            return grads
        return torch.autograd.grad(self.values, self.input, grads)[0]
