"""Parts of arrays for some rows of a batch, to be sent or filled."""

from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.rows import RowLayout, SlabRows


class RowElements:
    """Gives out the elements of an array's rows as they travel, slab by slab.

    Attributes:
        row_bytes: Bytes of one row.
    """

    def __init__(self, array: npt.NDArray[Any], layout: RowLayout, wire_dtype: np.dtype[Any]) -> None:
        self._array = array
        self._layout = layout
        self._dtype = wire_dtype.newbyteorder("<")
        self._scratch = np.empty(0, self._dtype)
        self.row_bytes = array.size // layout.row_count * self._dtype.itemsize

    def elements(self, slab: SlabRows) -> memoryview:
        """The bytes of a slab, valid until the next call. They are a view of the array where possible."""
        part = part_of(self._array, self._layout, slab)
        if part.dtype != self._dtype or not part.flags.c_contiguous:
            part = self._converted(part)
        return part.reshape(-1).view(np.uint8).data

    def _converted(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._scratch.size < part.size:
            self._scratch = np.empty(part.size, self._dtype)
        converted = self._scratch[: part.size].reshape(part.shape)
        with np.errstate(over="ignore"):  # infinity is right if the wire dtype is too narrow
            np.copyto(converted, part, casting="unsafe")
        return converted


def part_of(
    array: npt.NDArray[Any], layout: RowLayout, slab: SlabRows, *, wide: bool | None = None
) -> npt.NDArray[Any]:
    """The part of an array that belongs to a slab.

    The part is a view where possible, for example if the array is contiguous, and otherwise a copy.

    Args:
        array: It has the input's shape, but for the number of classes; or the shape of rows, or that and then one
            dimension more.
        layout: How rows lie in the input.
        slab: The rows.
        wide: Whether the array's rows lie as those of the input; if None, they do if it has the input's shape.
    """
    wide = array.shape == layout.shape if wide is None else wide
    if not wide or layout.elementwise or layout.classes_last:
        return _consecutive(array, layout.row_count, slab)
    if array.ndim == 1:
        return array
    sample, position = divmod(slab.first_row, layout.positions)
    if slab.row_count >= layout.positions:
        return array[sample : sample + slab.row_count // layout.positions]
    return _some_positions(array[sample], position, position + slab.row_count)


def _consecutive(array: npt.NDArray[Any], row_count: int, slab: SlabRows) -> npt.NDArray[Any]:  # (rows, n), or (rows)
    """Rows of an array in whose order of elements each row is consecutive."""
    if array.size == row_count:
        numbers = array.reshape(-1) if array.flags.c_contiguous else array.flat
        return numbers[slab.first_row : slab.end_row]
    try:
        return np.reshape(array, (row_count, -1), copy=False)[slab.first_row : slab.end_row]
    except ValueError:  # no view can merge the leading dimensions
        rows: tuple[Any, ...] = np.unravel_index(np.arange(slab.first_row, slab.end_row), array.shape[:-1])
        return np.asarray(array[rows])


def _some_positions(sample: npt.NDArray[Any], start: int, end: int) -> npt.NDArray[Any]:  # (C, d1, ..., dk) -> (C, n)
    try:
        return np.reshape(sample, (len(sample), -1), copy=False)[:, start:end]
    except ValueError:  # no view can merge d1, ..., dk
        indices: tuple[Any, ...] = np.unravel_index(np.arange(start, end), sample.shape[1:])
        return sample[:, *indices]
