"""Ways to compute a cross-entropy in process, each a contestant."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from benchmarks.batch import Answer, Batch, Prepare, Run


@contextmanager
def eager() -> Iterator[Prepare]:
    yield lambda batch: nullcontext(_torch_run(batch, F.cross_entropy))


@contextmanager
def compiled() -> Iterator[Prepare]:
    def prepare(batch: Batch) -> AbstractContextManager[Run]:
        torch.compiler.reset()  # else it would reuse code that fits all shapes so far
        return nullcontext(_torch_run(batch, torch.compile(F.cross_entropy, dynamic=False)))

    yield prepare


@contextmanager
def engine() -> Iterator[Prepare]:
    yield lambda batch: nullcontext(_engine_run(batch))


def _torch_run(batch: Batch, cross_entropy: Callable[..., Tensor]) -> Run:
    logits, target = batch.tensors()
    return lambda: torch_answer(logits, target, grad=batch.grad, cross_entropy=cross_entropy)


def torch_answer(
    logits: Tensor, target: Tensor, *, grad: bool, cross_entropy: Callable[..., Tensor] = F.cross_entropy
) -> Answer:
    """The code that anybody would write, and that the peers' servers run too."""
    if not grad:
        return Answer(cross_entropy(logits, target))
    leaf = logits.detach().requires_grad_()
    loss = cross_entropy(leaf, target)
    return Answer(loss.detach(), *torch.autograd.grad(loss, leaf))


def _engine_run(batch: Batch) -> Run:
    logits, target = batch.tensors()

    def run() -> Answer:
        result = ce_engine.cross_entropy(logits, target, grad=batch.grad)
        return Answer(result.loss, result.grad)

    return run
