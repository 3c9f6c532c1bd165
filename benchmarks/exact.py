"""What exact sums of rows cost, beside the evaluation that they follow."""

from collections.abc import Callable

import torch
from rich.table import Table

import ce_engine
from benchmarks.batch import Batch
from benchmarks.timing import medians

SHAPES = ((4096, 1000), (65536, 1000), (512, 32768), (32, 10))
DTYPES = ("float32", "bfloat16")
SMALL_ROWS = 100  # fewer than these take microseconds, and are measured more often


def exact_sums(shapes: tuple[tuple[int, int], ...], runs: int) -> Table:
    """On one thread, since sums are added up by the thread that ends a batch."""
    headings = (
        "batch",
        "dtype",
        "gradient",
        "class weights",
        "evaluation",
        "exact sums",
        "sums / evaluation",
        "by class",
    )
    title = f"exact sums on one thread, microseconds, medians of {runs} runs in turns, and more of small batches"
    table = Table(*headings, title=title, title_justify="left")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for batch in [Batch(*shape, dtype, grad) for shape in shapes for dtype in DTYPES for grad in (False, True)]:
            for is_weighted in (False, True):
                seconds = _seconds(batch, runs, is_weighted=is_weighted)
                flags = ["yes" if flag else "no" for flag in (batch.grad, is_weighted)]
                evaluation, by_class, sums = (f"{of_one * 1e6:.1f}" for of_one in seconds.values())
                share = f"{100 * seconds['sums'] / seconds['evaluation']:.1f} %"
                shape = f"{batch.rows} x {batch.classes}"
                table.add_row(shape, batch.dtype, *flags, evaluation, sums, share, by_class)
    finally:
        torch.set_num_threads(threads)
    return table


def _seconds(batch: Batch, runs: int, *, is_weighted: bool) -> dict[str, float]:
    logits, target = batch.tensors()
    weight = torch.rand(batch.classes, generator=torch.Generator().manual_seed(0)) if is_weighted else None

    def planned() -> ce_engine.Slab:
        return ce_engine.slabs.cross_entropy(logits, target, weight, reduction="none", grad=batch.grad)

    slab = planned()
    losses = ce_engine.evaluate(slab).loss
    # Sums are timed by themselves, each after an evaluation: the difference of two evaluations would be lost in noise.
    evaluation: dict[str, Callable[[], object]] = {"evaluation": lambda: ce_engine.evaluate(planned())}
    sums = {"sums": lambda: ce_engine.exact_sums(losses, slab.reduction)}
    by_class = {"by class": lambda: ce_engine.exact_sums_by_class(losses, slab.reduction, slab.row_classes())}
    runs = 20 * runs if batch.rows < SMALL_ROWS else runs
    return medians(evaluation | by_class, runs) | medians(evaluation | sums, runs)
