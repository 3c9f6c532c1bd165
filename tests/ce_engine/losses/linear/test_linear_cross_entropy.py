"""Cross-entropy of hidden states, against PyTorch's own, autograd and the reference twin."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import reference
from tests.ce_engine.helpers import REDUCTIONS, assert_close, assert_no_worse
from tests.ce_engine.losses.linear.layers import CLASSES, LAYERS, WIDTH, Layer, classes, random
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", ["classes", "smoothed", "probabilities"])
def test_agrees_with_autograd_and_twin(layer, reduction, kind):
    layer, x = Layer(**layer), random(3, 7, WIDTH)
    target = random(3, 7, CLASSES).softmax(-1) if kind == "probabilities" else classes(3, 7)
    if kind != "probabilities":
        target[1, 2] = -100
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "reduction": reduction}
    options["label_smoothing"] = 0.0 if kind == "classes" else 0.2
    grad_output = random(3, 7) if reduction == "none" else random(1)[0]
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True, grad_output=grad_output, **options)
    loss, grad = layer.theirs(x, target, grad_output, **options)
    assert_close(ours, loss, grad, 1e-12)
    twin = reference.linear_cross_entropy(x, layer.head(), target, grad_output=grad_output, **options)
    assert_close(ours, twin.loss, twin.grad, 1e-12)
    assert ours.loss_sum == pytest.approx(twin.loss_sum, rel=1e-12)
    assert ours.weight_sum == pytest.approx(twin.weight_sum, rel=1e-12)
    assert (ours.row_count, ours.ignored_count) == (twin.row_count, twin.ignored_count)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_agrees_with_linear_cross_entropy_of_torch(bias, reduction):
    layer, x, target = Layer(bias=bias), random(9, WIDTH).requires_grad_(), classes(9)
    options: dict[str, Any] = {"weight": random(CLASSES).abs(), "reduction": reduction, "label_smoothing": 0.1}
    theirs = F.linear_cross_entropy(x, layer.weight, target, linear_bias=layer.bias, **options)
    (grad,) = torch.autograd.grad(theirs.sum(), x)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True, **options)
    assert_close(ours, theirs.detach(), grad, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", LAYERS)
def test_is_no_worse_than_torch(layer, dtype):
    given, x, target = Layer(dtype, **layer), random(40, WIDTH, dtype=dtype), classes(40)
    precise = Layer(**layer)
    for name in ("weight", "bias", "factor", "shift"):
        tensor = getattr(given, name)
        setattr(precise, name, None if tensor is None else tensor.double())
    ours = ce_engine.linear_cross_entropy(x, given.head(), target, grad=True)
    truth = precise.theirs(x.double(), target)
    theirs = given.theirs(x, target)
    assert_no_worse(ours.loss, theirs[0], truth[0], size=2 * truth[0])
    assert_no_worse(ours.grad, theirs[1], truth[1], size=4 * truth[1].abs().max())


def test_gradient_is_that_of_the_loss():
    layer = Layer(norm="layer", softcap=2.0, temperature=1.3, count=7, width=5)
    head, target = layer.head(), classes(6, count=7)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, x: Tensor) -> Tensor:
            result = ce_engine.linear_cross_entropy(x, head, target, grad=True)
            context.save_for_backward(result.grad)
            return result.loss

        @staticmethod
        def backward(context: Any, *incoming: Tensor) -> Tensor:
            (grad,) = context.saved_tensors
            return torch.mul(grad, incoming[0])

    assert torch.autograd.gradcheck(Loss.apply, random(6, 5).requires_grad_())


@pytest.mark.parametrize("kind", ["classes", "smoothed", "probabilities"])
@pytest.mark.parametrize("layer", [{}, {"norm": "rms", "softcap": 3.0, "temperature": 1.7}])
def test_z_loss_divisor_and_places_agree_with_the_twin(layer, kind):
    head, x, target = Layer(**layer).head(), random(3, 7, WIDTH), classes(3, 7)
    target[1, 2] = -100
    options: dict[str, Any] = {"z_loss": 0.01, "divisor": 5.0, "top_k": 3, "weight": random(CLASSES).abs()}
    options["sample_weight"] = random(3, 7).abs()
    outputs: tuple[str, ...] = ("target_log_probabilities", "target_ranks", "probabilities")
    if kind == "smoothed":
        options["label_smoothing"] = 0.2
    if kind == "probabilities":
        target, outputs = random(3, 7, CLASSES).softmax(-1), ("probabilities",)
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True, outputs=outputs, **options)
    twin = reference.linear_cross_entropy(x, head, target, **options)
    assert_close(ours, twin.loss, twin.grad, 1e-12)
    assert ours.z_loss_sum == pytest.approx(present(twin.z_loss_sum), rel=1e-12)
    assert torch.equal(present(ours.top_classes), present(twin.top_classes))
    torch.testing.assert_close(ours.top_log_probabilities, twin.top_log_probabilities, rtol=1e-12, atol=1e-12)
    if kind != "probabilities":
        assert torch.equal(present(ours.target_ranks), present(twin.target_ranks))
        places = ours.target_log_probabilities, twin.target_log_probabilities
        torch.testing.assert_close(*places, rtol=1e-12, atol=1e-12)


def test_outputs_are_those_of_the_logits():
    layer, x, target = Layer(softcap=3.0), random(2, 9, WIDTH), classes(2, 9)
    outputs = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, outputs=outputs, grad=True)
    logits = layer.logits(x)
    for name, truth in {
        "lse": logits.logsumexp(-1),
        "probabilities": logits.softmax(-1),
        "log_probabilities": logits.log_softmax(-1),
        "entropy": torch.distributions.Categorical(logits=logits).entropy(),
    }.items():
        torch.testing.assert_close(getattr(ours, name), truth, atol=1e-12, rtol=1e-12)
    assert torch.equal(present(ours.predictions), logits.argmax(-1))
    assert ours.correct_count == int((logits.argmax(-1) == target).sum())


def test_exact_sums_by_class_are_of_the_target_classes():
    head, x = Layer().head(), random(30, WIDTH)
    for target in (classes(30, count=3), F.one_hot(classes(30, count=3), CLASSES).double()):
        slab = ce_engine.slabs.linear_cross_entropy(x, head, target)
        slab.exact = "by_class"
        result = ce_engine.evaluate(slab)
        by_class = present(result.exact_by_class)
        assert {c: sums.row_count for c, sums in by_class.items()} == {
            c: int((classes(30, count=3) == c).sum()) for c in range(3)
        }
        assert float(present(result.exact).loss) == pytest.approx(result.loss_sum, rel=1e-12)


@pytest.mark.parametrize("grad_dtype", [torch.float32, torch.bfloat16])
def test_gradient_has_the_wanted_dtype(grad_dtype):
    head, x, target = Layer(torch.bfloat16).head(), random(5, WIDTH, dtype=torch.bfloat16), classes(5)
    wide = ce_engine.linear_cross_entropy(x, head, target, grad=True, grad_dtype=torch.float32)
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True, grad_dtype=grad_dtype)
    if grad_dtype is torch.float32:
        assert torch.equal(present(ours.grad), present(wide.grad))
    else:  # gradients of logits are rounded too
        torch.testing.assert_close(present(ours.grad).float(), present(wide.grad), rtol=2**-7, atol=1e-3)
    assert present(ours.grad).dtype is grad_dtype


def test_weighting_by_the_targets():
    layer, x, target = Layer(), random(20, WIDTH), classes(20, count=3)
    counts = target.bincount(minlength=CLASSES).double()
    balanced = torch.where(counts > 0, 20 / (CLASSES * counts), 0.0)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, "balanced", grad=True)
    assert_close(ours, *layer.theirs(x, target, weight=balanced), 1e-12)
