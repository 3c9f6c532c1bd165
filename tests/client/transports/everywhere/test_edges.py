"""Edges of losses of hidden states and of divergences by every transport, with their gradients: PyTorch's, or ours.

What is not PyTorch's is in docs/numerics.md: a term of probability 0 is 0.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from losswire_client import Head
from tests.client.transports.everywhere import truth
from tests.present import present

RNG = np.random.default_rng(0)
ROWS, CLASSES, WIDTH = 6, 5, 4
WEIGHT, BIAS = RNG.standard_normal((CLASSES, WIDTH)), RNG.standard_normal(CLASSES)
STATES, LOGITS, TARGET_LOGITS = (RNG.standard_normal((ROWS, n)) for n in (WIDTH, CLASSES, CLASSES))
TARGET = RNG.integers(0, CLASSES, ROWS)
KINDS = ("forward", "reverse", "jensen_shannon")
INF = math.inf


def with_torch(states: np.ndarray[Any, Any], weight: Any, bias: Any, target: Any, **options: Any) -> tuple[Any, Any]:
    """PyTorch's losses and gradient of hidden states."""
    leaf = truth.tensor(states).requires_grad_()
    logits = F.linear(leaf, truth.tensor(weight), None if bias is None else truth.tensor(bias))
    loss = F.cross_entropy(logits, torch.as_tensor(target), **options)
    (grad,) = torch.autograd.grad(loss.sum(), leaf)
    return loss.detach().numpy(), grad.numpy()


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_class_that_cannot_be_has_no_part(everywhere, reduction):
    bias = np.array([*BIAS[:-1], -INF])
    target = np.minimum(TARGET, CLASSES - 2)
    options = {"reduction": reduction}
    result = everywhere("linear_cross_entropy", STATES, Head(WEIGHT, bias), target, grad=True, **options)
    loss, grad = with_torch(STATES, WEIGHT, bias, target, **options)
    np.testing.assert_allclose(result.loss, loss, 1e-12)
    np.testing.assert_allclose(present(result.grad), grad, 1e-12, 1e-14)
    for name in KINDS:
        x, y = (np.where(np.arange(CLASSES) == 3, -INF, z) for z in (LOGITS, TARGET_LOGITS))
        result = everywhere("kl_divergence", x, y, divergence=name, grad=True, **options)
        others = (np.delete(z, 3, 1) for z in (x, y))
        without = everywhere("kl_divergence", *others, divergence=name, grad=True, **options)
        np.testing.assert_allclose(result.loss, without.loss, 1e-12)
        np.testing.assert_allclose(np.delete(present(result.grad), 3, 1), without.grad, 1e-12, 1e-14)
        assert (present(result.grad)[:, 3] == 0).all()


def test_target_that_cannot_be_is_infinite(everywhere):
    bias = np.array([*BIAS[:-1], -INF])
    target = np.array([0, 1, 2, 3, 4, 4])
    result = everywhere("linear_cross_entropy", STATES, Head(WEIGHT, bias), target, reduction="none", grad=True)
    loss, grad = with_torch(STATES, WEIGHT, bias, target, reduction="none")
    np.testing.assert_allclose(result.loss, loss, 1e-12)
    np.testing.assert_allclose(present(result.grad), grad, 1e-12, 1e-14)
    assert np.isinf(result.loss).tolist() == [False] * 4 + [True] * 2


def test_share_that_the_other_lacks_is_infinite(everywhere):
    lacking = np.where(np.arange(CLASSES) == 3, -INF, LOGITS)
    infinite = {
        kind: (
            everywhere("kl_divergence", lacking, TARGET_LOGITS, divergence=kind, grad=True).loss,
            everywhere("kl_divergence", LOGITS, lacking, divergence=kind, grad=True).loss,
        )
        for kind in KINDS
    }
    assert infinite["forward"][0] == infinite["reverse"][1] == INF
    others = (*infinite["jensen_shannon"], infinite["forward"][1], infinite["reverse"][0])
    assert np.isfinite(others).all()


def test_number_that_is_none_spoils_its_own_row(everywhere):
    states, logits = STATES.copy(), LOGITS.copy()
    states[2, 1] = logits[2, 1] = math.nan
    hidden = everywhere("linear_cross_entropy", states, Head(WEIGHT, BIAS), TARGET, reduction="none", grad=True)
    loss, grad = with_torch(states, WEIGHT, BIAS, TARGET, reduction="none")
    np.testing.assert_allclose(hidden.loss, loss, 1e-12)
    np.testing.assert_allclose(present(hidden.grad), grad, 1e-12, 1e-14)
    for kind in KINDS:
        for pair in ((logits, TARGET_LOGITS), (TARGET_LOGITS, logits)):
            result = everywhere("kl_divergence", *pair, divergence=kind, reduction="none", grad=True)
            assert np.flatnonzero(np.isnan(result.loss)).tolist() == [2]
            assert np.flatnonzero(np.isnan(present(result.grad)).any(1)).tolist() == [2]


