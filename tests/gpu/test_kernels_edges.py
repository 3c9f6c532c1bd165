"""Cases in which kernels may go wrong: infinities, ties, targets out of range, odd addresses and layouts."""

import math
from typing import Any

import pytest
import torch

from ce_engine import InvalidArgumentError, slabs
from ce_engine.gpu._evaluate import evaluate
from ce_engine.gpu._tiles import NARROW
from tests.gpu.helpers import BINARY_OUTPUTS, OUTPUTS, assert_right, assert_same_bits, by_kernels
from tests.present import present

INF, NAN = math.inf, math.nan
# Each is a row: the number in the first block, at the target, and in the last block.
SPECIAL = (
    (INF, 1.0, 1.0),
    (-INF, 1.0, 1.0),
    (NAN, 1.0, 1.0),
    (1.0, INF, 1.0),
    (1.0, -INF, 1.0),
    (1.0, NAN, 1.0),
    (1.0, 1.0, INF),
    (1.0, 1.0, -INF),
    (1.0, 1.0, NAN),
    (INF, -INF, 1.0),
    (NAN, INF, INF),
    (1e4, -1e4, 1e4),
)


def special_rows(class_count):
    input = torch.randn(len(SPECIAL) + 3, class_count)
    for row, (first, at_target, last) in zip(input, SPECIAL, strict=False):
        row[2], row[1], row[-1] = first, at_target, last
    input[-3:] = torch.tensor([[INF], [-INF], [NAN]])
    return input, torch.ones(len(input), dtype=torch.int64)


# 5 classes: rows in one program with others. Three blocks: in lanes, and in the block that stays in registers.
@pytest.mark.parametrize(
    ("class_count", "label_smoothing"),
    [(5, 0.0), (5, 0.1), (5, 1.0), pytest.param(2 * 8192 + 5, 0.1, marks=pytest.mark.slow)],
)
def test_values_not_finite_are_as_on_the_cpu(class_count, label_smoothing):
    input, target = special_rows(class_count)
    weight = torch.ones(class_count)
    weight[2] = 0
    options: dict[str, Any] = {"label_smoothing": label_smoothing, "reduction": "sum"}
    assert_right(slabs.cross_entropy(input, target, weight, grad=True, outputs=OUTPUTS, **options))
    one_hot = torch.zeros_like(input).index_fill_(1, torch.tensor([1]), 1)
    assert_right(slabs.cross_entropy(input, one_hot, grad=True, outputs=OUTPUTS, **options))
    assert_right(slabs.cross_entropy(input, target, outputs=("lse", "predictions"), **options))


# Two blocks: in lanes, which the first has, the largest logit moves as far as numbers go, or from -inf.
@pytest.mark.parametrize("class_count", [5, 8192 + 5])
@pytest.mark.parametrize(("far", "near"), [(-3e38, 3e38), (-INF, 0.0), (-1e4, -1e4 + 90), (3e38, -3e38), (0.0, -100.0)])
def test_entropy_of_logits_that_are_far_apart(far, near, class_count):
    input = torch.full((2, class_count), far)
    input[:, -2:] = near
    input[1, :2] = torch.tensor([near, -INF])
    slab = slabs.cross_entropy(input, torch.zeros(2).long(), outputs=("entropy", "lse"))
    results = assert_right(slab)
    assert present(results.entropy).isfinite().all()
    assert_right(slabs.nll_loss(input, torch.zeros(2).long(), outputs=("entropy",)))


def test_ignored_row_is_zero():
    input = torch.tensor([[NAN, INF, -INF], [1.0, 2.0, 3.0]])
    target = torch.tensor([-100, 2])
    options: dict[str, Any] = {"grad": True, "outputs": ("predictions",)}
    for slab in (
        slabs.cross_entropy(input, target, **options),
        slabs.cross_entropy(input, target, label_smoothing=0.1, **options),
        slabs.nll_loss(input, target, **options),
    ):
        results = by_kernels(slab)
        assert results.losses[0] == 0
        assert not present(results.grad)[0].any()
        assert present(results.correct).tolist() == [False, True]


def test_first_of_ties_and_nan_are_predicted():
    class_count = 2 * NARROW + 3  # two lanes' blocks of the forward kernel
    input = torch.zeros(4, class_count)
    input[1, [7, NARROW + 7]] = 5
    input[2, [3, 2 * NARROW]] = torch.tensor([INF, NAN])
    input[3, 0] = -0.0
    for slab in (slabs.cross_entropy, slabs.nll_loss):
        results = by_kernels(slab(input, torch.tensor([0, 7, 3, 1]), outputs=("predictions",)))
        assert present(results.predictions).tolist() == input.argmax(1).tolist() == [0, 7, 2 * NARROW, 0]
        assert present(results.correct).tolist() == [True, True, False, False]


