"""What is told of a row's target, and the largest classes: places in the order of the row's input."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from ce_engine import InvalidArgumentError
from tests.ce_engine.helpers import FLOATS, Problem, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

STEP = 32  # classes that are computed at a time in float32: fewer are computed row beside row
OF_TARGETS = ("target_log_probabilities", "target_ranks")
CLASS_LOSSES = ("cross_entropy", "nll_loss")
NUMBERS = {
    "different": lambda shape: torch.randn(shape),
    "tied": lambda shape: torch.randint(-2, 3, shape) * 0.5 * torch.tensor(-1.0),  # both 0 and -0
    "all equal": lambda shape: torch.full(shape, 3.0),
    "ascending": lambda shape: torch.arange(shape[1]).float().view(-1, *[1] * (len(shape) - 2)).expand(shape) / 4,
    "some NaN": lambda shape: torch.where(torch.rand(shape) < 0.2, math.nan, torch.randn(shape)),
    "all NaN": lambda shape: torch.full(shape, math.nan),
    "masked": lambda shape: torch.where(torch.rand(shape) < 0.6, -math.inf, torch.randn(shape)),
    "all masked": lambda shape: torch.full(shape, -math.inf),
    "some infinite": lambda shape: torch.where(torch.rand(shape) < 0.1, math.inf, torch.randn(shape)),
}


def rows_of(x):  # (R, C)
    return x.movedim(1, -1).reshape(-1, x.shape[1]) if x.dim() > 1 else x[None]


def assert_places(result, one, top_k):
    """Compares with a stable sort in float64, in which NaN is larger than all numbers."""
    x = rows_of(one.input.double())
    log_p = x if one.loss == "nll_loss" else x.log_softmax(1)
    order = torch.sort(x, dim=1, descending=True, stable=True).indices
    shape = result.target_ranks.shape
    target = one.target.reshape(-1)
    counts = target != -100
    index = target.where(counts, torch.zeros(())).long()[:, None]
    ranks = torch.where(counts, (order == index).int().argmax(1) + 1, 0)
    assert torch.equal(result.target_ranks, ranks.view(shape))
    assert torch.equal((result.target_ranks == 1) & counts.view(shape), result.predictions == one.target)
    assert_numbers(result.target_log_probabilities, log_p.gather(1, index)[:, 0].where(counts, torch.zeros(())), shape)
    assert torch.equal(result.top_classes, order[:, :top_k].reshape(*shape, top_k))
    assert_numbers(result.top_log_probabilities, log_p.gather(1, order[:, :top_k]), (*shape, top_k))


def assert_numbers(ours, truth, shape):
    tolerance = 1e-12 if ours.dtype is torch.float64 else 5e-6
    torch.testing.assert_close(ours.double(), truth.view(shape), atol=tolerance, rtol=tolerance, equal_nan=True)


def evaluated(one, top_k, **options):
    return one.ours(outputs=(*OF_TARGETS, "predictions"), top_k=top_k, **options)


def of_random_targets(loss, x):
    target = torch.randint(x.shape[1], (x.shape[0], *x.shape[2:]))
    target[1::3] = -100
    return Problem(loss, x, target, {})


@pytest.mark.parametrize(
    ("loss", "numbers", "dtype", "classes", "top_k"),
    pairs(CLASS_LOSSES, NUMBERS, FLOATS, (1, 2, 15, STEP - 1, STEP, STEP + 1, 130, 1000), (1, 5, 16, 17, 256)),
)
@pytest.mark.parametrize("rest", [(), (19,)])
def test_places_are_those_of_a_stable_sort(loss, numbers, dtype, classes, top_k, rest):
    torch.manual_seed(0)
    one = of_random_targets(loss, NUMBERS[numbers]((23, classes, *rest)).to(dtype))
    top_k = min(top_k, classes)
    for grad in (False, True):
        assert_places(evaluated(one, top_k, grad=grad), one, top_k)


@pytest.mark.parametrize("top_k", [1, 20, 256])
def test_places_of_a_large_vocabulary(top_k):
    torch.manual_seed(0)
    one = of_random_targets("cross_entropy", torch.randn(3, 262_144))
    assert_places(evaluated(one, top_k), one, top_k)


@pytest.mark.parametrize("classes", [7, 100])
@pytest.mark.parametrize("loss", CLASS_LOSSES)
def test_all_classes_may_be_wanted(loss, classes):
    one = of_random_targets(loss, torch.randn(4, classes))
    result = evaluated(one, classes)
    assert_places(result, one, classes)
    assert torch.equal(present(result.top_classes).sort(1).values, torch.arange(classes).expand(4, -1))


@pytest.mark.parametrize("loss", CLASS_LOSSES)
def test_ignored_rows_have_largest_classes_but_no_target(loss):
    x = torch.randn(3, 50)
    result = evaluated(Problem(loss, x, torch.full((3,), -100), {}), 2)
    assert torch.equal(present(result.top_classes), x.topk(2).indices)
    assert present(result.target_ranks).tolist() == [0, 0, 0]
    assert present(result.target_log_probabilities).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(0, 5), (2, 5, 0), (5,)])
def test_any_shape_has_its_places(shape):
    one = problem("cross_entropy", shape)
    assert_places(evaluated(one, 3), one, 3)


@given(
    loss=st.sampled_from(CLASS_LOSSES),
    numbers=st.lists(
        st.sampled_from([0.0, -0.0, 1.0, 2.5, -1.0, math.inf, -math.inf, math.nan]), min_size=1, max_size=90
    ),
    dtype=st.sampled_from(FLOATS),
    data=st.data(),
)
def test_any_numbers_have_their_places(loss, numbers, dtype, data):
    target = torch.tensor([data.draw(st.integers(0, len(numbers) - 1))])
    top_k = data.draw(st.integers(1, len(numbers)))
    one = Problem(loss, torch.tensor([numbers]).to(dtype), target, {})
    assert_places(evaluated(one, top_k), one, top_k)


@pytest.mark.parametrize("kind", ["cross_entropy", "smoothed", "probabilities", "nll_loss"])
def test_places_change_no_other_result(kind):
    one = problem(kind, (50, 40))
    wanted = ("lse", "entropy", "predictions", "probabilities")
    more = () if kind == "probabilities" else OF_TARGETS
    plain, whole = one.ours(outputs=wanted), one.ours(outputs=(*wanted, *more), top_k=7)
    for name in ("loss", "grad", *wanted):
        assert torch.equal(getattr(whole, name), getattr(plain, name)), name


@pytest.mark.parametrize("kind", ["cross_entropy", "nll_loss"])
def test_twin_agrees_on_places(kind):
    one = problem(kind, (4, 6, 3))
    ours, twin = evaluated(one, 4), one.twin(top_k=4)
    for name in (*OF_TARGETS, "top_classes", "top_log_probabilities"):
        torch.testing.assert_close(getattr(ours, name), getattr(twin, name), rtol=1e-12, atol=1e-12)


LOGITS, CLASSES = torch.zeros(2, 5), torch.tensor([0, 1])
WRONG = [
    (
        "cross_entropy",
        torch.rand(2, 5),
        {"outputs": ["target_ranks"]},
        "outputs: expected no 'target_ranks', which prob",
    ),
    (
        "binary_cross_entropy",
        torch.rand(2, 5),
        {"outputs": ["target_log_probabilities"]},
        "outputs: expected no 'target_l",
    ),
    ("binary_cross_entropy_with_logits", torch.rand(2, 5), {"top_k": 1}, "top_k: expected 0 for binary losses.*got 1"),
    ("cross_entropy", CLASSES, {"top_k": 6}, "top_k: expected at most the number of classes, 5, got 6"),
    ("cross_entropy", CLASSES, {"top_k": 257}, r"top_k: expected an integer in \[0, 256\], got 257"),
    ("nll_loss", CLASSES, {"top_k": -1}, r"top_k: expected an integer in \[0, 256\], got -1"),
    ("nll_loss", CLASSES, {"top_k": True}, "top_k: expected int, got bool"),
    ("nll_loss", CLASSES, {"top_k": 2.0}, "top_k: expected int, got float"),
    (
        "cross_entropy",
        CLASSES,
        {"top_k": 6, "checked": True},
        "top_k: expected at most the number of classes, 5, got 6",
    ),
]


@pytest.mark.parametrize(("loss", "target", "options", "message"), WRONG)
def test_wrong_arguments_are_named(loss, target, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        getattr(ce_engine, loss)(LOGITS, target, **options)
