"""Each loss with its options, over all dtypes and all ways to cut a row."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ce_engine import reference, slabs
from ce_engine.gpu._tiles import KEPT_NUMBERS, KEPT_WARPS, NARROW, WARP, row_tile
from tests.gpu.helpers import BINARY_OUTPUTS, FLOATS, OF_TARGETS, OUTPUTS, assert_right, by_kernels

BLOCK = KEPT_WARPS * WARP * KEPT_NUMBERS  # the longest row, of float32, that stays in registers
# One class; not a power of two; several rows a program, exactly one block of it, one more, which is one row a program;
# exactly a long block, one more.
CLASS_COUNTS = (1, 3, NARROW, NARROW + 1, BLOCK, BLOCK + 1)
ODD_END = 2 * BLOCK + 311  # three blocks, and rows that start at odd addresses
# All of these for the dtype of which a thread loads 4 numbers at once. If it loads 8, only class counts that are cut
# differently. For the other dtypes one count with several rows a program, and one without. test_kernels_properties.py
# has any numbers and options.
CASES = [
    *itertools.product(CLASS_COUNTS, (torch.float32,)),
    *itertools.product((3, NARROW + 1, BLOCK + 1), (torch.bfloat16,)),
    *(pytest.param(ODD_END, dtype, marks=pytest.mark.slow) for dtype in (torch.float32, torch.bfloat16)),
    *itertools.product((3, NARROW + 1), (torch.float64, torch.float16)),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in ((BLOCK, torch.bfloat16), (BLOCK + 1, torch.float64))),
]
ROWS = 3


def logits(rows: int, class_count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(class_count)
    return (torch.randn(rows, class_count, generator=generator) * 3).to(dtype)


def classes(rows: int, class_count: int, ignored: tuple[int, ...] = (1,)) -> Tensor:
    target = torch.arange(rows) * 7919 % class_count
    target[rows - 1] = class_count - 1
    target[list(ignored)] = -100
    return target


def class_weight(class_count: int) -> Tensor:
    return torch.linspace(-0.5, 2, class_count, dtype=torch.float64)  # they may be negative, and 0


@pytest.mark.parametrize(("class_count", "dtype"), CASES)
def test_class_targets_are_as_in_float64(class_count, dtype):
    input, target = logits(ROWS, class_count, dtype), classes(ROWS, class_count)
    assert_right(slabs.cross_entropy(input, target, class_weight(class_count), grad=True, outputs=OUTPUTS))
    assert_right(slabs.cross_entropy(input, target, sample_weight=torch.tensor([0.5, 2, -1])))


@pytest.mark.parametrize(("class_count", "dtype"), CASES)
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_places_are_as_in_float64(class_count, dtype, loss):
    input, target = logits(ROWS, class_count, dtype), classes(ROWS, class_count)
    input[0] = input[0].round()  # with ties
    top_k = min(class_count, 5)
    assert_right(getattr(slabs, loss)(input, target, outputs=("predictions", *OF_TARGETS), top_k=top_k))


@pytest.mark.parametrize(("class_count", "dtype"), CASES)
def test_z_loss_is_as_in_float64(class_count, dtype):
    input, target = logits(ROWS, class_count, dtype), classes(ROWS, class_count)
    options: dict[str, Any] = {"z_loss": 0.01, "grad": True, "sample_weight": torch.rand(ROWS)}
    for smoothing in (0.0, 0.1):
        weights = class_weight(class_count)
        assert_right(slabs.cross_entropy(input, target, weights, label_smoothing=smoothing, **options))
    assert_right(slabs.cross_entropy(input, torch.rand(ROWS, class_count), divisor=7.0, **options))


@pytest.mark.parametrize(("class_count", "dtype"), CASES)
def test_smoothed_targets_are_as_in_float64(class_count, dtype):
    input, target, sample_weight = logits(ROWS, class_count, dtype), classes(ROWS, class_count), torch.rand(ROWS)
    options: dict[str, Any] = {"label_smoothing": 0.3, "grad": True, "sample_weight": sample_weight}
    assert_right(slabs.cross_entropy(input, target, class_weight(class_count), outputs=OUTPUTS, **options))
    assert_right(slabs.cross_entropy(input, target, **options))
    assert_right(slabs.cross_entropy(input, target, label_smoothing=1.0, reduction="sum"))


@pytest.mark.parametrize(("class_count", "dtype"), CASES)
def test_probabilities_are_as_in_float64(class_count, dtype):
    input, target = logits(ROWS, class_count, dtype), logits(ROWS, class_count + 1)[:, 1:].softmax(1) * 1.5
    options: dict[str, Any] = {"label_smoothing": 0.3, "grad": True, "sample_weight": torch.rand(ROWS)}
    assert_right(slabs.cross_entropy(input, target, class_weight(class_count), outputs=OUTPUTS, **options))
    assert_right(slabs.cross_entropy(input, target.to(dtype), grad=True))
    assert_right(slabs.cross_entropy(input, target.double()))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("class_count", [1, 3, NARROW + 1])  # one block of columns, and two with a ragged end
def test_nll_loss_is_as_in_float64(class_count, dtype):
    input, target = logits(ROWS, class_count, dtype).log_softmax(1), classes(ROWS, class_count)
    assert_right(slabs.nll_loss(input, target, class_weight(class_count), grad=True, outputs=OUTPUTS))
    assert_right(slabs.nll_loss(input, target, sample_weight=torch.rand(ROWS)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (3, 7), (1025,)])  # one element, a ragged end, and one more than a program's
def test_binary_losses_are_as_in_float64(shape, dtype):
    input, target, weight = torch.randn(shape).to(dtype) * 4, torch.rand(shape).to(dtype), torch.rand(shape)
    options: dict[str, Any] = {"grad": True, "outputs": BINARY_OUTPUTS}
    for weighted, pos_weight in itertools.product((None, weight), (None, weight * 3)):
        assert_right(slabs.binary_cross_entropy_with_logits(input, target, weighted, pos_weight=pos_weight, **options))
    assert_right(slabs.binary_cross_entropy(input.sigmoid(), target, weight, **options))
    assert_right(slabs.binary_cross_entropy(input.sigmoid(), target))


@pytest.mark.parametrize("class_count", [2, 7])
def test_more_rows_than_a_program_takes(class_count):
    rows = row_tile(class_count, torch.float32, elements=True).rows + 1
    input, target = logits(rows, class_count), classes(rows, class_count, ignored=(0, rows - 2))
    incoming = torch.linspace(-1, 1, rows)
    options: dict[str, Any] = {"grad": True, "grad_output": incoming, "reduction": "none"}
    assert_right(slabs.cross_entropy(input, target, outputs=OUTPUTS, **options))
    assert_right(slabs.nll_loss(input, target, outputs=OUTPUTS, **options))


@pytest.mark.slow
def test_a_million_classes():
    input, target = logits(2, 1_000_000), torch.tensor([0, 999_999])
    assert_right(slabs.cross_entropy(input, target, grad=True, label_smoothing=0.1, outputs=("lse", "predictions")))


@pytest.mark.parametrize("grad_dtype", FLOATS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gradient_of_another_dtype(dtype, grad_dtype):
    input, target = logits(ROWS, 5, dtype), classes(ROWS, 5)
    options: dict[str, Any] = {"grad": True, "grad_dtype": grad_dtype}
    assert_right(slabs.cross_entropy(input, target, **options))
    assert_right(slabs.nll_loss(input, target, **options))
    assert_right(slabs.binary_cross_entropy_with_logits(input, input.sigmoid(), **options))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_reference_twin_agrees(label_smoothing):
    input, target, weight = logits(5, 6, torch.float64), classes(5, 6), torch.rand(6, dtype=torch.float64)
    results = by_kernels(
        slabs.cross_entropy(input, target, weight, reduction="sum", label_smoothing=label_smoothing, grad=True)
    )
    twin = reference.cross_entropy(input, target, weight, reduction="none", label_smoothing=label_smoothing)
    torch.testing.assert_close(results.losses, twin.loss, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(results.grad, twin.grad, atol=1e-12, rtol=1e-12)
