"""The bits of a row depend neither on its companions, nor on its position among them, nor on their columns."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from ce_engine import slabs
from ce_engine.gpu._tiles import KEPT_NUMBERS, KEPT_WARPS, WARP
from tests.gpu.helpers import BINARY_OUTPUTS, OF_TARGETS, OUTPUTS, assert_same_bits, by_kernels, row
from tests.pairs import pairs
from tests.present import present

BLOCK = KEPT_WARPS * WARP * KEPT_NUMBERS


# 130 rows of 3 classes are in two programs; then programs of a few rows, of one row, and of one in two blocks.
SIZES = ((130, 3), (6, 1000), (3, 1100), (3, BLOCK + 8))
TARGETS = ("class", "smoothed class", "probabilities")


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dtype", "target_of"), pairs(SIZES, (torch.float32, torch.bfloat16), TARGETS))
def test_company_changes_no_bit(size, dtype, target_of):
    rows, class_count = size
    input = (torch.randn(rows, class_count) * 5).to(dtype)
    target, weight = torch.randint(class_count, (rows,)), torch.rand(class_count)
    options: dict[str, Any] = {"weight": weight, "grad": True, "reduction": "sum", "outputs": OUTPUTS}
    options |= {"top_k": 3, "z_loss": 0.01}
    if target_of == "smoothed class":
        options["label_smoothing"] = 0.1
    if target_of == "probabilities":
        target = torch.rand(rows, class_count)
    else:
        options["outputs"] = (*OUTPUTS, *OF_TARGETS)
    incoming = torch.full((), 0.3)
    together = by_kernels(slabs.cross_entropy(input, target, grad_output=incoming, **options))
    for i in {0, 1, rows - 1}:
        one = slabs.cross_entropy(input[i : i + 1], target[i : i + 1], grad_output=incoming, **options)
        assert_same_bits(by_kernels(one), row(together, i))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_neutral_columns_change_no_bit(smoothing):
    # A slab gets these columns if it is merged with slabs that have weights, ignored rows and scales.
    rows, ones = 5, torch.ones(5)
    slab = slabs.cross_entropy(
        torch.randn(rows, 100), torch.randint(100, (rows,)), grad=True, label_smoothing=smoothing, outputs=OUTPUTS
    )
    columns = {
        "ignored": torch.zeros(rows, dtype=torch.bool),
        "weight": ones,
        "scale": present(slab.rows.scale).clone(),
    }
    if smoothing:
        columns["sample_weight"] = ones
    merged = replace(slab, rows=slab.rows._replace(**columns))
    assert_same_bits(by_kernels(merged), by_kernels(slab))


def test_neutral_elements_change_no_bit():
    input, target, ones = torch.randn(300) * 5, torch.rand(300), torch.ones(300)
    slab = slabs.binary_cross_entropy_with_logits(input, target, grad=True, outputs=BINARY_OUTPUTS)
    merged = replace(
        slab, rows=slab.rows._replace(weight=ones, pos_weight=ones, scale=present(slab.rows.scale).clone())
    )
    assert_same_bits(by_kernels(merged), by_kernels(slab))
    first = slabs.binary_cross_entropy_with_logits(
        input[7:8], target[7:8], grad=True, outputs=BINARY_OUTPUTS, grad_output=torch.tensor(1 / 300)
    )
    assert_same_bits(by_kernels(first), row(by_kernels(slab), 7))