@pytest.mark.parametrize(("reduction", "empty"), [("none", "nan"), ("sum", "nan"), ("mean", "nan"), ("mean", "zero")])
@pytest.mark.parametrize("rows", [(0,), (2, 0)])
def test_no_rows(everywhere, rows, reduction, empty):
    states, logits = np.zeros((*rows, WIDTH)), np.zeros((*rows, CLASSES))
    options = {"reduction": reduction, "empty": empty, "grad": True}
    hidden = everywhere("linear_cross_entropy", states, Head(WEIGHT), np.zeros(rows, np.int64), **options)
    pair = everywhere("kl_divergence", logits, logits, **options)
    with_head = everywhere("kl_divergence", states, logits, head=Head(WEIGHT), **options)
    for result, shape in ((hidden, states.shape), (pair, logits.shape), (with_head, states.shape)):
        assert present(result.grad).shape == shape
        assert (result.loss_sum, result.weight_sum, result.row_count) == (0, 0, 0)
        check_of_none(result.loss, rows, reduction, empty)


def check_of_none(loss: np.ndarray[Any, Any], rows: tuple[int, ...], reduction: str, empty: str) -> None:
    if reduction == "none":
        assert loss.shape == rows
    else:
        np.testing.assert_equal(float(loss), math.nan if (reduction, empty) == ("mean", "nan") else 0.0)


@pytest.mark.parametrize(("reduction", "empty"), [("none", "nan"), ("sum", "nan"), ("mean", "nan"), ("mean", "zero")])
def test_rows_that_are_all_ignored(everywhere, reduction, empty):
    options = {"reduction": reduction, "empty": empty, "grad": True, "ignore_index": 3}
    ignored, states = np.full(ROWS, 3), np.full_like(STATES, math.nan)
    hidden = everywhere("linear_cross_entropy", states, Head(WEIGHT), ignored, **options)
    pair = everywhere("kl_divergence", LOGITS, TARGET_LOGITS, labels=ignored, **options)
    for result in (hidden, pair):
        assert (result.row_count, result.ignored_count, result.weight_sum, result.loss_sum) == (0, ROWS, 0, 0)
        check_of_none(result.loss, (ROWS,), reduction, empty)
        np.testing.assert_array_equal(present(result.grad), 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_class(everywhere, dtype):
    states = STATES.astype(dtype)
    head, target = Head(WEIGHT[:1].astype(dtype)), np.zeros(ROWS, np.int64)
    hidden = everywhere("linear_cross_entropy", states, head, target, grad=True, top_k=1, outputs=("target_ranks",))
    pairs = [
        everywhere("kl_divergence", LOGITS[:, :1].astype(dtype), TARGET_LOGITS[:, :1], divergence=kind, grad=True)
        for kind in KINDS
    ]
    for result in (hidden, *pairs):
        np.testing.assert_allclose(result.loss, 0, atol=np.finfo(dtype).eps)
        np.testing.assert_allclose(present(result.grad), 0, atol=np.finfo(dtype).eps)
    assert (present(hidden.target_ranks) == 1).all()
    assert (present(hidden.top_classes) == 0).all()


def test_many_classes(everywhere):
    """As many as the largest vocabularies have, of hidden states that are short."""
    count, rows, width = 262_144, 3, 2
    weight, states = RNG.standard_normal((count, width)).astype(np.float32), RNG.standard_normal((rows, width))
    x, target = states.astype(np.float32), np.array([0, count - 1, 77_777])
    head = Head(weight)
    result = everywhere("linear_cross_entropy", x, head, target, grad=True, top_k=2, reduction="none")
    loss, grad = with_torch(x, weight, None, target, reduction="none")
    np.testing.assert_allclose(result.loss, loss, 2e-6)
    np.testing.assert_allclose(present(result.grad), grad, 1e-5, 1e-6)
    logits = F.linear(truth.tensor(x), truth.tensor(weight))
    np.testing.assert_allclose(present(result.top_log_probabilities), logits.log_softmax(-1).topk(2).values, 2e-6)
    for kind in KINDS:
        leaf = truth.tensor(x).requires_grad_()
        log_q = F.linear(leaf, truth.tensor(weight)).log_softmax(-1)
        losses = truth.divergence(log_q, logits.flip(0).log_softmax(-1), kind)
        (expected,) = torch.autograd.grad(losses.sum(), leaf)
        options = {"head": head, "target_head": head, "divergence": kind, "reduction": "none", "grad": True}
        pair = everywhere("kl_divergence", x, x[::-1], **options)
        np.testing.assert_allclose(pair.loss, losses.detach(), 2e-5, 2e-6)
        np.testing.assert_allclose(present(pair.grad), expected, 1e-4, 1e-5)
