"""Places of classes in the order of a row's input, by PyTorch's operators on the device, some rows at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ce_engine._kernel_rows import RowResults, present
from ce_engine._rows import ranks, top_classes
from ce_engine.gpu._operands import Operands

PART_NUMBERS = 2**24  # whose order takes 12 bytes each


def write_ranks(operands: Operands, out: RowResults) -> None:
    if out.target_ranks is None:
        return
    classes = _classes_in_range(operands)
    for part in _parts(operands.x):
        out.target_ranks[part] = ranks(operands.x[part], classes[part])
    _hide_ignored(out.target_ranks, operands)


def write_target_log_probabilities(operands: Operands, out: RowResults) -> None:
    """Of log-probabilities. Of logits the kernel writes them."""
    if out.target_log_probabilities is None:
        return
    classes = _classes_in_range(operands)[:, None]
    out.target_log_probabilities.copy_(operands.x.gather(1, classes)[:, 0])
    _hide_ignored(out.target_log_probabilities, operands)


def write_top(
    x: Tensor,  # (R, C)
    log_totals: Tensor | None,  # (R), of logits: the logarithm of the sum of exp(x - largest)
    out: RowResults,
) -> None:
    if out.top_classes is None:
        return
    top_log_probabilities, top_k = present(out.top_log_probabilities), out.top_classes.shape[1]
    for part in _parts(x):
        out.top_classes[part] = top_classes(x[part], top_k)
    numbers = top_log_probabilities.copy_(x.gather(1, out.top_classes))
    if log_totals is not None:
        torch.sub(numbers - numbers[:, :1], log_totals[:, None], out=top_log_probabilities)


def _classes_in_range(operands: Operands) -> Tensor:  # (R)
    """A class out of range would end the process's CUDA context."""
    return present(operands.rows.classes).clamp(0, operands.x.shape[1] - 1)


def _hide_ignored(numbers: Tensor, operands: Operands) -> None:
    if operands.rows.ignored is not None:
        numbers.masked_fill_(operands.rows.ignored, 0)


def _parts(x: Tensor) -> Iterator[slice]:
    rows, classes = x.shape
    step = max(1, PART_NUMBERS // classes)
    yield from (slice(start, start + step) for start in range(0, rows, step))
