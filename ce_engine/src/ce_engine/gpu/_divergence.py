"""Divergences on a device, by PyTorch's operators on parts of the rows."""

from operator import itemgetter

import torch

from ce_engine._divergences.named import most_probable_named
from ce_engine._divergences.operators import deliver, evaluated
from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine.gpu._operands import Operands

PART_NUMBERS = 2**24  # of each tensor: enough to fill a device
OF_SOFTMAX = ("lse", "entropy", "probabilities", "log_probabilities")
ONLY_ON_CPU = ("target_log_probabilities", "target_ranks", "top_classes")


def check_divergence(kind: Kind, out: RowResults) -> None:
    """Refuses what is only evaluated on a CPU.

    Raises:
        InvalidArgumentError: Hidden states, or an output, are asked of a GPU.
    """
    if kind.heads:
        raise InvalidArgumentError(
            "head", "expected none on a GPU, where divergences of hidden states are not evaluated"
        )
    found = [name for name in ONLY_ON_CPU if getattr(out, name) is not None]
    if found:
        name = "top_k" if found[0] == "top_classes" else "outputs"
        raise InvalidArgumentError(name, f"expected no {found[0]!r} of divergences on a GPU")


def write_divergences(kind: Kind, operands: Operands, out: RowResults) -> None:
    """Writes losses, gradients and changes, and which predictions are the target's."""
    form, step = present(kind.divergence), max(1, PART_NUMBERS // kind.class_count)
    for start in range(0, operands.x.shape[0], step):
        at = slice(start, start + step)
        x, y = (tensor[at].to(kind.compute_dtype) for tensor in (operands.x, present(operands.target)))
        rows, part = _part(operands.rows, at), out.map(itemgetter(at), itemgetter(at))
        if part.correct is not None and part.predictions is not None:
            named = rows.named_classes
            likeliest = y.argmax(1) if named is None else most_probable_named(y, named)
            torch.eq(part.predictions, likeliest, out=part.correct)
            if rows.ignored is not None:
                part.correct.logical_and_(~rows.ignored)
        deliver(evaluated(form, x, y, rows, grad=part.grad is not None), rows, part)


def _part(rows: Rows, at: slice) -> Rows:
    """A scale may be one for all rows."""
    part = rows.part(at)
    return part if rows.scale is None or rows.scale.numel() > 1 else part._replace(scale=rows.scale)
