"""Memory and sums for blocks of tensors of the input's shape, for all losses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ce_engine._memory import scratch


def working_memory(
    out: Tensor | None,  # where the result belongs, if it is wanted
    like: Tensor,
    dtype: torch.dtype,
    name: str,
) -> Tensor:  # contiguous, of the dtype that is computed in
    """The result's own memory if it can be computed there; else scratch memory, which `deliver` copies from."""
    if out is not None and out.dtype == dtype and out.is_contiguous():
        return out
    return scratch.like(like, dtype, name)


def deliver(memories: Sequence[Tensor], outs: Sequence[Tensor | None]) -> None:
    """Copies results that were computed elsewhere to where they belong."""
    for memory, out in zip(memories, outs, strict=True):
        if out is not None and out is not memory:
            out.copy_(memory)


def widened(x: Tensor, memory: Tensor) -> Tensor:
    """The input itself, if it is contiguous and of the dtype that is computed in, or a copy that is."""
    if x.dtype == memory.dtype and x.is_contiguous():
        return x
    return memory.copy_(x)


def row_sums(
    x: Tensor,  # (rows, C)
) -> Tensor:  # (rows)
    # torch splits the sum of a single row over threads, which rounds differently; with a second row it does not.
    return x.sum(1) if len(x) > 1 else x.expand(2, -1).sum(1)[:1]


def log_sum_exp(
    largest: Tensor,  # of a row's input
    log_p_largest: Tensor,  # its log-probability
) -> Tensor:
    """As exact as the softmax that it comes from. ``torch.logsumexp`` would split few rows over threads."""
    return torch.where(largest.isinf(), largest, largest - log_p_largest)


def self_information(
    log_p: Tensor,  # (rows, C), contiguous
) -> Tensor:  # -log p in scratch memory, (rows, C)
    """At most the largest finite number, since infinity would make NaN of 0 log 0, which is 0."""
    memory = scratch.like(log_p, log_p.dtype, "self_information")
    return torch.neg(log_p, out=memory).clamp_(max=torch.finfo(log_p.dtype).max)


def expectation(
    numbers: Tensor,  # (rows, C), overwritten
    p: Tensor,  # (rows, C)
) -> Tensor:  # (rows)
    return row_sums(numbers.mul_(p))
