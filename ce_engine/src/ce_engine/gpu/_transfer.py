"""The slabs of one launch on their way to the device and back, in one buffer of bytes each way."""

from collections.abc import Iterator, Sequence

import torch
from torch import Size, Tensor

from ce_engine._slab import RowResults, Slab
from ce_engine.gpu._kernel_calls import launch
from ce_engine.gpu._operands import Operands, columns, shared_numbers
from ce_engine.gpu._packing import Packing

META = torch.device("meta")
RESULTS = RowResults._fields


class Transfer:
    def __init__(self, slabs: Sequence[Slab]) -> None:
        self._slabs, self._kind = slabs, slabs[0].kind
        counts = [slab.row_count for slab in slabs]
        shape = Size((sum(counts), self._kind.class_count))
        self._numbers = columns([slab.rows for slab in slabs], counts) | shared_numbers(self._kind)
        like = {"x": torch.empty(shape, dtype=self._kind.dtype, device=META)}
        if self._kind.target_dtype is not None:
            like["target"] = torch.empty(shape, dtype=self._kind.target_dtype, device=META)
        self.inputs = Packing.of(like | self._numbers)
        results = RowResults.allocate(self._kind._replace(device=META), shape, shape[0])
        self.outputs = Packing.of({name: x for name in RESULTS if (x := getattr(results, name)) is not None})
        self.has_elements = shape.numel() > 0

    def fill(self, inputs: Tensor) -> None:
        """Writes the bytes that are copied to the device. Each slab is written once."""
        views = self.inputs.views(inputs)
        for name, numbers in self._numbers.items():
            views[name].copy_(numbers)
        for slab, rows in self._parts():
            self._fill_rows(views["x"][rows], slab.input)
            if slab.target is not None:
                self._fill_rows(views["target"][rows], slab.target)

    def launch(self, inputs: Tensor, outputs: Tensor) -> None:
        """Reads and writes bytes of the device."""
        operands = self.inputs.views(inputs)
        launch(self._kind, Operands.of(operands["x"], operands.get("target"), operands), self._results(outputs))

    def results(self, outputs: Tensor) -> list[RowResults]:
        """Copies the results of each slab out of the bytes that came from the device."""
        together, results = self._results(outputs), self.empty_results()
        for (_, rows), own in zip(self._parts(), results, strict=True):
            views = own.map(lambda x: x, self._kind.as_rows)
            for name in RESULTS:
                view, source = getattr(views, name), getattr(together, name)
                if view is not None:
                    view.copy_(source[rows].view(view.shape))
        return results

    def empty_results(self) -> list[RowResults]:
        """Memory for the results of each slab. For slabs without elements, it already has the results."""
        return [RowResults.allocate(self._kind, slab.input.shape, slab.row_count) for slab in self._slabs]

    def _parts(self) -> Iterator[tuple[Slab, slice]]:
        start = 0
        for slab in self._slabs:
            yield slab, slice(start, start + slab.row_count)
            start += slab.row_count

    def _fill_rows(self, into: Tensor, x: Tensor) -> None:  # (R, C); of a slab's shape
        rows = self._kind.as_rows(x)
        into.view(rows.shape).copy_(rows)

    def _results(self, outputs: Tensor) -> RowResults:
        views = self.outputs.views(outputs)
        return RowResults(views["losses"], *(views.get(name) for name in RESULTS if name != "losses"))
