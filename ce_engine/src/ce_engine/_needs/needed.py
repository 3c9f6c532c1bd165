"""The memory that an evaluation needs, put together."""

from typing import Any, NamedTuple

import torch

from ce_engine._heads.logits import tile_rows
from ce_engine._libraries import library
from ce_engine._needs.exact import exact_result_bytes, exact_work_bytes
from ce_engine._needs.form import Form, TensorForm
from ce_engine._needs.planning import Planning
from ce_engine._needs.results import result_bytes
from ce_engine._needs.work import work_bytes

MERGED_BYTES = 2**18  # of the inputs of small slabs that are launched together, unless the engine has another limit
WITHOUT_MEMORY = {"ignore_index", "empty", "divisor", "checked", "divergence", "beta", "temperature", "tail"}


class MemoryNeeded(NamedTuple):
    """Bytes of this process that one evaluation takes at most, beside its arguments.

    Attributes:
        planning: While it is planned.
        plan: Of these, what the slab keeps until it was evaluated.
        work: Beside the slab while it is evaluated.
        results: From then on, as long as the results' tensors live.
    """

    planning: int
    plan: int
    work: int
    results: int

    @property
    def peak(self) -> int:
        """The most at one time."""
        return max(self.planning, self.plan + self.work + self.results)


def memory_needed(
    loss: str,
    input: TensorForm,
    target: TensorForm,
    *,
    grad_into: bool = False,
    threads: int | None = None,
    max_batch_bytes: int = MERGED_BYTES,
    **arguments: Any,
) -> MemoryNeeded:
    """How much memory an evaluation on a CPU takes at most, computed from its form alone.

        >>> logits = TensorForm(torch.float16, (2048, 32768))
        >>> memory_needed("cross_entropy", logits, TensorForm(torch.int64, (2048,)), grad=True).results
        134225920

    It takes as long for tensors of any size, and its numbers never overflow. Small slabs, which an engine may launch
    together, count twice. On a GPU this is the memory of the host: buffers for copies belong to the engine, not to a
    slab, and are not counted.

    Args:
        loss: The name of a function in ``ce_engine.slabs``.
        input: The form of its input.
        target: The form of its target.
        grad_into: Whether the gradient is written into the caller's memory.
        threads: That may evaluate it: an engine's workers times its PyTorch threads; if None, PyTorch's in this thread.
        max_batch_bytes: Of the engine.
        **arguments: The loss's other arguments, with a `TensorForm` in place of each tensor, but with the ``head``
            itself, whose own memory is not counted; and ``exact``, as `Slab.exact`.
    """
    form = Form(loss, input, target, **{name: x for name, x in arguments.items() if name not in WITHOUT_MEMORY})
    planning = Planning.of(form)
    results = result_bytes(form, grad_into=grad_into) + exact_result_bytes(form)
    work = work_bytes(form, threads=torch.get_num_threads() if threads is None else threads)
    exact = exact_work_bytes(form)
    work = max(work, exact) if library() else work + exact  # PyTorch's operators keep their intermediate memory
    if _may_be_merged(form, max_batch_bytes):  # it may be merged, from and to copies
        work += input.nbytes + target.nbytes + planning.kept + results
    return MemoryNeeded(planning.kept + planning.more, planning.kept, work, results)


def _may_be_merged(form: Form, max_batch_bytes: int) -> bool:
    heads = [head for head in (form.head, form.target_head) if head is not None]
    if heads:
        return form.row_count < min(map(tile_rows, heads))
    return 4 * form.input.nbytes <= max_batch_bytes
