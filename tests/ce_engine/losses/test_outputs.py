"""Outputs of the same pass other than the loss and the gradient."""

import itertools
import math

import pytest
import torch
from torch import tensor
from torch.nn import functional as F

import ce_engine
from tests.ce_engine.helpers import FLOATS, PROBLEMS, Problem, loss_shape, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

ALL = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
SHAPES = [(5,), (4, 5), (4, 1), (4, 5, 3), (2, 5, 3, 2), (0, 5), (2, 5, 0), (700, 3, 300)]  # the last: many blocks
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


def available(given):
    return [name for name in ALL if name != "lse" or given.loss not in BINARY]


def expected(given):
    """The outputs by PyTorch, from the input in the dtype of the computation."""
    x = given.input if given.input.dtype is torch.float64 else given.input.float()
    if given.loss == "binary_cross_entropy":
        outputs = {"probabilities": x, "log_probabilities": x.log().clamp(min=-100), "predictions": (x > 0.5).long()}
        return outputs | {"entropy": torch.special.entr(x) + torch.special.entr(1 - x)}
    if given.loss == "binary_cross_entropy_with_logits":
        outputs = {"probabilities": x.sigmoid(), "log_probabilities": F.logsigmoid(x), "predictions": (x > 0).long()}
        return outputs | {"entropy": torch.special.entr(x.sigmoid()) + torch.special.entr((-x).sigmoid())}
    classes = min(1, x.dim() - 1)
    log_p = x if given.loss == "nll_loss" else x.log_softmax(classes)
    outputs = {"lse": x.logsumexp(classes), "probabilities": log_p.exp(), "log_probabilities": log_p}
    entropy = torch.special.entr(x.softmax(classes)).sum(classes)
    return outputs | {"predictions": x.argmax(classes), "entropy": entropy}


def correct(given, predictions):
    if given.loss in BINARY:
        return int((predictions == (given.target > 0.5)).sum())
    classes = min(1, given.input.dim() - 1)
    right = given.target.argmax(classes) if given.target.is_floating_point() else given.target
    return int((predictions == right).sum())  # no prediction is -100


def assert_outputs(result, given, tolerance):
    wanted = expected(given)
    for name, output in wanted.items():
        torch.testing.assert_close(getattr(result, name), output, atol=tolerance, rtol=tolerance, equal_nan=True)
    assert result.correct_count == correct(given, wanted["predictions"])


@pytest.mark.parametrize(("kind", "shape", "dtype", "grad"), pairs(PROBLEMS, SHAPES, FLOATS, (False, True)))
def test_outputs_are_those_of_torch(kind, shape, dtype, grad):
    given = problem(kind, shape, dtype)
    result = given.ours(grad=grad, outputs=available(given))
    assert_outputs(result, given, 1e-12 if dtype is torch.float64 else 5e-6)
    assert (result.grad is not None) == grad


@pytest.mark.parametrize(
    ("kind", "shape", "dtype", "grad_dtype"), pairs(PROBLEMS, SHAPES, FLOATS, (torch.float64, torch.float16))
)
def test_outputs_beside_a_gradient_of_another_dtype_are_those_of_torch(kind, shape, dtype, grad_dtype):
    given = problem(kind, shape, dtype)
    result = given.ours(grad=True, grad_dtype=grad_dtype, outputs=available(given))
    assert_outputs(result, given, 1e-12 if dtype is torch.float64 else 5e-6)
    assert torch.equal(present(result.grad), present(given.ours(grad_dtype=torch.float64).grad).to(grad_dtype))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_each_choice_of_outputs_is_kept_to(kind, dtype):
    given = problem(kind, dtype=dtype)
    plain, whole = given.ours(), given.ours(outputs=available(given))
    for count, grad in itertools.product(range(len(ALL)), (False, True)):
        for outputs in itertools.combinations(available(given), count):
            result = given.ours(outputs=outputs, grad=grad)
            assert {name for name in ALL if getattr(result, name) is not None} == set(outputs)
            assert (result.correct_count is not None) == ("predictions" in outputs)
            for name in outputs:
                torch.testing.assert_close(getattr(result, name), getattr(whole, name))
            torch.testing.assert_close(result.loss, plain.loss)
            assert not grad or torch.allclose(present(result.grad), present(plain.grad))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_outputs_have_dtypes_and_shapes(kind, dtype):
    given = problem(kind, dtype=dtype)
    result, wide = given.ours(outputs=available(given)), torch.float64 if dtype is torch.float64 else torch.float32
    for name in available(given):
        output = getattr(result, name)
        assert output.dtype == (torch.int64 if name == "predictions" else wide)
        assert output.shape == (given.input.shape if "prob" in name else loss_shape(given))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e4, -1e4])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "probabilities", "nll_loss", "with_logits"])
