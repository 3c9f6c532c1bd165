"""Binary cross-entropy of probabilities and of logits, with finite numbers; test_binary_edges.py has the rest."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import ce_engine
from tests.ce_engine.helpers import FLOATS, HALVES, REDUCTIONS, TOLERANCES, Problem, assert_close, assert_no_worse
from tests.pairs import pairs
from tests.present import present

LOSSES = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
# Any shape is allowed, and each weight's shape that broadcasts to it.
SHAPES: dict[tuple[int, ...], list[tuple[int, ...] | None]] = {
    (): [None, ()],
    (1,): [None, (), (1,)],
    (7,): [None, (), (1,), (7,)],
    (4, 5): [None, (), (1,), (5,), (1, 5), (4, 1), (4, 5)],
    (2, 3, 4, 5): [None, (5,), (3, 1, 1), (2, 1, 4, 1), (2, 3, 4, 5)],
    (0,): [None, (1,), (0,)],
    (4, 0, 2): [None, (2,), (4, 1, 1)],
}


def elements(
    loss: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float64, **weights: tuple[int, ...] | None
) -> Problem:
    """Arguments with weights of the given shapes."""
    generator = torch.Generator().manual_seed(0)

    def random(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)

    logits = (torch.randn(shape, generator=generator, dtype=torch.float64) * 3).to(dtype)
    input = logits if loss in LOSSES[1:] else logits.sigmoid()
    target = random(shape)
    options = {name: None if shape is None else random(shape) for name, shape in weights.items()}
    return Problem(loss, input, target, options)


def assert_agrees(given: Problem, tolerance: float, **options: Any) -> None:
    result, twin = given.ours(**options), given.twin(**options)
    assert_close(result, *given.theirs(**options), tolerance)
    assert_close(result, twin.loss.to(given.input.dtype), present(twin.grad).to(given.input.dtype), tolerance)
    assert result.weight_sum == twin.weight_sum == result.row_count == given.input.numel()
    assert result.ignored_count == 0


@pytest.mark.parametrize(("loss", "shape", "reduction", "dtype"), pairs(LOSSES, SHAPES, REDUCTIONS, TOLERANCES))
def test_torch_and_the_twin_agree(loss, shape, reduction, dtype):
    # The gradient of probabilities is as steep as 1 / p, here up to about 1e4.
    tolerance = TOLERANCES[dtype] * (5 if dtype is torch.float32 else 1)
    for weight in SHAPES[shape]:
        assert_agrees(elements(loss, shape, dtype, weight=weight), tolerance, reduction=reduction)


@pytest.mark.parametrize(("shape", "reduction", "dtype"), pairs(SHAPES, REDUCTIONS, TOLERANCES))
def test_pos_weight_is_that_of_torch(shape, reduction, dtype):
    for weight, pos_weight in itertools.product((None, shape), SHAPES[shape]):
        given = elements(LOSSES[1], shape, dtype, weight=weight, pos_weight=pos_weight)
        assert_agrees(given, TOLERANCES[dtype] * 2, reduction=reduction)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_halves_are_no_worse_than_torch(loss, reduction, dtype):
    weights: dict[str, tuple[int, ...]] = {"weight": (300, 7)} | ({"pos_weight": (7,)} if loss in LOSSES[1:] else {})
    given = elements(loss, (300, 7), dtype, **weights)
    result, (loss, grad) = given.ours(reduction=reduction), given.theirs(reduction=reduction)
    truth = given.twin(reduction=reduction)
    assert_no_worse(result.loss, loss, truth.loss)
    assert_no_worse(result.grad, grad, truth.grad)


@pytest.mark.parametrize("loss", LOSSES)
def test_mean_divides_by_the_elements(loss):
    given = elements(loss, (4, 5))
    doubled = given.ours(weight=torch.full((4, 5), 2.0))
    assert doubled.loss == 2 * given.ours().loss
    assert doubled.weight_sum == 20


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_and_targets_of_any_number(loss):
    given = elements(loss, (4, 5))
    target = torch.randn(4, 5).double() * 10 if loss in LOSSES[1:] else given.target
    assert_agrees(Problem(loss, given.input, target, {"weight": torch.randn(5).double()}), 1e-12)


def test_weight_of_positives_may_be_negative():
    given = elements(LOSSES[1], (4, 5))
    assert_agrees(Problem(given.loss, given.input, given.target, {"pos_weight": torch.randn(5).double()}), 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("other", FLOATS)
@pytest.mark.parametrize("loss", LOSSES)
def test_target_and_weights_of_other_dtypes(loss, other, dtype):
    given = elements(loss, (4, 5), dtype, weight=(5,))
    compute = torch.float64 if dtype is torch.float64 else torch.float32
    target, weight = given.target.to(other), given.options["weight"].to(other)
    result = Problem(loss, given.input, target, {"weight": weight}).ours()
    wide = Problem(loss, given.input.to(compute), target.to(compute), {"weight": weight.to(compute)}).ours()
    assert torch.equal(result.loss, wide.loss)
    assert torch.equal(present(result.grad), present(wide.grad).to(dtype))


def test_logits_are_their_sigmoids():
    given = elements(LOSSES[1], (4, 5), weight=(4, 1))
    by_probability = ce_engine.binary_cross_entropy(given.input.sigmoid(), given.target, given.options["weight"])
    torch.testing.assert_close(given.ours().loss, by_probability.loss, atol=1e-13, rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_that_counts_is_nan_or_zero(loss):
    given = elements(loss, (0, 3))
    assert given.ours().loss.isnan()
    result = given.ours(empty="zero")
    assert (result.loss.item(), result.loss_sum, result.row_count) == (0, 0, 0)
    assert present(result.grad).shape == (0, 3)
