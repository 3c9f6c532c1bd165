"""Tensors of the engine's own lie on the CPU, whatever PyTorch's default device is."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, SlabBySlab, TargetSums, slabs
from tests.present import present

LOGITS, CLASSES = torch.randn(60, 3), torch.arange(60) % 3
TARGETS = (torch.rand(60, 3) < 0.5).float()

CALLS: list[tuple[str, torch.Tensor, torch.Tensor, dict[str, Any]]] = [
    ("cross_entropy", LOGITS, CLASSES, {"label_smoothing": 0.1}),
    ("cross_entropy", LOGITS, CLASSES, {"weight": "balanced"}),
    ("cross_entropy", LOGITS, LOGITS.softmax(1), {"outputs": ["entropy", "predictions"]}),
    ("nll_loss", LOGITS.log_softmax(1), CLASSES, {}),
    ("binary_cross_entropy", LOGITS.sigmoid(), TARGETS, {}),
    ("binary_cross_entropy_with_logits", LOGITS, TARGETS, {"weight": "balanced"}),
]


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize(("loss", "input", "target", "options"), CALLS)
def test_losses_are_computed_on_the_cpu(loss, input, target, options):
    with torch.device("meta"), Engine() as engine:
        at_once = getattr(ce_engine, loss)(input, target, grad=True, **options)
        queued = engine.submit(getattr(slabs, loss)(input, target, grad=True, **options)).result(20)
    expected = getattr(ce_engine, loss)(input, target, grad=True, **options)
    for result in (at_once, queued):
        assert torch.equal(result.loss, expected.loss)
        assert torch.equal(present(result.grad), present(expected.grad))


def test_large_batches_are_computed_on_the_cpu():
    input, target = torch.randn(600_000, 2), torch.zeros(600_000).long()
    with torch.device("meta"):
        result = ce_engine.cross_entropy(input, target, label_smoothing=0.1, grad=True)
    assert present(result.grad).device.type == "cpu"


def test_batch_without_classes_is_computed_on_the_cpu():
    with torch.device("meta"):
        result = ce_engine.cross_entropy(LOGITS[:, :0], LOGITS[:, :0], reduction="none")
    assert torch.equal(result.loss, torch.zeros(60))


def test_slab_by_slab_is_computed_on_the_cpu():
    target = torch.where(CLASSES == 2, -1, CLASSES)
    target[:30] = -1  # all of the first slab
    options: dict[str, Any] = {"weight": torch.ones(3), "ignore_index": -1, "reduction": "mean"}
    with torch.device("meta"):
        sums = TargetSums.of_classes(target, 3, ignore_index=-1, weight="balanced")
        assert TargetSums.of_elements(TARGETS, "balanced").class_weight is not None
        batch = SlabBySlab(slabs.cross_entropy, weight_sum=20.0, grad=True, **options)
        for input, part in zip(LOGITS.split(30), target.split(30), strict=True):
            slab = batch.plan(input, part)
            results: Any = ce_engine.evaluate(slab)
            batch.add(slab.reduction, results)
            assert results.grad.device.type == "cpu"
    assert present(sums.class_weight).device.type == "cpu"
    assert batch.loss() == pytest.approx(float(ce_engine.cross_entropy(LOGITS, target, **options).loss))
