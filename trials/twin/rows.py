"""What a loss's own definition gives for each row."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_TOP = 32  # of the largest classes, which are compared
ROUNDINGS = 32  # of a row's size, in what is computed in: some dozens of numbers are added up for a row


@dataclass(frozen=True)
class Rows:
    """Numbers of R rows, in float64: (R), and wide ones (R, C).

    Attributes:
        losses: Unweighted but for the loss's own weights.
        loss_sizes: Sizes of the numbers that are added up for a loss.
        grads: Wide: of the rows' losses.
        grad_sizes: Sizes of the numbers that are added up for a gradient, but for `magnitudes`.
        counted: Rows that are not ignored: bool.
        divisors: The share of each in what ``mean`` divides by.
        unweighted: Sizes without the weights, which may overflow beside a weight of 0.
        own_weights: Sizes of the loss's weights, whose product with the rows' may underflow beside large sizes.
        outputs: By the names of results.
        hits: Whether the prediction is the target: bool.
        magnitudes: Sizes of the numbers that make the largest input of the loss.
        clear: Whether rounding cannot change the order of classes: bool.
    """

    losses: Tensor
    loss_sizes: Tensor
    grads: Tensor
    grad_sizes: Tensor
    counted: Tensor
    divisors: Tensor
    unweighted: Tensor
    own_weights: Tensor
    outputs: Mapping[str, Tensor]
    hits: Tensor
    magnitudes: Tensor
    clear: Tensor


def outputs_of(x: Tensor, log_p: Tensor) -> dict[str, Tensor]:  # (R, C)
    """The outputs that do not hang on targets, of logits and log-probabilities."""
    softmax, logs = x.softmax(1), x.log_softmax(1)
    order = x.argsort(dim=1, descending=True, stable=True)[:, :MOST_TOP].clone()
    return {
        "lse": x.logsumexp(1),
        "entropy": -(softmax * logs.nan_to_num(neginf=0.0)).sum(1),
        "probabilities": log_p.exp(),
        "log_probabilities": log_p,
        "predictions": first_of_largest(x),
        "top_log_probabilities": log_p.gather(1, order),
        "top_classes": order,
    }


def outputs_of_targets(x: Tensor, log_p: Tensor, answer: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """Those of the rows' targets, (R)."""
    own = x.gather(1, answer[:, None])
    earlier = torch.arange(x.shape[1]) < answer[:, None]
    ranks = 1 + ((x > own) | ((x == own) & earlier)).sum(1)
    return {
        "target_log_probabilities": torch.where(counted, log_p.gather(1, answer[:, None])[:, 0], 0.0),
        "target_ranks": torch.where(counted, ranks, 0),
    }


def first_of_largest(x: Tensor) -> Tensor:  # (R, C) -> (R)
    largest = (x == x.amax(1, keepdim=True)).to(torch.int8)
    return torch.from_numpy(largest.numpy().argmax(1))  # numpy's takes the first, as promised


def is_clear(x: Tensor, magnitudes: Tensor, dtype: torch.dtype) -> Tensor:  # (R, C), (R) -> (R)
    """Whether computed logits are so far apart that rounding cannot change their order."""
    if x.shape[1] < 2:
        return torch.ones(len(x), dtype=torch.bool)
    ordered = x.sort(1).values
    return ordered.diff(dim=1).amin(1) > 2 * ROUNDINGS * torch.finfo(dtype).eps * magnitudes
