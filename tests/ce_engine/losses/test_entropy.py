"""The entropy of a row's distribution, against `torch.distributions` in float64, and PyTorch's error beside ours."""

import math

import pytest
import torch
from torch import tensor
from torch.distributions import Bernoulli, Categorical

import ce_engine
from tests.ce_engine.helpers import FLOATS, TOLERANCES, assert_no_worse
from tests.pairs import pairs
from tests.present import present

INF, NAN = math.inf, math.nan
# One row, one class, rows, sequences, images; a block of many rows, and rows of which a block has few.
SHAPES = [(7,), (4, 1), (33, 10), (4, 5, 3), (2, 5, 3, 4), (70_000, 12), (9, 50_257)]


def of_logits(input, target=None, loss="cross_entropy", **options):
    if target is None:
        target = torch.zeros(input.shape[:1] + input.shape[2:] if input.dim() > 1 else (), dtype=torch.int64)
    return present(getattr(ce_engine, loss)(input, target, outputs=["entropy"], **options).entropy)


def of_elements(loss, input, **options):
    return present(getattr(ce_engine, loss)(input, torch.ones_like(input), outputs=["entropy"], **options).entropy)


def categorical(input):
    return Categorical(logits=input.movedim(min(1, input.dim() - 1), -1)).entropy()


def assert_right(ours, of_torch, input):
    """Like PyTorch's in float64, and otherwise at most as far as PyTorch's from that, give or take a rounding."""
    wide, truth = ours.dtype, of_torch(input.double())
    assert (wide, ours.shape) == (torch.float64 if input.dtype is torch.float64 else torch.float32, truth.shape)
    if wide is torch.float64:
        torch.testing.assert_close(ours, truth, atol=1e-12, rtol=1e-12)
    else:
        assert_no_worse(ours, of_torch(input.to(wide)), truth, size=max(1, float(truth.max())))


