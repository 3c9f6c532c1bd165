"""Ways to compute a cross-entropy in process, each in a process of its own, so that none lives in another's memory."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch.nn import functional as F

import ce_engine

# glibc keeps freed memory instead of giving it back to the kernel, and faulting it in again the next time.
MALLOC_KEEPS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
SETTLE_SECONDS = 0.01  # PyTorch's threads spin for a while after their work, and would slow down whoever comes next


@dataclass(frozen=True)
class Batch:
    rows: int
    classes: int
    dtype: str
    grad: bool

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(self.rows, self.classes, generator=generator).to(getattr(torch, self.dtype))
        return logits, torch.randint(self.classes, (self.rows,), generator=generator)


def eager(batch: Batch) -> Callable[[], object]:
    return _torch(batch, F.cross_entropy)


def compiled(batch: Batch) -> Callable[[], object]:
    torch.compiler.reset()  # else it would settle for code that fits all shapes so far
    return _torch(batch, torch.compile(F.cross_entropy, dynamic=False))


def engine(batch: Batch) -> Callable[[], object]:
    logits, target = batch.tensors()
    return lambda: ce_engine.cross_entropy(logits, target, grad=batch.grad)


def _torch(batch: Batch, loss: Callable[..., torch.Tensor]) -> Callable[[], object]:
    logits, target = batch.tensors()
    if not batch.grad:
        return lambda: loss(logits, target)
    leaf = logits.requires_grad_()
    return lambda: torch.autograd.grad(loss(leaf, target), leaf)


CONTESTANTS: Mapping[str, tuple[Callable[[Batch], Callable[[], object]], Mapping[str, str]]] = {
    "eager": (eager, {}),
    "eager, malloc tuned": (eager, MALLOC_KEEPS),
    "torch.compile": (compiled, {}),
    "ce_engine": (engine, {}),
}


class Contestant:
    """One way, in its process, told what to do over a pipe."""

    def __init__(self, name: str) -> None:
        make, environment = CONTESTANTS[name]
        self._connection, other = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(make, other), daemon=True)
        with _set(environment):
            self._process.start()

    def prepare(self, batch: Batch) -> bool:
        """Whether it can compute this batch; says so if not."""
        try:
            self._ask(batch)
        except RuntimeError as error:
            print(f"not measured: {error}", file=sys.stderr)
            return False
        return True

    def seconds(self) -> float:
        """Seconds of the second of two runs, after whatever ran before has come to rest."""
        time.sleep(SETTLE_SECONDS)
        return self._ask(None)

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()

    def _ask(self, batch: Batch | None) -> float:
        self._connection.send(batch)
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return float(answer)


def _serve(make: Callable[[Batch], Callable[[], object]], connection: Connection) -> None:
    run: Callable[[], object] = lambda: None  # noqa: E731
    while True:
        batch = connection.recv()
        try:
            if batch is not None:
                run = make(batch)
            run()
            connection.send(_timed(run))
        except Exception as error:  # noqa: BLE001 - raised in the process that asked
            connection.send(RuntimeError(f"{make.__name__}: {type(error).__name__}: {error}"))


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    result = run()
    end = time.perf_counter()
    del result  # frees a gradient, which is part of no one's time
    return end - start


@contextmanager
def _set(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
