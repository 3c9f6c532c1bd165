"""Targets that are class indices: which rows they leave out, and the weights of their classes."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._libraries import library
from ce_engine._plans.validation import check_classes
from ce_engine._sums.row_order import row_order_sum


class IndexTarget(NamedTuple):
    """Checked class indices.

    Attributes:
        classes: (R) int64, 0 for ignored rows.
        ignored: (R) bool; None if no row is.
        ignored_count: How many rows are ignored.
        class_count: C.
    """

    classes: Tensor
    ignored: Tensor | None
    ignored_count: int
    class_count: int

    @classmethod
    def of(cls, target: Tensor, class_count: int, ignore_index: int, name: str = "target") -> "IndexTarget":
        classes = int64_rows(target.cpu(), name)
        if not 0 <= ignore_index < class_count and _all_classes(classes, class_count):
            return cls(classes, None, 0, class_count)
        check_classes(classes, class_count, ignore_index, name)
        ignored = classes == ignore_index
        ignored_count = int(ignored.count_nonzero())
        if not ignored_count:
            return cls(classes, None, 0, class_count)
        is_own = classes.data_ptr() != target.data_ptr()  # a copy of the caller's
        classes = classes.masked_fill_(ignored, 0) if is_own else classes.masked_fill(ignored, 0)
        return cls(classes, ignored, ignored_count, class_count)

    @property
    def row_count(self) -> int:
        return self.classes.shape[0] - self.ignored_count

    def class_weight(self, weight: Tensor | str | None) -> Tensor | None:  # (C)
        """The weights of classes as given, or computed from these targets."""
        if weight is None or isinstance(weight, Tensor):
            return None if weight is None else weight.detach().cpu()
        return weights_from_counts(self.counts(), weight) if self.row_count else None

    def counts(self) -> Tensor:  # (C) int64
        """How many rows that count have each class."""
        counted = self.classes if self.ignored is None else self.classes[~self.ignored]
        return counted.bincount(minlength=self.class_count)

    def row_weight(
        self, weight: Tensor | None
    ) -> tuple[Tensor | None, float]:  # (R) float64; their sum over rows that count
        if weight is None or not self.row_count:  # there may be no class to look up
            return None, float(self.row_count)
        row_weight = weight.to(torch.float64)[self.classes]
        if self.ignored is not None:
            row_weight.masked_fill_(self.ignored, 0)
        return row_weight, row_order_sum(row_weight)


def weights_from_counts(
    counts: Tensor,  # (C)
    weighting: str,
) -> Tensor:  # (C) float64
    """A weight for each class that occurs so many times.

    ``balanced`` is N / (C n_c) as in scikit-learn's ``compute_class_weight``, and 0 for classes that do not occur;
    ``complement`` is 1 - n_c / N, with two classes [share of positives, share of negatives].
    """
    counts = counts.to(torch.float64)
    total = counts.sum()
    if weighting == "complement":
        return 1 - counts / total.clamp(min=1)
    return torch.where(counts > 0, total / (len(counts) * counts), 0.0)


def classes_of(target: Tensor, class_count: int) -> Tensor | None:  # (R) int64
    """Class indices as they are kept; None if some are out of range."""
    is_ready = target.dtype is torch.int64 and target.dim() == 1 and target.is_contiguous()
    classes = target if is_ready else int64_rows(target)
    return classes if _all_classes(classes, class_count) else None


def _all_classes(classes: Tensor, class_count: int) -> bool:
    compiled = library()
    if compiled is not None:
        return bool(compiled.are_classes(classes.data_ptr(), classes.shape[0], class_count))
    if not classes.shape[0]:
        return True
    least, most = classes.aminmax()
    return int(least) >= 0 and int(most) < class_count


def int64_rows(target: Tensor, name: str = "target") -> Tensor:  # (R)
    """Class indices of any integer dtype in int64, one after the other."""
    if target.dtype is torch.int64 and target.dim() == 1:
        return target.contiguous()
    classes = target.reshape(-1).to(torch.int64).contiguous()
    if target.dtype is torch.uint64 and (classes < 0).any():
        wrapped = int(classes[classes < 0][0]) + 2**64
        raise InvalidArgumentError(name, f"expected classes that fit int64, got {wrapped}")
    return classes
