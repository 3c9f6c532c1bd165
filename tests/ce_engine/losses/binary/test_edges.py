"""Binary cross-entropy where it is steep, infinite, or not defined at all."""

import math

import pytest
import torch
from torch import tensor

import ce_engine
from tests.ce_engine.helpers import FLOATS, HALVES, Problem, assert_close
from tests.present import present

PROBABILITIES, LOGITS = "binary_cross_entropy", "binary_cross_entropy_with_logits"
EDGES = tensor([0.0, 1.0, 5e-324, 1e-300, 1e-45, 1e-30, 1 - 2**-53, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("target", [0.0, 1.0, 0.5])
def test_loss_next_to_zero_and_one(target):
    given = Problem(PROBABILITIES, EDGES, torch.full_like(EDGES, target), {"reduction": "none"})
    torch.testing.assert_close(given.ours().loss, given.theirs()[0], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
    ],
)
@pytest.mark.parametrize("target", [0.0, 1.0, 0.5])
def test_gradient_next_to_zero_and_one(target, dtype):
    input = EDGES.to(dtype)
    given = Problem(PROBABILITIES, input, torch.full_like(input, target), {"reduction": "none"})
    torch.testing.assert_close(given.ours().grad, given.theirs()[1], atol=0, rtol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", FLOATS)
def test_clamps_are_those_of_torch(dtype):
    input, target = tensor([0.0, 1.0], dtype=dtype), tensor([1.0, 0.0], dtype=dtype)
    result = ce_engine.binary_cross_entropy(input, target, reduction="none", grad=True, grad_dtype=torch.float64)
    assert result.loss.tolist() == [100, 100]
    torch.testing.assert_close(result.grad, tensor([-1e12, 1e12], dtype=torch.float64), rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_gradients_are_rounded_float32(dtype):
    # In float16 PyTorch's 1e-12 is 0, so its gradient is NaN at a right answer and infinite at a wrong one.
    input, target = tensor([0.0, 1.0, 0.0, 1.0], dtype=dtype), tensor([0.0, 1.0, 1.0, 0.0], dtype=dtype)
    result = Problem(PROBABILITIES, input, target, {"reduction": "sum"}).ours()
    wide = Problem(PROBABILITIES, input.float(), target.float(), {"reduction": "sum"})
    assert_close(wide.ours(), *wide.theirs(), 0)
    assert torch.equal(present(result.grad), present(wide.ours().grad).to(dtype))
    assert present(result.grad)[:2].tolist() == [0, 0]


@pytest.mark.parametrize("value", [1.1, -0.1, 1 + 2**-20, -1e-30, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("size", [3, 1_000_000])
def test_no_probability_is_refused(size, value):
    input = torch.rand(size, 2)
    input[-1, 0] = value
    with pytest.raises(ce_engine.InvalidArgumentError) as raised:
        ce_engine.binary_cross_entropy(input, torch.rand(size, 2))
    position = 2 * (size - 1)
    assert str(raised.value) == (
        f"input: expected probabilities in [0, 1], got {float(input[-1, 0])} at element {position}"
    )


@pytest.mark.parametrize("target", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e4, -1e4, 1e308, -1e308, 0.0, -0.0, 40.0, -40.0])
def test_extreme_logits_are_as_in_torch(value, target):
    input = tensor([value, 1.0], dtype=torch.float64)
    given = Problem(LOGITS, input, torch.full_like(input, target), {"reduction": "none"})
    assert_close(given.ours(), *given.theirs(), 1e-12)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e4, -1e4])
def test_extreme_logits_with_pos_weight(value):
    input, target = torch.full((3,), value).double(), tensor([0.0, 1.0, 0.5]).double()
    given = Problem(LOGITS, input, target, {"pos_weight": tensor(3.0).double(), "reduction": "none"})
    assert_close(given.ours(), *given.theirs(), 1e-12)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_targets_and_weights_not_finite(value):
    input = torch.rand(2, dtype=torch.float64)
    odd = tensor([value, 0.5], dtype=torch.float64)
    for given in (
        Problem(LOGITS, input, odd, {}),
        Problem(LOGITS, input, input, {"weight": odd}),
        Problem(LOGITS, input, input, {"pos_weight": odd}),
        Problem(PROBABILITIES, input, input, {"weight": odd}),
    ):
        assert_close(given.ours(reduction="none"), *given.theirs(reduction="none"), 1e-12)


@pytest.mark.parametrize("value", [1.5, -0.1, math.inf, math.nan])
def test_target_of_no_probability_is_refused(value):
    given = Problem(PROBABILITIES, torch.rand(2), tensor([0.5, value]), {})
    with pytest.raises(RuntimeError, match="all elements of target should be between 0 and 1"):
        given.theirs()
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"target: expected .* in \[0, 1\], got .* at element 1"):
        given.ours()


def test_small_losses_keep_their_digits():
    # log1p(exp(-40)) is 4e-18, but 1 + exp(-40) is rounded to 1.
    result = ce_engine.binary_cross_entropy_with_logits(tensor([40.0, -40.0]).double(), tensor([1.0, 0.0]).double())
    assert float(result.loss) == pytest.approx(math.exp(-40), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": torch.ones(2, 3).long()}, "input: expected one of the dtypes float64, .*, got int64"),
        ({"target": torch.ones(2, 3).long()}, "target: expected one of the dtypes float64, .*, got int64"),
        ({"target": torch.ones(2)}, r"target: expected the input's shape \(2, 3\), got \(2,\)"),
        ({"target": torch.ones(1, 3)}, r"target: expected the input's shape \(2, 3\), got \(1, 3\)"),
        ({"weight": torch.ones(2)}, r"weight: .* broadcasts to the input's \(2, 3\), got \(2,\)"),
        ({"weight": torch.ones(1, 2, 3)}, r"weight: .* broadcasts to the input's \(2, 3\), got \(1, 2, 3\)"),
        ({"weight": torch.ones(3).long()}, "weight: expected one of the dtypes float64, .*, got int64"),
        ({"outputs": ["lse"]}, "outputs: expected no 'lse'"),
        ({"reduction": "avg"}, "reduction: expected one of 'none', 'mean', 'sum', got 'avg'"),
        ({"empty": "one"}, "empty: expected one of 'nan', 'zero', got 'one'"),
    ],
)
@pytest.mark.parametrize("loss", [PROBABILITIES, LOGITS])
def test_wrong_value_is_refused_by_its_name(loss, arguments, message):
    with pytest.raises(ce_engine.InvalidArgumentError, match=message):
        getattr(ce_engine, loss)(**{"input": torch.rand(2, 3), "target": torch.rand(2, 3), **arguments})


@pytest.mark.parametrize("shape", [(2,), (4, 2, 3), (1, 2, 3)])
def test_pos_weight_has_to_broadcast(shape):
    with pytest.raises(ce_engine.InvalidArgumentError, match=r"pos_weight: .* broadcasts to the input's \(2, 3\)"):
        ce_engine.binary_cross_entropy_with_logits(torch.rand(2, 3), torch.rand(2, 3), pos_weight=torch.ones(shape))
