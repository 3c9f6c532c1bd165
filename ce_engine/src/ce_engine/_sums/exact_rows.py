"""Exact sums of the losses and weights of rows, and of their squares and products."""

import ctypes
import struct
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ce_engine._libraries import library
from ce_engine._memory import CPU
from ce_engine._sums.exact_operators import DIGITS, exact_sum
from ce_engine._sums.exact_sum import UNITS_IN_ONE, ExactSum, ExactSums
from ce_engine._sums.sketch import Sketch

UNITS_BYTES = 4 * DIGITS  # as in native/sums/exact_sums.h
COUNTS = struct.Struct("@ 3q")
SUM_BYTES = UNITS_BYTES + COUNTS.size
WEIGHTED_SUMS = 5

Five = tuple[ExactSum, ExactSum, ExactSum, ExactSum, ExactSum]  # in the order of `ExactSums`


class ExactRows:
    """Rows on the host whose losses and weights are added up, all or some of them.

    Args:
        losses: (R), 0 for ignored ones.
        weights: (R) float64, 0 for ignored ones; None for ones.
        changes: (R), of labels' log-probabilities, 0 for ignored ones; None if there are none.
        sketch: Whether there is a `Sketch` of the losses.
    """

    def __init__(
        self, losses: Tensor, weights: Tensor | None, changes: Tensor | None = None, *, sketch: bool = False
    ) -> None:
        self._losses = _on_host(losses)
        self._weights = None if weights is None else _on_host(weights)
        self._count = self._losses.shape[0]
        self._changes = None if changes is None else ExactRows(changes, None)
        self._has_sketch = sketch

    def __len__(self) -> int:
        return self._count

    def sums(self, first: int, count: int, ignored_count: int, correct_count: int | None) -> ExactSums:
        """Of so many rows from `first` on."""
        counted = count - ignored_count
        of_rows, more = self._adder(None)(first, count, counted), self._more(None, first, count, ignored_count)
        return ExactSums(*of_rows, counted, ignored_count, correct_count, **more)

    def sums_at(
        self,
        places: Tensor,  # int64
    ) -> Callable[[int, int, int | None], ExactSums]:
        """Adds up the rows at places: so many from the first one on, of which none is ignored and some are correct."""
        add = self._adder(places)
        if self._changes is None and not self._has_sketch:
            return lambda first, count, correct: ExactSums(*add(first, count, count), count, 0, correct)
        return lambda first, count, correct: ExactSums(
            *add(first, count, count), count, 0, correct, **self._more(places, first, count, 0)
        )

    def _more(self, places: Tensor | None, first: int, count: int, ignored_count: int) -> dict[str, Any]:
        """What only divergences have."""
        more: dict[str, Any] = {}
        if self._changes is not None:
            more["change"], _, more["change_squared"], *_ = self._changes._adder(places)(first, count, count)  # noqa: SLF001
        if self._has_sketch:
            at = slice(first, first + count) if places is None else places[first : first + count]
            more["sketch"] = Sketch.of(self._losses[at], ignored_count)
        return more

    def _adder(self, places: Tensor | None) -> Callable[[int, int, int], Five]:
        compiled = library()
        if compiled is None:
            return lambda first, count, counted: self._by_operators(places, first, count, counted)
        function = compiled.exact[self._losses.dtype]
        written = bytearray(WEIGHTED_SUMS * SUM_BYTES)
        to = (ctypes.c_char * len(written)).from_buffer(written)
        losses, size = self._losses.data_ptr(), self._losses.dtype.itemsize
        weights = 0 if self._weights is None else self._weights.data_ptr()

        def add(first: int, count: int, counted: int) -> Five:
            if places is not None:
                function(to, losses, weights, places.data_ptr() + 8 * first, count)
            else:
                function(to, losses + size * first, weights and weights + 8 * first, 0, count)
            return self._read(written, counted)

        return add

    def _read(self, written: bytearray, counted: int) -> Five:
        loss, loss_squared = _sum_at(written, 0), _sum_at(written, 1)
        if self._weights is None:
            weight = ExactSum(counted * UNITS_IN_ONE)
            return loss, weight, loss_squared, loss, weight
        return loss, _sum_at(written, 3), loss_squared, _sum_at(written, 2), _sum_at(written, 4)

    def _by_operators(self, places: Tensor | None, first: int, count: int, counted: int) -> Five:
        at = slice(first, first + count) if places is None else places[first : first + count]
        losses = self._losses[at]
        loss, loss_squared = exact_sum(losses), exact_sum(losses, losses)
        if self._weights is None:
            weight = ExactSum(counted * UNITS_IN_ONE)
            return loss, weight, loss_squared, loss, weight
        weights = self._weights[at]
        return loss, exact_sum(weights), loss_squared, exact_sum(losses, weights), exact_sum(weights, weights)


def _on_host(x: Tensor) -> Tensor:
    x = x if x.device == CPU else x.cpu()
    return x.contiguous().resolve_neg()


def _sum_at(written: bytearray, number: int) -> ExactSum:
    at = number * SUM_BYTES
    units = int.from_bytes(written[at : at + UNITS_BYTES], "little", signed=True)
    return ExactSum(units, *COUNTS.unpack_from(written, at + UNITS_BYTES))
