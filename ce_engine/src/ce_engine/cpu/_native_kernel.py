"""What the compiled kernels of all losses have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from ce_engine._libraries import Library
from ce_engine._memory import scratch
from ce_engine._rows import Block, blocks
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine.cpu._dense import deliver, working_memory
from ce_engine.cpu._launch import Launch, run_alone

Run = Callable[[Launch], None]  # has a launch evaluated


class NativeKernel(ABC):
    """Evaluates rows by compiled code, where they lie.

    Tensors of the input's shape are (positions, C), for one sample, or (samples, positions, C). A target or a gradient
    of a dtype that the compiled code does not know is converted block by block.
    """

    def __init__(
        self, library: Library, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, run: Run = run_alone
    ) -> None:
        self.library, self.kind = library, kind
        self._run = run
        self._x = x.resolve_neg() if x.is_neg() else x
        self._target = target.resolve_neg() if target is not None and target.is_neg() else target
        self._rows = rows

    def __call__(self, out: RowResults) -> None:
        launch = self.launch(out)
        if launch is None:
            self._convert(out)
        else:
            self._run(launch)
        self.finish(self._x, out)

    def launch(self, out: RowResults) -> Launch | None:
        """The launch that evaluates all rows; None if a tensor must be converted."""
        kind = self.kind
        if self._knows(kind.target_dtype) and self._knows(kind.grad_dtype):
            return self.launch_of(self._x, self._target, self._rows, out)
        return None

    def _knows(self, dtype: torch.dtype | None) -> bool:
        return dtype is None or dtype is self.kind.dtype or dtype is self.kind.compute_dtype

    def _convert(self, out: RowResults) -> None:
        x, target = _with_samples(self._x), None if self._target is None else _with_samples(self._target)
        out = out.map(lambda numbers: numbers, _with_samples)
        for block in blocks(x, self.kind.compute_dtype.itemsize):
            at = block.samples, block.positions
            self._convert_block(x[at], None if target is None else target[at], block, out.part(block))

    def _convert_block(self, x: Tensor, target: Tensor | None, block: Block, out: RowResults) -> None:
        dtype, grad = self.kind.compute_dtype, out.grad
        if target is not None and not self._knows(target.dtype):
            target = scratch.like(target, dtype, "target").copy_(target)
        if grad is not None and not self._knows(grad.dtype):
            grad = working_memory(grad, x, dtype, "grad")
        launch = self.launch_of(x, target, self._rows.part(block.rows), out._replace(grad=grad))
        launch.take()
        if grad is not None:
            deliver((grad,), (out.grad,))

    @abstractmethod
    def launch_of(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        """The launch of rows whose targets and gradients have dtypes that the compiled code knows."""

    def finish(self, x: Tensor, out: RowResults) -> None:  # noqa: B027 - most have nothing left to write
        """Writes the results that the compiled code does not."""


def _with_samples(x: Tensor) -> Tensor:
    return x.unsqueeze(0) if x.dim() == 2 else x
