"""Through the service: a server on the device and the SDK, beside the local call with copies to the device and back.

All start from logits in the caller's ordinary memory, and have the gradient there again.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from benchmarks.batch import Answer, Batch, Prepare, Run, check
from benchmarks.timing import medians
from benchmarks.ways import torch_answer

SHAPES = ((32, 10), (256, 32_000), (64, 128_256))
DTYPES = ("float32", "bfloat16")
BATCHES = [Batch(*shape, dtype, grad) for shape in SHAPES for dtype in DTYPES for grad in (False, True)]


def lines(device: str, runs: int, batches: list[Batch] = BATCHES) -> Iterator[str]:
    """A line for each batch, or one that says why the service is not measured."""
    try:
        from benchmarks.wire.losswire import on_device
    except ImportError as error:
        yield f"the service: not measured: {error}"
        return
    with on_device(device) as ways:
        yield f"{'the service':<44}{'local ms':>10}" + "".join(f"{name + ' / local':>24}" for name in ways)
        for batch in batches:
            yield _measured(batch, ways, device, runs)


def _measured(batch: Batch, ways: Mapping[str, Prepare], device: str, runs: int) -> str:
    with ExitStack() as stack:
        candidates = {name: stack.enter_context(prepare(batch)) for name, prepare in ways.items()}
        candidates = {"local": _local(batch, device), **candidates}
        for run in candidates.values():
            check(batch, run())
        seconds = medians(candidates, runs)
    local = seconds.pop("local")
    return f"{batch!s:<44}{local * 1e3:10.3f}" + "".join(f"{each / local:>24.2f}" for each in seconds.values())


def _local(batch: Batch, device: str) -> Run:
    logits, target = batch.tensors()

    def run() -> Answer:
        loss, grad = torch_answer(logits.to(device), target.to(device), grad=batch.grad)
        return Answer(float(loss), None if grad is None else grad.cpu())

    return run
