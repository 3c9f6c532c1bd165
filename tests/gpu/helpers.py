"""Evaluates slabs by the kernels, and by the CPU path in float64, for all losses and options."""

import torch
from torch import Tensor

from ce_engine import cpu, gpu
from ce_engine._kernel_rows import Kind, RowResults, Rows, Shared
from ce_engine._slab import Slab

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
OUTPUTS = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
BINARY_OUTPUTS = OUTPUTS[1:]
OF_TARGETS = ("target_log_probabilities", "target_ranks")


def by_kernels(slab: Slab) -> RowResults:
    """A slab's results by the kernels: on the GPU if there is one, else in the interpreter."""
    kind = slab.kind._replace(device=DEVICE)
    target = None if slab.target is None else slab.target.to(DEVICE)
    results = gpu.evaluate(kind, slab.input.to(DEVICE), target, slab.rows, slab.row_count)
    return results.map(lambda x: x.cpu(), lambda x: x.cpu())


def in_float64(slab: Slab) -> RowResults:
    """A slab's results by the CPU path in float64, from the same numbers."""
    kind = slab.kind._replace(
        dtype=torch.float64,
        target_dtype=None if slab.target is None else torch.float64,
        grad_dtype=None if slab.kind.grad_dtype is None else torch.float64,
        class_weight=_wide_weight(slab.kind),
    )
    target = None if slab.target is None else slab.target.double()
    return cpu.evaluate(kind, slab.input.double(), target, _wide(slab.rows), slab.row_count)


def _wide_weight(kind: Kind) -> Shared | None:
    if kind.class_weight is None:
        return None
    return Shared(kind.class_weight.tensor.to(kind.compute_dtype).double())


def _wide(rows: Rows) -> Rows:
    return Rows(*(x.double() if x is not None and x.dtype.is_floating_point else x for x in rows))


def assert_right(slab: Slab) -> RowResults:
    """Each result is within a few roundings of the truth, and there are no results that the slab did not ask for."""
    ours, truth = by_kernels(slab), in_float64(slab)
    for name, a, b in zip(RowResults._fields, ours, truth, strict=True):
        assert_close(name, a, b, slab)
    return ours


def assert_close(name: str, ours: Tensor | None, truth: Tensor | None, slab: Slab) -> None:
    if truth is None or ours is None:
        assert ours is truth is None, name
        return
    if not truth.dtype.is_floating_point:
        assert torch.equal(ours, truth), name
        return
    compute_dtype = slab.kind.compute_dtype
    assert ours.dtype == (slab.kind.grad_dtype if name == "grad" else compute_dtype)
    # A gradient is a difference of numbers of the size of its row's factors. All other results are compared with 1.
    size = _largest(truth, *((slab.rows.scale,) if name == "grad" else (torch.ones(1),)))
    # A computed number may be off by a few roundings of numbers of that size, and a stored number by one rounding more.
    stored = torch.finfo(ours.dtype)
    torch.testing.assert_close(
        ours,
        truth.to(ours.dtype),
        atol=16 * torch.finfo(compute_dtype).eps * size + stored.smallest_normal * stored.eps,
        rtol=stored.eps,
        equal_nan=True,
        msg=lambda message: f"{name}: {message}",
    )


def _largest(*tensors: Tensor | None) -> float:
    finite = torch.cat([x[x.isfinite()].double().flatten() for x in tensors if x is not None])
    return float(finite.abs().max()) if finite.numel() else 0.0


def row(results: RowResults, number: int) -> RowResults:
    return results.map(lambda x: x[number : number + 1], lambda x: x[number : number + 1])


def assert_same_bits(ours: RowResults, theirs: RowResults) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
