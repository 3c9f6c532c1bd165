"""What the compiled kernels of all losses have in common."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ce_engine._memory import scratch
from ce_engine._rows import Block, blocks
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine.cpu._dense import deliver, working_memory
from ce_engine.cpu._launch import Launch
from ce_engine.cpu._libraries import DTYPES, Library


class NativeKernel(ABC):
    """Evaluates rows by compiled code, where they lie.

    A target or a gradient of a dtype that the compiled code does not know is converted block by block.
    """

    def __init__(self, library: Library, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:
        self.library, self.kind, self.rows = library, kind, rows
        self._x, self._target = x.resolve_neg(), None if target is None else target.resolve_neg()
        self._known = (kind.dtype, kind.compute_dtype, None)  # dtypes of targets and gradients

    def __call__(self, out: RowResults) -> None:
        if self.kind.target_dtype in self._known and self.kind.grad_dtype in self._known:
            self.evaluate(self._x, self._target, self.rows, out)
            return
        for block in blocks(self._x, self.kind.compute_dtype.itemsize):
            self._convert(block, out.part(block))

    def _convert(self, block: Block, out: RowResults) -> None:
        x = self._x[block.samples, block.positions]
        target = None if self._target is None else self._target[block.samples, block.positions]
        if target is not None and target.dtype not in self._known:
            target = scratch.like(target, self.kind.compute_dtype, "target").copy_(target)
        grad = out.grad
        if grad is not None and grad.dtype not in self._known:
            grad = working_memory(grad, x, self.kind.compute_dtype, "grad")
        self.evaluate(x, target, self.rows.part(block.rows), out._replace(grad=grad))
        if grad is not None:
            deliver((grad,), (out.grad,))

    def evaluate(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> None:
        self.launch(x, target, rows, out).take(threads=torch.get_num_threads())

    @abstractmethod
    def launch(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        """The launch of rows whose targets and gradients have dtypes that the compiled code knows."""

    @property
    def dtype_number(self) -> int:
        return DTYPES.index(self.kind.dtype)


def contiguous(column: Tensor | None) -> Tensor | None:
    return None if column is None else column.contiguous()
