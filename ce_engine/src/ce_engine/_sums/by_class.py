"""Exact sums over the rows of each class."""

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._libraries import library
from ce_engine._sums.exact_rows import ExactRows
from ce_engine._sums.exact_sum import ExactSums

PART_ROWS = 2**20  # whose places by class take memory at a time


def sums_by_class(
    rows: ExactRows,
    classes: Tensor,  # (R), of an integer dtype or bool
    ignored: Tensor | None,  # (R) bool
    correct: Tensor | None,  # (R) bool
) -> dict[int, ExactSums]:
    """The sums over the rows of each class that rows have which count, by class."""
    found: dict[int, ExactSums] = {}
    for first in range(0, len(rows), PART_ROWS):
        part = slice(first, min(first + PART_ROWS, len(rows)))
        for key, sums in _of_part(rows, part, classes, ignored, correct).items():
            found[key] = found[key] + sums if key in found else sums
    return dict(sorted(found.items()))


def _of_part(
    rows: ExactRows, part: slice, classes: Tensor, ignored: Tensor | None, correct: Tensor | None
) -> dict[int, ExactSums]:
    bins = _bins(classes[part], None if ignored is None else ignored[part])
    places, counts = _grouped(bins, _bin_count(bins))
    ends = counts.cumsum(0)
    add = rows.sums_at(places.add_(part.start))
    found = counts[1:].nonzero()[:, 0] + 1
    columns = [(found - 1).tolist(), (ends - counts)[found].tolist(), counts[found].tolist()]
    columns.append(
        [None] * len(found) if correct is None else _counted(bins, correct[part], len(counts))[found].tolist()
    )
    return {c: add(first, count, right) for c, first, count, right in zip(*columns, strict=True)}


def _bins(classes: Tensor, ignored: Tensor | None) -> Tensor:
    """1 more than the class, 0 for ignored rows. It is a copy, since a caller may change classes meanwhile."""
    bins = classes.cpu().to(torch.int64, copy=True).add_(1)
    if ignored is not None:
        bins.masked_fill_(ignored.cpu(), 0)
    return bins


def _bin_count(bins: Tensor) -> int:
    least, most = (int(x) for x in bins.aminmax())
    if least < 0:
        raise InvalidArgumentError("classes", f"expected none below 0, got {least - 1}")
    return most + 1


def _grouped(bins: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The places of rows by bin, and how many each bin has."""
    compiled = library()
    if compiled is None:
        return bins.argsort(), torch.bincount(bins, minlength=count)
    places, ends = torch.empty_like(bins), torch.zeros(count, dtype=torch.int64, device="cpu")
    compiled.group(places.data_ptr(), ends.data_ptr(), bins.data_ptr(), bins.shape[0], count)
    return places, ends.diff(prepend=ends.new_zeros(1))


def _counted(bins: Tensor, correct: Tensor, count: int) -> Tensor:
    """How many rows of each bin are correct."""
    return torch.bincount(bins[correct.cpu()], minlength=count)
