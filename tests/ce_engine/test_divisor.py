"""A divisor in place of the sum of weights, as for the tokens of all ranks."""

import math

import pytest
import torch

import ce_engine
from ce_engine import InvalidArgumentError, slabs
from tests.ce_engine.helpers import PROBLEMS, problem
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")


@pytest.mark.parametrize("kind", PROBLEMS)
def test_mean_is_divided_by_it(kind):
    one = problem(kind)
    ours, summed, mean = one.ours(divisor=7.0), one.ours(reduction="sum"), one.ours()
    torch.testing.assert_close(ours.loss, summed.loss / 7, rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.grad, present(summed.grad) / 7, rtol=1e-14, atol=0)
    for name in ("loss_sum", "weight_sum", "row_count", "ignored_count"):
        assert getattr(ours, name) == getattr(mean, name), name


@pytest.mark.parametrize("kind", PROBLEMS)
def test_twin_agrees(kind):
    one = problem(kind)
    ours, twin = one.ours(divisor=3), one.twin(divisor=3)
    torch.testing.assert_close(ours.loss, twin.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, twin.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("empty", ["nan", "zero"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_mean_of_nothing_is_zero(loss, empty):
    target = torch.full((3,), -100)
    result = getattr(ce_engine, loss)(torch.randn(3, 5), target, grad=True, divisor=2.0, empty=empty)
    assert float(result.loss) == 0
    assert not present(result.grad).any()
    assert (result.weight_sum, result.row_count) == (0, 0)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_mean_of_no_elements_is_zero(loss):
    assert float(getattr(ce_engine, loss)(torch.zeros(0), torch.zeros(0), divisor=2.0).loss) == 0


def test_incoming_gradient_is_divided_too():
    x, target = torch.randn(4, 5, dtype=torch.float64), torch.randint(5, (4,))
    incoming = torch.tensor(0.3, dtype=torch.float64)
    ours = ce_engine.cross_entropy(x, target, grad=True, grad_output=incoming, divisor=9.0)
    summed = ce_engine.cross_entropy(x, target, "complement", reduction="sum", grad=True)
    whole = ce_engine.cross_entropy(x, target, reduction="sum", grad=True)
    torch.testing.assert_close(ours.grad, present(whole.grad) * 0.3 / 9, rtol=1e-14, atol=0)
    assert summed.weight_sum != whole.weight_sum


def test_stacked_requests_share_it():
    x, target = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    stacked = ce_engine.evaluate_stacked(slabs.cross_entropy, x, target, grad=True, divisor=11.0)
    for number in range(3):
        alone = ce_engine.cross_entropy(x[number], target[number], grad=True, divisor=11.0)
        assert torch.equal(stacked[number].loss, alone.loss)
        assert torch.equal(present(stacked[number].grad), present(alone.grad))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divisor": 0}, "divisor: expected a number from 1e-15 to 1e15, got 0"),
        ({"divisor": -1.0}, "divisor: expected a number from 1e-15 to 1e15, got -1.0"),
        ({"divisor": True}, r"divisor: expected float \| int, got bool"),
        ({"divisor": 1e-320}, "divisor: expected a number from 1e-15 to 1e15, got 1e-320"),
        ({"divisor": 10**400}, "divisor: expected a number from 1e-15 to 1e15, got 1000"),
        ({"divisor": math.nan}, "divisor: expected a number from 1e-15 to 1e15, got nan"),
        ({"divisor": math.inf}, "divisor: expected a number from 1e-15 to 1e15, got inf"),
        ({"divisor": "3"}, "divisor: expected .*, got str"),
        ({"divisor": 2.0, "reduction": "sum"}, "divisor: expected reduction 'mean' with it, got 'sum'"),
        ({"divisor": 2.0, "reduction": "none"}, "divisor: expected reduction 'mean' with it, got 'none'"),
    ],
)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_wrong_divisors_are_named(kind, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        problem(kind).ours(**options)
