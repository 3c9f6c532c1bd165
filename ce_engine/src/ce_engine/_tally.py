"""Counts rows by their losses, and adds up those whose losses are finite."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ce_engine._libraries import library
from ce_engine._reduction import Reduction
from ce_engine._result import Tally
from ce_engine._row_sums import row_order_sum

MOST_ROWS = 2**16  # of which each is counted: beyond that a sample puts a quantile's rank wrong by 0.2 % of all rows
SAMPLED_ROWS = 64  # that lie together: a few cache lines
GOLDEN = 0.6180339887498949  # multiples of it, without their whole parts, are spread evenly and follow no pattern


def tally(
    losses: Tensor,  # (R)
    reduction: Reduction,
    bounds: Sequence[float],
) -> Tally:
    """Counts the losses of a batch's rows.

    Of more than `MOST_ROWS` rows, so many are counted, in place of all; sums are always over all rows.

    Args:
        losses: Of the rows; 0 for ignored ones.
        reduction: Of the batch.
        bounds: Ascending. Each has the same value in all floating dtypes.
    """
    loss_sum = row_order_sum(losses)
    rows, weight_sum, nonfinite = reduction.row_count, reduction.weight_sum, 0
    if loss_sum - loss_sum != 0:  # NaN or infinite
        finite = losses.isfinite()
        nonfinite = int(finite.numel() - finite.count_nonzero())
        weights = reduction.row_weight
        weight_sum -= nonfinite if weights is None else row_order_sum(weights[~finite.to(weights.device)])
        losses, rows = losses[finite], rows - nonfinite
        loss_sum = row_order_sum(losses)
    return Tally(_counts(losses, reduction.ignored_count, tuple(bounds)), rows, nonfinite, loss_sum, weight_sum)


def _counts(losses: Tensor, ignored: int, bounds: tuple[float, ...]) -> Tensor:
    """How many losses are at most each bound, without so many that are 0."""
    rows = losses.shape[0]
    counts = _counted(_sample(losses) if rows > MOST_ROWS else losses, bounds)
    if rows > MOST_ROWS:
        counts = (counts.double() * (rows / MOST_ROWS)).round().long()
    if ignored:
        counts = torch.where(_bounds(bounds, torch.float64) < 0, counts, counts - ignored).clamp(0, rows - ignored)
        counts = counts.cummax(0).values  # a sample may have fewer ignored rows than its part
    return counts


def _sample(losses: Tensor) -> Tensor:
    """`MOST_ROWS` of the losses, always the same ones of so many."""
    blocks = torch.arange(MOST_ROWS // SAMPLED_ROWS, dtype=torch.float64, device=losses.device)
    starts = ((blocks * GOLDEN) % 1 * (losses.shape[0] - SAMPLED_ROWS + 1)).long()
    return losses.unfold(0, SAMPLED_ROWS, 1)[starts].reshape(-1)


def _counted(losses: Tensor, bounds: tuple[float, ...]) -> Tensor:
    compiled, at = library(), _bounds(bounds, losses.dtype)
    counts = torch.zeros(len(bounds), dtype=torch.int64, device="cpu")
    if compiled is not None and losses.is_cpu:
        losses = losses.contiguous()
        compiled.tally[losses.dtype](counts.data_ptr(), losses.data_ptr(), losses.shape[0], at.data_ptr(), at.shape[0])
        return counts
    places = torch.bucketize(losses.cpu(), at)
    return torch.bincount(places, minlength=len(bounds) + 1)[:-1].cumsum(0)


@cache
def _bounds(bounds: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    return torch.tensor(bounds, dtype=dtype, device="cpu")
