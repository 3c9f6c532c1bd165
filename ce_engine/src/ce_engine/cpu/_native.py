"""Evaluates rows by compiled code, where they lie."""

from collections.abc import Callable

from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._libraries import Library
from ce_engine._memory import scratch
from ce_engine._rows import blocks
from ce_engine.cpu._dense import deliver, working_memory
from ce_engine.cpu._divergences.native import divergence_launch, write_softmax
from ce_engine.cpu._divergences.operators import wants_softmax
from ce_engine.cpu._launch import Launch
from ce_engine.cpu._native_binary import binary_launch
from ce_engine.cpu._native_softmax import softmax_launch

Run = Callable[[Launch], None]  # has a launch evaluated
LaunchOf = Callable[[Library, Kind, Tensor, Tensor | None, Rows, RowResults], Launch]

LAUNCHES: dict[str, LaunchOf] = {
    "cross_entropy": softmax_launch,
    "nll_loss": softmax_launch,
    "kl_divergence": divergence_launch,
    "binary_cross_entropy": binary_launch,
    "binary_cross_entropy_with_logits": binary_launch,
}

WIDE = ("grad", "probabilities", "log_probabilities")  # results of the input's shape


def evaluate_natively(
    library: Library,
    kind: Kind,
    x: Tensor,  # (positions, C), for one sample, or (samples, positions, C)
    target: Tensor | None,  # likewise
    rows: Rows,
    out: RowResults,
    run: Run,
) -> None:
    launch_of = LAUNCHES[kind.loss]
    x = x.resolve_neg() if x.is_neg() else x  # it takes longer than some rows, even where nothing is to be done
    target = target if target is None else target.resolve_neg()
    known = (None, kind.dtype, kind.compute_dtype)
    is_one_launch = kind.divergence is None or not wants_softmax(out)
    if is_one_launch and kind.target_dtype in known and kind.grad_dtype in known:
        run(launch_of(library, kind, x, target, rows, out))
    else:
        _evaluate_converted(library, kind, x, target, rows, out)
    if kind.outputs and kind.loss == "nll_loss":
        _write_probabilities(x, out)


def _evaluate_converted(
    library: Library, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults
) -> None:
    """Block by block: converts a target or a gradient whose dtype the compiled code does not know.

    So that a block is in the cache, its divergences and what else is asked of it are computed one after the other.
    """
    x, target = _with_samples(x), None if target is None else _with_samples(target)
    out = out.map(lambda numbers: numbers, _with_samples)
    for block in blocks(x, kind.compute_dtype.itemsize):
        at = block.samples, block.positions
        part = None if target is None else _known(target[at], kind)
        _evaluate_block(library, kind, x[at], part, rows.part(block.rows), out.part(block))


def _evaluate_block(
    library: Library, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults
) -> None:
    if kind.divergence is not None and wants_softmax(out):
        write_softmax(library, kind, x, rows, out)
    if out.grad is None or out.grad.dtype in (kind.dtype, kind.compute_dtype):
        LAUNCHES[kind.loss](library, kind, x, target, rows, out).take()
        return
    # All of the input's shape, since the compiled code takes one layout for all of them.
    wide = {name: result for name in WIDE if (result := getattr(out, name)) is not None}
    memories = {name: working_memory(result, x, kind.compute_dtype, name) for name, result in wide.items()}
    LAUNCHES[kind.loss](library, kind, x, target, rows, out._replace(**memories)).take()
    deliver(tuple(memories.values()), tuple(wide.values()))


def _known(target: Tensor, kind: Kind) -> Tensor:
    """A target whose dtype the compiled code knows."""
    if target.dtype in (kind.dtype, kind.compute_dtype):
        return target
    return scratch.like(target, kind.compute_dtype, "target").copy_(target)


def _with_samples(x: Tensor) -> Tensor:
    return x.unsqueeze(0) if x.dim() == 2 else x


def _write_probabilities(x: Tensor, out: RowResults) -> None:
    """Of log-probabilities."""
    if out.probabilities is not None:
        out.probabilities.copy_(x).exp_()
    if out.log_probabilities is not None:
        out.log_probabilities.copy_(x)