@pytest.mark.parametrize(("shape", "scale", "dtype"), pairs(SHAPES, (0.1, 3, 30), FLOATS))
def test_entropy_is_no_worse_than_that_of_torch(shape, scale, dtype):
    torch.manual_seed(0)
    input = (torch.randn(shape, dtype=torch.float64) * scale).to(dtype)
    for grad in (False, True):
        ours = of_logits(input, grad=grad)
        assert_right(ours, categorical, input)
        assert (ours >= 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("options", [{"label_smoothing": 0.3}, {"weight": torch.rand(9)}, {"reduction": "none"}, {}])
def test_entropy_is_of_the_input_alone(options, dtype):
    input = torch.randn(6, 9, dtype=dtype) * 5
    target, probabilities = torch.randint(9, (6,)), torch.rand(6, 9, dtype=dtype)
    target[3] = -100
    plain = of_logits(input)
    for other in (target, probabilities):
        assert torch.equal(of_logits(input, other, sample_weight=torch.rand(6), grad=True, **options), plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_probabilities_have_the_entropy_of_their_distribution(dtype):
    log_p = (torch.randn(4, 7, 3, dtype=torch.float64) * 3).log_softmax(1).to(dtype)
    truth = -(log_p.double().exp() * log_p.double()).sum(1)
    torch.testing.assert_close(of_logits(log_p, loss="nll_loss").double(), truth, atol=4 * TOLERANCES[dtype], rtol=0)
    assert torch.equal(of_logits(log_p, loss="nll_loss"), of_logits(log_p))


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("row", "entropy"),
    [
        ([-INF, 0, 0, 0], math.log(3)),
        ([-INF, -INF, 2, -INF], 0),
        ([0, -6e4, 0, -6e4], math.log(2)),
        ([6e4, -6e4, 6e4, -INF], math.log(2)),
        ([0, 0, 0, INF], NAN),
        ([INF, INF, -INF, 0], NAN),
        ([-INF, -INF, -INF, -INF], NAN),
        ([0, NAN, 0, 0], NAN),
    ],
)
def test_rows_with_extreme_numbers(row, entropy, dtype, loss):
    input = tensor([row, [0.0] * 4], dtype=dtype)
    ours = of_logits(input, loss=loss)
    expected = tensor([entropy, math.log(4)], dtype=ours.dtype)
    torch.testing.assert_close(ours, expected, equal_nan=True)
    torch.testing.assert_close(ours[:1].isnan(), input[:1].softmax(1).isnan().any(1))


def test_difference_of_the_largest_numbers_is_certain():
    largest = torch.finfo(torch.float32).max
    assert of_logits(tensor([[largest, -largest, -largest]])).item() == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_class_is_certain(dtype):
    ours = of_logits(torch.randn(5, 1).to(dtype))
    assert ours.tolist() == [0] * 5
    assert not ours.signbit().any()


@pytest.mark.parametrize("dtype", FLOATS)
def test_elements_have_the_entropy_of_their_bernoulli_distribution(dtype):
    torch.manual_seed(0)
    logits = (torch.randn(3, 40, 7, dtype=torch.float64) * 4).to(dtype)
    weights = {"weight": torch.rand(7), "sample_weight": torch.rand(logits.shape)}
    for options in ({}, {"grad": True, **weights}):
        of_probabilities = of_elements("binary_cross_entropy", logits.sigmoid(), **options)
        assert_right(of_probabilities, lambda p: Bernoulli(probs=p).entropy(), logits.sigmoid())
        ours = of_elements("binary_cross_entropy_with_logits", logits, **options)
        assert_right(ours, lambda x: Bernoulli(logits=x).entropy(), logits)
    assert torch.equal(of_elements("binary_cross_entropy_with_logits", logits, pos_weight=torch.rand(7)), ours)


@pytest.mark.parametrize("dtype", FLOATS)
def test_logits_of_elements_may_be_infinite(dtype):
    input = tensor([INF, -INF, NAN, 0.0, 6e4, -6e4], dtype=dtype)
    ours = of_elements("binary_cross_entropy_with_logits", input)
    expected = tensor([0, 0, NAN, math.log(2), 0, 0], dtype=ours.dtype)
    torch.testing.assert_close(ours, expected, equal_nan=True)


def test_small_entropies_of_elements_keep_their_digits():
    logits = tensor([10.0, -20, 40, -80])  # p below one half; 1 - p is not a float32 for the last three
    exact = logits.double().abs()
    odds = (-exact).exp()
    truth = odds.log1p() + exact * odds / (1 + odds)
    ours = of_elements("binary_cross_entropy_with_logits", logits).double()
    torch.testing.assert_close(ours, truth, atol=0, rtol=1e-5)
    p = tensor([1e-3, 1e-8, 1e-30])
    truth = -p.double() * p.double().log() + (p.double() - 1) * (-p.double()).log1p()
    torch.testing.assert_close(of_elements("binary_cross_entropy", p).double(), truth, atol=0, rtol=1e-5)


def test_certain_probabilities_have_no_entropy():
    assert of_elements("binary_cross_entropy", tensor([0.0, 1.0, 0.0])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss"])
def test_ignored_rows_have_an_entropy(loss):
    input = torch.randn(3, 5)
    ignoring = of_logits(input, torch.full((3,), -100), loss=loss)
    assert torch.equal(ignoring, of_logits(input, torch.zeros(3).long(), loss=loss))


@pytest.mark.parametrize("shape", [(0, 5), (2, 5, 0)])
def test_no_rows_have_no_entropy(shape):
    assert of_logits(torch.zeros(shape)).numel() == 0


def test_rows_without_classes_have_the_entropy_0():
    result = ce_engine.cross_entropy(torch.zeros(3, 0), torch.zeros(3, 0), outputs=["entropy"])
    assert present(result.entropy).tolist() == [0, 0, 0]


def test_slabs_of_a_batch_have_its_entropies():
    input, target = torch.randn(30, 9), torch.randint(9, (30,))
    batch = ce_engine.SlabBySlab(ce_engine.slabs.cross_entropy, reduction="mean", outputs=["entropy"])
    parts = [ce_engine.evaluate(batch.plan(x, y)) for x, y in zip(input.split(11), target.split(11), strict=True)]
    assert torch.equal(torch.cat([present(part.entropy) for part in parts]), of_logits(input, target))
