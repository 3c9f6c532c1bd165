"""Cross-entropy of hidden states: a row's bits are the same alone, in a batch, in slabs and in memory of the caller."""

from typing import Any

import pytest
import torch
from torch import Tensor

import ce_engine
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import TOLERANCES
from tests.ce_engine.losses.linear.layers import CLASSES, WIDTH, Layer, classes, random
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("count", "width"), [(70, 33), (3, 1025), (1025, 1025), (1000, 128), (1, 1)])
def test_bits_of_a_row_depend_on_nothing_else(count, width, dtype):
    # Libraries for products take other paths for few rows and for odd sizes: see _heads/padding.py.
    layer = Layer(dtype, count=count, width=width, norm="rms", softcap=5.0)
    head, x, target = layer.head(), random(300, width, dtype=dtype), classes(300, count=count)

    def results(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        result = ce_engine.linear_cross_entropy(
            x[rows], head, target[rows], reduction="none", grad=True, outputs=("lse",)
        )
        return result.loss, present(result.grad), present(result.lse)

    whole = results(slice(0, 300))
    for start, end in [(0, 1), (5, 7), (17, 20), (250, 270), (299, 300), (3, 260)]:
        for ours, theirs in zip(results(slice(start, end)), whole, strict=True):
            assert bits(ours) == bits(theirs[start:end])


@pytest.mark.parametrize("kind", ["classes", "probabilities"])
def test_slab_by_slab_has_the_bits_of_one_slab(kind):
    head, x = Layer(torch.float32).head(), random(40, WIDTH, dtype=torch.float32)
    target = classes(40) if kind == "classes" else random(40, CLASSES, dtype=torch.float32).softmax(-1)
    whole = ce_engine.linear_cross_entropy(x, head, target, grad=True)
    batch = ce_engine.SlabBySlab(
        ce_engine.slabs.linear_cross_entropy, reduction="mean", weight_sum=40.0, grad=True, head=head
    )
    grads = []
    for rows in (slice(0, 7), slice(7, 40)):
        planned = batch.plan(x[rows], target[rows])
        results: Any = ce_engine.evaluate(planned)
        batch.add(planned.reduction, results)
        grads.append(results.grad)
    assert bits(batch.loss()) == bits(whole.loss_sum / 40)
    assert bits(torch.cat(grads)) == bits(whole.grad)


def test_planned_slab_by_slab_has_the_bits_of_one_slab():
    head, x, target = Layer(torch.float32).head(), random(8, 5, WIDTH, dtype=torch.float32), classes(8, 5)
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "grad": True}
    whole = ce_engine.linear_cross_entropy(x, head, target, **options)
    batch = ce_engine.PlannedSlabBySlab(ce_engine.slabs.linear_cross_entropy(x, head, target, **options))
    grads = []
    for part in x.split([3, 5]):
        planned = batch.plan(part)
        results: Any = ce_engine.evaluate(planned)
        batch.add(planned.reduction, results)
        grads.append(results.grad)
    assert bits(batch.loss()) == bits(whole.loss_sum / whole.weight_sum)
    assert bits(torch.cat(grads)) == bits(whole.grad)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_stacked_requests_have_the_bits_of_each_alone(shape):
    head, x, target = Layer(torch.float32).head(), random(*shape, WIDTH, dtype=torch.float32), classes(*shape)
    options: dict[str, Any] = {"head": head, "grad": True, "outputs": ("probabilities",)}
    stacked = ce_engine.evaluate_stacked(ce_engine.slabs.linear_cross_entropy, x, target, **options)
    for i in range(4):
        alone = ce_engine.linear_cross_entropy(x[i], target=target[i], **options)
        assert bits(stacked[i].loss) == bits(alone.loss)
        assert bits(stacked[i].grad) == bits(alone.grad)
        assert bits(stacked[i].probabilities) == bits(alone.probabilities)


def test_gradient_is_written_into_memory_of_the_caller():
    head, x, target = Layer().head(), random(5, WIDTH), classes(5)
    memory = torch.empty(5, WIDTH, dtype=torch.float64)
    result = ce_engine.evaluate(ce_engine.slabs.linear_cross_entropy(x, head, target, grad=True), grad_into=memory)
    assert result.grad is memory
    assert torch.equal(memory, present(ce_engine.linear_cross_entropy(x, head, target, grad=True).grad))
