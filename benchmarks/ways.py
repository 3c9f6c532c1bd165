"""Ways to compute a cross-entropy in process, each a contestant."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from benchmarks.batch import Answer, Batch, Prepare, Run


@contextmanager
def eager() -> Iterator[Prepare]:
    yield lambda batch: nullcontext(_torch_run(batch, batch.kind.torch))


@contextmanager
def compiled() -> Iterator[Prepare]:
    def prepare(batch: Batch) -> AbstractContextManager[Run]:
        torch.compiler.reset()  # else it would reuse code that fits all shapes so far
        return nullcontext(_torch_run(batch, torch.compile(batch.kind.torch, dynamic=False)))

    yield prepare


@contextmanager
def engine() -> Iterator[Prepare]:
    yield lambda batch: nullcontext(_engine_run(batch))


def _torch_run(batch: Batch, function: Callable[..., Tensor]) -> Run:
    x, target = batch.tensors()
    function = partial(function, **batch.kind.options)
    return lambda: torch_answer(x, target, grad=batch.grad, function=function)


def torch_answer(
    input: Tensor, target: Tensor, *, grad: bool, function: Callable[..., Tensor] = F.cross_entropy
) -> Answer:
    """The code that anybody would write, and that the peers' servers run too."""
    if not grad:
        return Answer(function(input, target))
    leaf = input.detach().requires_grad_()
    loss = function(leaf, target)
    return Answer(loss.detach(), *torch.autograd.grad(loss, leaf))


def _engine_run(batch: Batch) -> Run:
    x, target = batch.tensors()
    function = getattr(ce_engine, batch.kind.name)

    def run() -> Answer:
        result = function(x, target, grad=batch.grad, **batch.kind.options)
        return Answer(result.loss, result.grad)

    return run
