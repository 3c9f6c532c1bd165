"""An engine that is held up, so that tests see what it launches, and slabs for it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Slab, slabs
from ce_engine._batching import launchers
from tests.present import present


def slab(rows: int = 2, classes: int = 5, seed: int = 0, **options: Any) -> Slab:
    generator = torch.Generator().manual_seed(seed)
    input = torch.randn(rows, classes, generator=generator)
    return slabs.cross_entropy(input, torch.randint(classes, (rows,), generator=generator), **options)


@contextmanager
def held(
    monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Iterator[tuple[Engine, threading.Event, list[list[Slab]]]]:
    """An engine that launches nothing until it is let go, and a record of the slabs of each launch."""
    go = threading.Event()
    launches: list[list[Slab]] = []

    class Held(launchers.CpuLauncher):
        def start(self, slabs: Sequence[Slab]) -> Any:
            launches.append(list(slabs))
            assert go.wait(20)
            return super().start(slabs)

    monkeypatch.setattr(launchers, "CpuLauncher", Held)
    with Engine(**settings) as engine:
        blocker = engine.submit(slab(classes=7))  # no other slab is of its kind
        while not launches:
            time.sleep(0.001)
        launches.clear()
        try:
            yield engine, go, launches
        finally:
            go.set()
            blocker.result(20)


def alone(one: Slab) -> ce_engine.LossResult:
    return ce_engine.evaluate(one)


def assert_same_bits(ours: ce_engine.LossResult, theirs: ce_engine.LossResult) -> None:
    assert torch.equal(ours.loss, theirs.loss)
    assert ours.loss_sum == theirs.loss_sum
    if theirs.grad is not None:
        assert torch.equal(present(ours.grad), theirs.grad)