def test_extreme_inputs_are_as_in_torch(kind, grad, value):
    given = problem(kind, (6, 5))
    given.input[0, 3] = value
    given.input[1] = value
    given.input[2, :4] = value
    given.input[3, [1, 4]] = -value
    assert_outputs(given.ours(grad=grad, outputs=available(given)), given, 1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, 1e-300])
def test_probabilities_next_to_zero_and_one(value):
    given = Problem("binary_cross_entropy", tensor([value, 0.3]).double(), tensor([1.0, 0.0]).double(), {})
    assert_outputs(given.ours(outputs=available(given)), given, 1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("arrange", [lambda x: x, lambda x: x.mT.contiguous().mT], ids=["rows", "columns"])
def test_first_class_wins_a_tie(arrange, kind, dtype):
    # 1000 classes: more than a vector holds, and more than a vectorized search looks at in one step.
    input = torch.zeros(1000, 1000, dtype=dtype)
    input.masked_fill_(torch.arange(1000) >= torch.arange(1000)[:, None], 1)  # row i: i zeros, then ones
    loss = getattr(ce_engine, {"nll_loss": "nll_loss"}.get(kind, "cross_entropy"))
    result = loss(arrange(input), torch.arange(1000), outputs=["predictions"])
    assert torch.equal(result.predictions, torch.arange(1000))
    assert result.correct_count == 1000


def test_first_class_wins_a_tie_of_targets():
    result = ce_engine.cross_entropy(tensor([[1.0, 2, 2]]), tensor([[0.2, 0.4, 0.4]]), outputs=["predictions"])
    assert result.correct_count == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_half_is_negative(dtype):
    probability, logit = tensor([0.5], dtype=dtype), tensor([0.0], dtype=dtype)
    above = [torch.nextafter(x, torch.ones_like(x)) for x in (probability, logit)]
    for loss, at, over in zip(BINARY, (probability, logit), above, strict=True):
        for x, positive in ((at, 0), (over, 1)):
            result = getattr(ce_engine, loss)(x, probability, outputs=["predictions"])
            assert result.predictions.tolist() == [positive]
            assert result.correct_count == 1 - positive


@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "nll_loss"])
def test_ignored_rows_have_outputs(kind):
    given = problem(kind, (6, 5))
    target = given.input.argmax(1)
    target[[1, 4]] = 0
    given.input[1, 0] = 100  # its prediction is ignore_index itself
    ignoring = Problem(given.loss, given.input, target, {"ignore_index": 0})
    result = ignoring.ours(outputs=ALL)
    wanted = expected(given)
    assert all(torch.allclose(getattr(result, name), wanted[name]) for name in ALL)
    assert result.correct_count == result.row_count == int((target != 0).sum())


@pytest.mark.parametrize("outputs", ["lse", ["logits"], ["predictions", 3]])
def test_unknown_output_is_refused(outputs):
    with pytest.raises(ce_engine.InvalidArgumentError, match="outputs: expected a collection of any of 'lse', "):
        problem("cross_entropy").ours(outputs=outputs)
