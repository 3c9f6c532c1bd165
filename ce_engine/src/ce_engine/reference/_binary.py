"""The losses of labels."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ce_engine._result import LossResult
from ce_engine.reference._tensors import flat, numbers
from ce_engine.reference._twin import Twin

LEAST_VARIANCE = float(torch.tensor(1e-12))  # in PyTorch a float32, whatever the dtype


def binary_cross_entropy(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    sample_weight: Tensor | None = None,  # as input
    divisor: float | None = None,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    weights = numbers(weight, *input.shape)
    twin = Twin(numbers(input).reshape(-1, 1))
    for i, (p, t, w) in enumerate(zip(twin.rows, flat(target), flat(weights), strict=True)):
        loss = -t * p.log().clamp(min=-100) - (1 - t) * (1 - p).log().clamp(min=-100)
        twin.add(i, w * loss, w * (p - t) / (p * (1 - p)).clamp(min=LEAST_VARIANCE), torch.ones(()))
    return twin.result(input, input.shape, reduction, sample_weight, divisor, grad_output)


def binary_cross_entropy_with_logits(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    pos_weight: Tensor | None = None,  # broadcasts to the input's shape
    sample_weight: Tensor | None = None,  # as input
    divisor: float | None = None,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    weights, pos_weights = numbers(weight, *input.shape), numbers(pos_weight, *input.shape)
    twin = Twin(numbers(input).reshape(-1, 1))
    for i, (x, t, w, q) in enumerate(zip(twin.rows, flat(target), flat(weights), flat(pos_weights), strict=True)):
        loss = -q * t * logsigmoid(x) - (1 - t) * logsigmoid(-x)
        twin.add(i, w * loss, w * ((1 - t) * x.sigmoid() - q * t * (-x).sigmoid()), torch.ones(()))
    return twin.result(input, input.shape, reduction, sample_weight, divisor, grad_output)
