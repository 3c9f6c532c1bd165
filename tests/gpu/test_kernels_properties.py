"""For any options and values, the kernels' results are the CPU path's results in float64."""

from typing import Any

import pytest
import torch

from ce_engine import slabs
from ce_engine._slab import Slab
from tests.gpu.helpers import BINARY_OUTPUTS, OF_TARGETS, OUTPUTS, assert_right

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([float("inf"), float("-inf"), float("nan"), 0.0]))
WEIGHTS = st.floats(-2, 2)
few = settings(max_examples=100, deadline=None)  # of 10 to 20 ms each


def tensors(values: st.SearchStrategy[float], *shape: int) -> st.SearchStrategy[torch.Tensor]:
    count = torch.Size(shape).numel()
    return st.lists(values, min_size=count, max_size=count).map(
        lambda numbers: torch.tensor(numbers, dtype=torch.float64).reshape(shape)
    )


@st.composite
def common(draw: st.DrawFn, rows: tuple[int, ...], outputs: tuple[str, ...]) -> dict[str, Any]:
    return {
        "grad": draw(st.booleans()),
        "outputs": tuple(draw(st.sets(st.sampled_from(outputs)))),
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "sample_weight": draw(st.none() | tensors(WEIGHTS, *rows)),
    }


@st.composite
def class_slabs(draw: st.DrawFn) -> Slab:
    rows, class_count = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 3, 16, 17]))
    input = draw(tensors(VALUES, rows, class_count))
    classes = st.one_of(st.integers(0, class_count - 1), st.just(-100))
    target = torch.tensor(draw(st.lists(classes, min_size=rows, max_size=rows)))
    loss = draw(st.sampled_from(["nll_loss", "cross_entropy", "probabilities"]))
    outputs = OUTPUTS if loss == "probabilities" else (*OUTPUTS, *OF_TARGETS)
    weight, options = draw(st.none() | tensors(WEIGHTS, class_count)), draw(common((rows,), outputs))
    options["top_k"] = draw(st.integers(0, class_count))
    if loss == "nll_loss":
        return slabs.nll_loss(input, target, weight, **options)
    if loss == "probabilities":
        target = draw(tensors(st.floats(-1, 2), rows, class_count))
    options |= {"label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])), "z_loss": draw(st.sampled_from([0.0, 0.01]))}
    return slabs.cross_entropy(input, target, weight, **options)


@st.composite
def binary_slabs(draw: st.DrawFn) -> Slab:
    shape = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    target, weight = draw(tensors(st.floats(0, 1), *shape)), draw(st.none() | tensors(WEIGHTS, *shape))
    options = draw(common(shape, BINARY_OUTPUTS))
    if draw(st.booleans()):
        return slabs.binary_cross_entropy(draw(tensors(st.floats(0, 1), *shape)), target, weight, **options)
    pos_weight, input = draw(st.none() | tensors(WEIGHTS, *shape)), draw(tensors(VALUES, *shape))
    return slabs.binary_cross_entropy_with_logits(input, target, weight, pos_weight=pos_weight, **options)


@pytest.mark.slow
@few
@given(class_slabs())
def test_any_rows_are_as_in_float64(slab):
    assert_right(slab)


@pytest.mark.slow
@few
@given(binary_slabs())
def test_any_elements_are_as_in_float64(slab):
    assert_right(slab)
