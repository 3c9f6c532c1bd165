"""Evaluates rows that are on a GPU, as ``ce_engine.cpu._evaluate`` does for rows on a CPU."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine.gpu._head_tiles import evaluate_tiles
from ce_engine.gpu._kernel_calls import launch
from ce_engine.gpu._operands import Operands, columns, shared_numbers
from ce_engine.gpu._packing import ALIGNMENT, Packing


@torch.no_grad()
def evaluate(
    kind: Kind,
    input: Tensor,
    target: Tensor | None,  # of the input's shape
    rows: Rows,  # on the host
    row_count: int,
) -> RowResults:
    """Launches on the device's current stream and does not wait.

    The kernels take rows one behind the other in memory. If the class dimension is not the last one, the input is
    copied to such rows, and results of its shape are copied back. A kernel that read the input in another order would
    give its sums other bits than those of the same rows in a plain batch.
    """
    _check_device(input)
    with _current(input.device):
        results = RowResults.allocate(kind, input.shape, row_count)
        if input.numel() and kind.heads:
            _evaluate_states(results, kind, input, target, rows)
        elif input.numel():
            numbers = _to_device(columns([rows], [row_count]) | shared_numbers(kind), input.device)
            x, t = _plain(kind, input), None if target is None else _plain(kind, target)
            _launch_into(results, kind, Operands.of(x, t, numbers))
    return results


def _evaluate_states(results: RowResults, kind: Kind, input: Tensor, target: Tensor | None, rows: Rows) -> None:
    row_count = results.losses.shape[0]
    rows = rows if kind.head is None else rows.over(kind.head.temperature)
    numbers = _to_device(columns([rows], [row_count]) | shared_numbers(kind), input.device)
    x, t = _plain(kind, input), None if target is None else _plain(kind, target)
    evaluate_tiles(kind, x, t, numbers, results.map(lambda column: column, lambda wide: kind.as_rows(wide)[0]))


def _check_device(input: Tensor) -> None:
    if input.device.type != "cuda" and not triton.knobs.runtime.interpret:
        raise InvalidArgumentError("input", f"expected one on a CUDA device, got one on {input.device}")


def _current(device: torch.device) -> AbstractContextManager[object]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _plain(kind: Kind, x: Tensor) -> Tensor:  # (R, C)
    rows = kind.as_rows(x)
    rows = rows.reshape(rows.shape[0] * rows.shape[1], rows.shape[2])
    rows = rows if rows.is_contiguous() else rows.contiguous()
    # The compiled code, and with it a row's bits, also depends on whether memory starts at a multiple of this.
    return rows if rows.data_ptr() % ALIGNMENT == 0 else rows.clone()


def _to_device(numbers: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Makes one copy from pinned memory, which PyTorch keeps until the copy is over."""
    if not numbers:
        return {}
    packing = Packing.of(numbers)
    buffer = torch.empty(packing.nbytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for name, view in packing.views(buffer).items():
        view.copy_(numbers[name])
    return packing.views(buffer.to(device, non_blocking=True))


def _launch_into(results: RowResults, kind: Kind, operands: Operands) -> None:
    copies: list[Callable[[], object]] = []

    def plain(x: Tensor) -> Tensor:
        rows = kind.as_rows(x)
        if rows.is_contiguous():
            return rows.view(-1, kind.class_count)
        memory = torch.empty(operands.x.shape, dtype=x.dtype, device=x.device)
        copies.append(lambda: rows.copy_(memory.view(rows.shape)))
        return memory

    launch(kind, operands, results.map(lambda numbers: numbers, plain))
    for copy in copies:
        copy()
