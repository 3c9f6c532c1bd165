"""What divergences are announced to take, beside what they take."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import TensorForm, memory_needed
from tests.ce_engine.heads.test_memory import OBJECTS, measured, needs_proc

MIB = 2**20


def form(*shape: int, dtype: torch.dtype = torch.float32) -> TensorForm:
    return TensorForm(dtype, shape)


def test_results_are_announced_to_the_byte():
    x, labels = torch.randn(4, 250, 500), torch.randint(500, (4, 250))
    outputs = ("lse", "predictions")
    arguments: dict[str, Any] = {"temperature": 2.0, "divergence": "reverse", "grad": True, "outputs": outputs}
    needed = memory_needed("kl_divergence", form(4, 250, 500), form(4, 250, 500), labels=form(4, 250), **arguments)
    result = ce_engine.kl_divergence(x, x.flip(0), labels=labels, **arguments)
    tensors = [t for t in vars(result).values() if isinstance(t, torch.Tensor) and t.dim()]
    losses, correct = 4 * 1000, 1000
    assert sum(t.nbytes for t in tensors) + losses + correct <= needed.results
    assert needed.results < 1.125 * (sum(t.nbytes for t in tensors) + losses + correct)


def test_logits_are_not_widened_as_a_whole():
    logits = form(2048, 32768, dtype=torch.float16)
    needed = memory_needed("kl_divergence", logits, logits, grad=True, threads=2)
    assert logits.nbytes <= needed.results < 1.13 * logits.nbytes
    assert needed.work + needed.planning < logits.nbytes


def test_named_classes_are_kept():
    few = form(1000, 64)
    plain = memory_needed("kl_divergence", form(1000, 5000), form(1000, 5000))
    needed = memory_needed(
        "kl_divergence", form(1000, 5000), few, target_classes=form(1000, 64, dtype=torch.int64), tail="drop"
    )
    assert needed.plan >= plain.plan + 8 * few.element_count


@pytest.mark.parametrize("shape", [(0, 2**62), (2**62, 0), (2**40, 2**40, 2**40)])
def test_any_sizes_are_added_up(shape):
    needed = memory_needed("kl_divergence", form(*shape), form(*shape), labels=form(*shape[:-1]), grad=True)
    assert all(isinstance(number, int) and number >= 0 for number in needed)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["compiled", "operators"])
def test_no_more_than_a_tile_of_each_models_logits_is_held(kernels):
    rows = measured("losses.divergences.measured_memory", kernels)
    assert len(rows) > 20
    assert [(name, grown, most) for name, grown, most in rows if grown > most + OBJECTS] == []