def test_binary_losses_at_their_bounds():
    logits = torch.tensor([INF, -INF, NAN, 0.0, -0.0, 100.0, -100.0, 1e4, 1e-8])
    probabilities = torch.tensor([0.0, 1.0, 0.5, 1e-30, 1e-6, 1 - 1e-7])
    for target in (0.0, 0.3, 1.0):
        options: dict[str, Any] = {"grad": True, "reduction": "sum", "outputs": BINARY_OUTPUTS}
        assert_right(slabs.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), **options))
        assert_right(slabs.binary_cross_entropy(probabilities.double(), torch.full((6,), target), **options))
    at_zero = by_kernels(slabs.binary_cross_entropy(torch.zeros(1), torch.ones(1), reduction="sum", grad=True))
    assert at_zero.losses.item() == 100
    assert present(at_zero.grad).item() == pytest.approx(-1e12)


def test_small_losses_keep_their_digits():
    logits = torch.tensor([5.0, 10.0, 20.0, 40.0, 80.0])
    losses = by_kernels(slabs.binary_cross_entropy_with_logits(logits, torch.ones(5))).losses
    torch.testing.assert_close(losses.double(), (-logits.double()).exp().log1p(), atol=0, rtol=1e-5)
    small = torch.tensor([1e-3, 1e-5, 1e-8, 1e-30])
    losses = by_kernels(slabs.binary_cross_entropy(small, torch.zeros(4))).losses
    torch.testing.assert_close(losses.double(), -(-small.double()).log1p(), atol=0, rtol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("wrong", [5, -1, -100, 2**31, 2**40, -(2**63), 2**63 - 1])
def test_class_out_of_range_is_nan(wrong, loss):
    # No slab has such a target. If one came anyway, it must not end the CUDA context, or touch another row.
    input, target = torch.randn(3, 5), torch.tensor([1, 2, 3])
    slab = getattr(slabs, loss)(input, target, grad=True)
    right = by_kernels(slab)
    slab.rows.classes[1] = wrong
    results = by_kernels(slab)
    assert results.losses[1].isnan()
    assert_same_bits(results.map(lambda x: x[::2], lambda x: x[::2]), right.map(lambda x: x[::2], lambda x: x[::2]))


LAYOUTS = {
    "classes first": lambda x: x.T.contiguous().T,
    "every other row": lambda x: x.repeat_interleave(2, 0)[::2],
    "every other class": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "odd address": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
    "expanded": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("class_count", [3, 1100])
def test_layout_of_the_input_changes_no_bit(class_count, layout):
    input, target = torch.randn(4, class_count), torch.tensor([0, 1, 2, 1])
    for target_ in (target, torch.rand(4, class_count)):
        options: dict[str, Any] = {"grad": True, "outputs": OUTPUTS}
        target_there = layout(target_) if target_.dim() == 2 else target_
        there = by_kernels(slabs.cross_entropy(layout(input), target_there, **options))
        plain = by_kernels(
            slabs.cross_entropy(
                layout(input).clone(memory_format=torch.contiguous_format), target_there.contiguous(), **options
            )
        )
        assert_same_bits(there, plain)


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_class_dimension_may_be_the_second(loss):
    input, target = torch.randn(2, 7, 3, 2), torch.randint(7, (2, 3, 2))
    results = assert_right(getattr(slabs, loss)(input, target, grad=True, outputs=OUTPUTS))
    rows = input.movedim(1, -1).reshape(-1, 7)
    plain = by_kernels(getattr(slabs, loss)(rows, target.flatten(), grad=True, outputs=OUTPUTS))
    moved = results.map(lambda x: x, lambda x: x.movedim(1, -1).reshape(-1, 7))
    assert_same_bits(moved, plain)


@pytest.mark.parametrize("shape", [(0, 5), (2, 5, 0)])
def test_no_elements_need_no_kernel(shape):
    slab = slabs.cross_entropy(torch.zeros(shape), torch.zeros((shape[0], *shape[2:]), dtype=torch.int64), grad=True)
    results = by_kernels(slab)
    assert results.losses.shape == (0,)
    assert present(results.grad).shape == shape


def test_no_graph_is_left_behind():
    target = torch.rand(2, 3, requires_grad=True)
    slab = slabs.cross_entropy(torch.randn(2, 3, requires_grad=True), target, weight=torch.rand(3, requires_grad=True))
    assert not by_kernels(slab).losses.requires_grad


def test_input_on_the_cpu_is_refused(monkeypatch):
    import triton

    monkeypatch.setattr(triton.knobs.runtime, "interpret", False)
    slab = slabs.cross_entropy(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InvalidArgumentError, match="expected one on a CUDA device, got one on cpu"):
        evaluate(slab.kind, slab.input, slab.target, slab.rows, slab.row_count)
