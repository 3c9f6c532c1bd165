"""Ways to compute a loss of hidden states in process, each a contestant. The head is frozen."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F

import ce_engine
from benchmarks.batch import Answer, Run
from benchmarks.heads.case import EPS, Case
from benchmarks.ways import torch_answer

Prepare = Callable[[Case], AbstractContextManager[Run]]


@contextmanager
def reference() -> Iterator[Prepare]:
    """PyTorch's way without options, which makes all logits."""
    yield lambda case: nullcontext(torch_run(case, F.linear_cross_entropy))


@contextmanager
def chunked() -> Iterator[Prepare]:
    """PyTorch's way in chunks, with its default options."""
    yield lambda case: nullcontext(
        torch_run(case, partial(F.linear_cross_entropy, options=LinearCrossEntropyOptions()))
    )


@contextmanager
def compiled() -> Iterator[Prepare]:
    def prepare(case: Case) -> AbstractContextManager[Run]:
        torch.compiler.reset()  # else it would reuse code that fits all shapes so far
        return nullcontext(torch_run(case, torch.compile(F.linear_cross_entropy, dynamic=False)))

    yield prepare


@contextmanager
def engine() -> Iterator[Prepare]:
    yield lambda case: nullcontext(_engine_run(case))


def torch_run(case: Case, function: Callable[..., Tensor]) -> Run:
    states, weight, norm_weight, target = case.states(), case.weight(), case.norm_weight(), case.target()

    def loss(states: Tensor, target: Tensor) -> Tensor:
        if norm_weight is not None:
            states = F.rms_norm(states, (case.width,), norm_weight, EPS)
        return function(states, weight, target)

    return lambda: torch_answer(states, target, grad=case.grad, function=loss)


def _engine_run(case: Case) -> Run:
    states, head, target = case.states(), case.head(), case.target()

    def run() -> Answer:
        result = ce_engine.linear_cross_entropy(states, head, target, grad=case.grad)
        return Answer(result.loss, result.grad)

    return run
