"""Cross-entropy of hidden states: rows and heads of any size, NaN, -inf, ignored rows, and wrong arguments."""

from itertools import product
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Head, Norm
from tests.ce_engine.helpers import TOLERANCES, assert_close
from tests.ce_engine.losses.linear.layers import CLASSES, LAYERS, WIDTH, Layer, classes, random
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 3, 2), (0,), (2, 0)])
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_takes_rows_of_any_shape(shape, dtype):
    layer, x, target = Layer(dtype, norm="rms"), random(*shape, WIDTH, dtype=dtype), classes(*shape)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True, outputs=("lse",))
    assert_close(ours, *layer.theirs(x, target, reduction="none"), 20 * TOLERANCES[dtype])
    assert present(ours.lse).shape == shape


@pytest.mark.parametrize(("count", "width"), [(1, 1), (1, 5), (5, 1), (64, 64), (262144, 2)])
def test_heads_of_any_size_agree_with_torch(count, width):
    layer, x, target = Layer(count=count, width=width), random(70, width), classes(70, count=count)
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 1e-12)


def test_all_rows_ignored():
    x, target = random(3, WIDTH), torch.full((3,), -100)
    ours = ce_engine.linear_cross_entropy(x, Layer().head(), target, grad=True)
    assert ours.loss.isnan()
    assert (ours.row_count, ours.ignored_count) == (0, 3)
    assert not present(ours.grad).any()


def test_nan_stays_in_its_row():
    layer, x, target = Layer(norm="rms"), random(5, WIDTH), classes(5)
    clean = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True)
    x[2, 3] = torch.nan
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, reduction="none", grad=True)
    others = [0, 1, 3, 4]
    assert ours.loss[2].isnan()
    assert present(ours.grad)[2].isnan().all()
    assert torch.equal(ours.loss[others], clean.loss[others])
    assert torch.equal(present(ours.grad)[others], present(clean.grad)[others])


@pytest.mark.parametrize("layer", LAYERS)
def test_nan_in_an_ignored_row_is_in_no_gradient(layer):
    x, target = random(5, WIDTH), classes(5)
    x[2, 3], target[2] = torch.nan, -100
    ours = ce_engine.linear_cross_entropy(x, Layer(**layer).head(), target, reduction="none", grad=True)
    assert ours.loss[2] == 0
    assert not present(ours.grad)[2].any()
    assert present(ours.grad).isfinite().all()


def test_classes_with_a_bias_of_minus_infinity_are_impossible():
    layer, x, target = Layer(), random(5, WIDTH), classes(5, count=10)
    present(layer.bias)[10:] = -torch.inf
    ours = ce_engine.linear_cross_entropy(x, layer.head(), target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 1e-12)


@pytest.mark.parametrize(("norm", "dtype"), list(product(["rms", "layer"], TOLERANCES)))
def test_norm_without_tensors(norm, dtype):
    layer, x, target = Layer(dtype, norm=norm), random(4, WIDTH, dtype=dtype), classes(4)
    layer.factor, layer.shift = torch.ones(WIDTH, dtype=dtype), torch.zeros(WIDTH, dtype=dtype)
    head = Head(layer.weight, layer.bias, norm=Norm(norm, 1e-5))
    ours = ce_engine.linear_cross_entropy(x, head, target, grad=True)
    assert_close(ours, *layer.theirs(x, target), 20 * TOLERANCES[dtype])


WRONG = [
    ({"head": torch.ones(2, 2)}, "head: expected Head, got Tensor"),
    ({"input": random(2, 5)}, r"input: expected shape \(..., 33\), the head's width last, got \(2, 5\)"),
    ({"input": random(2, WIDTH).float()}, "input: expected float64 with a head in float64, got float32"),
    ({"target": classes(3)}, r"target: expected shape \(2,\), one class index .* got \(3,\)"),
    ({"target": random(2, 5)}, r"target: expected probabilities of shape \(2, 70\), or class indices of \(2,\)"),
    ({"target": torch.tensor([1, CLASSES])}, r"target: expected classes in \[0, 70\) .* got 70 at row 1"),
    ({"weight": random(5)}, r"weight: expected shape \(70,\), one number a class, got \(5,\)"),
    ({"z_loss": -1.0}, "z_loss: expected a number from 0 to 1e15, got -1.0"),
    ({"top_k": CLASSES + 1}, "top_k: expected at most the number of classes, 70, got 71"),
    ({"label_smoothing": 2.0}, r"label_smoothing: expected a number in \[0, 1\], got 2.0"),
    ({"sample_weight": random(3)}, r"sample_weight: expected the loss's shape \(2,\), got \(3,\)"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_arguments_are_named(wrong, message):
    arguments: dict[str, Any] = {"input": random(2, WIDTH), "head": Layer().head(), "target": classes(2)} | wrong
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        ce_engine.linear_cross_entropy(**arguments)
