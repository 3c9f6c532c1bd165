"""Counts rows by their losses, and adds up those whose losses are finite."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ce_engine._libraries import library
from ce_engine._reduction import Reduction
from ce_engine._result import Tally
from ce_engine._sums.row_order import row_order_sum

MOST_ROWS = 2**16  # of which each is counted: beyond that a sample puts a quantile's rank wrong by 0.2 % of all rows
SAMPLED_ROWS = 64  # that lie together: a few cache lines
GOLDEN = 0.6180339887498949  # multiples of it, without their whole parts, are spread evenly and follow no pattern


def tally(
    losses: Tensor,  # (R)
    reduction: Reduction,
    bounds: Sequence[float],
    loss_sum: float | None = None,
) -> Tally:
    """Counts the losses of a batch's rows.

    Of more than `MOST_ROWS` rows, so many are counted, in place of all; sums are always over all rows.

    Args:
        losses: Of the rows; 0 for ignored ones.
        reduction: Of the batch.
        bounds: Ascending. Each has the same value in all floating dtypes.
        loss_sum: Of the losses, if it is known: adding up millions takes a tenth of the time of computing them.
    """
    loss_sum, weight_sum, nonfinite = row_order_sum(losses) if loss_sum is None else loss_sum, reduction.weight_sum, 0
    if loss_sum - loss_sum != 0:  # NaN or infinite
        loss_sum, weight_sum, nonfinite = _finite(losses, reduction)
    rows = reduction.row_count - nonfinite
    counts = _counts(losses, rows, reduction.ignored_count, tuple(bounds))
    return Tally(counts, rows, nonfinite, loss_sum, weight_sum)


def tally_of_some(
    losses: Tensor,  # (G * R), of G requests
    ignored: Tensor | None,  # (G * R)
    reduction: Reduction,  # of all
    bounds: Sequence[float],
    count: int,  # G
    numbers: Sequence[int],
) -> Tally:
    """Counts the losses of some of the requests that were evaluated together."""

    def some(column: Tensor) -> Tensor:
        return column.view(count, column.numel() // count)[list(numbers)].view(-1)

    chosen, weight = some(losses), reduction.row_weight
    weighted = reduction._replace(row_weight=None if weight is None else some(weight))
    own = weighted.of_part(slice(0, chosen.shape[0]), None if ignored is None else some(ignored))
    return tally(chosen, own, bounds)


def _finite(
    losses: Tensor,  # (R)
    reduction: Reduction,
) -> tuple[float, float, int]:
    """The sums of the finite losses and of their weights; how many others there are. Takes little memory."""
    weights, loss_sum, weight_sum, others = reduction.row_weight, 0.0, 0.0, 0
    for number, part in enumerate(torch.split(losses, MOST_ROWS)):
        is_finite = part.isfinite()
        others += int((~is_finite).count_nonzero())
        loss_sum = row_order_sum(part[is_finite], loss_sum)
        if weights is not None:  # they are added, since nothing is left to subtract from if one of the others is NaN
            of_part = weights[number * MOST_ROWS : number * MOST_ROWS + len(part)]
            weight_sum = row_order_sum(of_part[is_finite.to(weights.device)], weight_sum)
    return loss_sum, reduction.weight_sum - others if weights is None else weight_sum, others


def _counts(losses: Tensor, rows: int, ignored: int, bounds: tuple[float, ...]) -> Tensor:
    """How many losses are at most each bound: of so many rows, besides ignored ones, whose losses are 0."""
    picked = losses if losses.shape[0] <= MOST_ROWS else _sample(losses)
    if rows + ignored < losses.shape[0]:
        picked = picked[picked.isfinite()]
    counts = _counted(picked, bounds)
    if picked.shape[0] != rows + ignored:
        counts = (counts.double() * ((rows + ignored) / max(1, picked.shape[0]))).round().long()
    if ignored:
        counts = torch.where(_bounds(bounds, torch.float64) < 0, counts, counts - ignored).clamp(0, rows)
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
