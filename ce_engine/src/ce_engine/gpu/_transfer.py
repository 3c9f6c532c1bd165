"""Rows on their way to the device and their results on the way back, in one buffer of bytes each way."""

from collections.abc import Iterator, Sequence

import torch
from torch import Size, Tensor

from ce_engine._kernel_rows import Kind, RowResults
from ce_engine._slab import Slab
from ce_engine.gpu._kernel_calls import launch
from ce_engine.gpu._operands import Operands, columns, shared_numbers
from ce_engine.gpu._packing import Packing
from ce_engine.gpu._parts import META, Part, whole

RESULTS = RowResults._fields


class Transfer:
    """Of the rows of one call of the kernels. It copies each number once each way.

    Attributes:
        row_count: Of all parts.
        inputs: How what the kernels read lies in its buffer.
        outputs: How what they write lies in its buffer: the results that are wanted, and nothing else.
    """

    def __init__(self, kind: Kind, parts: Sequence[Part]) -> None:
        self._kind, self._parts = kind, parts
        counts = [part.row_count for part in parts]
        self.row_count = sum(counts)
        shape = Size((self.row_count, kind.class_count))
        self._numbers = columns([part.rows for part in parts], counts) | shared_numbers(kind)
        like = {"x": torch.empty(shape, dtype=kind.dtype, device=META)}
        if kind.target_dtype is not None:
            of_target = (self.row_count, kind.target_width)
            like["target"] = torch.empty(of_target, dtype=kind.target_dtype, device=META)
        self.inputs = Packing.of(like | self._numbers)
        results = _unwritten(kind, shape)
        self.outputs = Packing.of({name: x for name in RESULTS if (x := getattr(results, name)) is not None})

    @classmethod
    def of_slab(cls, slab: Slab) -> "Transfer":
        """Of a whole slab, whose results are left where the kernels write them."""
        return cls(slab.kind, [whole(slab, _unwritten(slab.kind, slab.input.shape, slab.row_count))])

    def fill(self, inputs: Tensor) -> None:
        """Writes the bytes that are copied to the device."""
        views = self.inputs.views(inputs)
        for name, numbers in self._numbers.items():
            views[name].copy_(numbers)
        for part, rows in self._located():
            views["x"][rows].view(part.x.shape).copy_(part.x)
            if part.target is not None:
                views["target"][rows].view(part.target.shape).copy_(part.target)

    def launch(self, inputs: Tensor, outputs: Tensor) -> None:
        """Reads and writes bytes of the device."""
        operands = self.inputs.views(inputs)
        launch(self._kind, Operands.of(operands["x"], operands.get("target"), operands), self._results(outputs))

    def deliver(self, outputs: Tensor) -> None:
        """Copies the results of each part out of the bytes that came from the device to where they go."""
        together = self._results(outputs)
        for part, rows in self._located():
            for own, source in zip(part.results, together, strict=True):
                if own is not None and source is not None:
                    own.copy_(source[rows].view(own.shape))

    def _located(self) -> Iterator[tuple[Part, slice]]:
        start = 0
        for part in self._parts:
            yield part, slice(start, start + part.row_count)
            start += part.row_count

    def _results(self, outputs: Tensor) -> RowResults:
        views = self.outputs.views(outputs)
        return RowResults(views["losses"], *(views.get(name) for name in RESULTS if name != "losses"))


def _unwritten(kind: Kind, shape: Size, row_count: int | None = None) -> RowResults:
    """Shapes and dtypes of results."""
    return RowResults.allocate(kind._replace(device=META), shape, shape[0] if row_count is None else row_count)
