"""Tiles have as few rows as they may."""

import pytest
import torch

from ce_engine import Head, Norm
from ce_engine._heads import logits
from tests.ce_engine.engine.heads.slabs_of_heads import CLASSES, WIDTH


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(logits, "TILE_BYTES", 1)


@pytest.fixture(scope="module")
def head() -> Head:
    generator = torch.Generator().manual_seed(0)
    return Head(torch.randn(CLASSES, WIDTH, generator=generator), norm=Norm("rms", 1e-6), softcap=5.0)
