"""Slabs of hidden states, and a launch of them that waits."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ce_engine import Head, Slab, slabs
from ce_engine._batching import launchers

WIDTH, CLASSES, TILE = 12, 70, 16


def hidden(head: Head, rows: int = 3, seed: int = 0, **options: Any) -> Slab:
    generator = torch.Generator().manual_seed(seed)
    input, target = torch.randn(rows, WIDTH, generator=generator), torch.randint(CLASSES, (rows,), generator=generator)
    return slabs.linear_cross_entropy(input, head, target, **{"grad": True, **options})


class Gate:
    """Stops the engine's first launch of hidden states, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = self
        self.reached, self.go = threading.Event(), threading.Event()
        self.launches: list[Slab] = []

        class Gated(launchers.CpuLauncher):
            def start(self, slabs: Sequence[Slab]) -> Any:
                gate.launches.extend(slabs)
                gate.reached.set()
                assert gate.go.wait(20)
                return super().start(slabs)

        monkeypatch.setattr(launchers, "CpuLauncher", Gated)
