"""Targets that have the log-probabilities of some classes only."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from ce_engine import reference
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import FLOATS, INTEGERS, TOLERANCES, assert_close
from tests.ce_engine.losses.divergences.examples import KINDS, TAILS, by_torch, gradient, named, pair
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

COUNTS = (0, 1, 5, 256)


@pytest.mark.parametrize(("kind", "tail", "count"), pairs(KINDS, TAILS, COUNTS))
def test_the_twin_agrees(kind, tail, count):
    x, y = pair(2, 3, 700)
    log_p, classes = named(y, count)
    options: dict[str, Any] = {"divergence": kind, "tail": tail, "target_classes": classes, "reduction": "none"}
    twin = reference.kl_divergence(x, log_p, **options)
    assert_close(ce_engine.kl_divergence(x, log_p, grad=True, **options), twin.loss, twin.grad, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", TAILS)
def test_all_classes_are_a_whole_distribution(kind, tail):
    x, y = pair(4, 20)
    log_p, classes = named(y, 20)
    result = ce_engine.kl_divergence(
        x, log_p, divergence=kind, tail=tail, target_classes=classes, reduction="none", grad=True
    )
    assert_close(result, by_torch(x, y, kind), gradient(x, y, divergence=kind), 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_renormalized_distributions_are_those_of_the_named_logits(kind):
    x, y = pair(4, 20)
    classes = named(y, 6)[1]
    options: dict[str, Any] = {"divergence": kind, "temperature": 2.5, "reduction": "none"}
    result = ce_engine.kl_divergence(
        x, y.gather(1, classes), target_classes=classes, tail="renormalize", grad=True, **options
    )
    some = x.gather(1, classes), y.gather(1, classes)
    expected = torch.zeros_like(x).scatter(1, classes, gradient(*some, divergence=kind, temperature=2.5))
    assert_close(result, by_torch(*some, kind, temperature=2.5), expected, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_bin_is_one_class_more(kind):
    x, y = pair(4, 20)
    log_p, classes = y.log_softmax(1)[:, :6], torch.arange(6).expand(4, 6)
    a, b = (torch.cat([logits[:, :6], logits[:, 6:].logsumexp(1, keepdim=True)], 1) for logits in (x, y))
    result = ce_engine.kl_divergence(
        x, log_p, divergence=kind, tail="one_bin", target_classes=classes, reduction="none"
    )
    torch.testing.assert_close(result.loss, by_torch(a, b, kind), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_entry_without_a_share_names_nothing(kind, tail):
    x, y = pair(3, 40)
    log_p, classes = named(y, 4)
    options: dict[str, Any] = {"divergence": kind, "tail": tail, "reduction": "none", "grad": True}
    plain = ce_engine.kl_divergence(x, log_p, target_classes=classes, **options)
    padding = torch.tensor([[-1, 2**40, 3, 3]]).expand(3, 4)
    wide = torch.cat([torch.full((3, 4), -math.inf), log_p], 1), torch.cat([padding, classes], 1)
    result = ce_engine.kl_divergence(x, wide[0], target_classes=wide[1], **options)
    assert_close(result, plain.loss, plain.grad, 1e-14)


@pytest.mark.parametrize("tail", TAILS)
def test_target_that_names_nothing(tail):
    x, classes = pair(2, 5)[0], torch.zeros(2, 3).long()
    log_p = torch.full((2, 3), -math.inf)
    result = ce_engine.kl_divergence(x, log_p, target_classes=classes, tail=tail, grad=True, outputs=["predictions"])
    assert abs(result.loss) < 1e-15
    assert present(result.grad).abs().max() < 1e-15
    assert result.correct_count == 0


@pytest.mark.parametrize("kind", KINDS)
def test_rest_that_is_hardly_there_has_its_share(kind):
    # The named class has all but 1e-15 of q: 1 less its share would be a rounding error.
    x = torch.tensor([[40.0, 5.0, 5.0]])
    log_p, classes = torch.tensor([[0.9, 0.1 - 1e-6]]).log()[:, :1], torch.zeros(1, 1).long()
    options: dict[str, Any] = {"divergence": kind, "tail": "one_bin", "target_classes": classes}
    result, twin = ce_engine.kl_divergence(x, log_p, grad=True, **options), reference.kl_divergence(x, log_p, **options)
    torch.testing.assert_close(result.loss.double(), twin.loss, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(present(result.grad).double(), twin.grad, atol=1e-7, rtol=1e-6)


def test_shares_above_one_leave_no_rest():
    x, log_p = torch.zeros(1, 4), torch.tensor([[0.7, 0.5]]).log()
    options: dict[str, Any] = {"tail": "one_bin", "target_classes": torch.tensor([[0, 1]])}
    result = ce_engine.kl_divergence(x, log_p, **options)
    expected = 0.7 * math.log(0.7 / 0.25) + 0.5 * math.log(0.5 / 0.25)
    assert float(result.loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tail", TAILS)
def test_number_that_is_none_makes_its_own_row_nan(tail):
    x, y = pair(3, 40)
    log_p, classes = named(y, 4)
    log_p[1, 2] = math.nan
    result = ce_engine.kl_divergence(x, log_p, target_classes=classes, tail=tail, reduction="none")
    assert result.loss.isnan().tolist() == [False, True, False]


def test_ignored_rows_count_nowhere():
    x, y = pair(4, 30)
    log_p, classes = named(y, 4)
    labels = torch.tensor([1, -100, 2, 0])
    x[1] = math.nan
    options: dict[str, Any] = {"target_classes": classes, "tail": "one_bin", "labels": labels}
    result, twin = ce_engine.kl_divergence(x, log_p, grad=True, **options), reference.kl_divergence(x, log_p, **options)
    assert_close(result, twin.loss, twin.grad, 1e-12)
    assert (result.row_count, result.ignored_count, result.changes) == (3, 1, None)


def test_most_probable_named_class_is_compared():
    x = torch.tensor([[0.0, 3, 1], [0, 3, 1], [0, 3, 1], [0, 3, 1]])
    log_p = torch.tensor([[0.5, 0.4], [0.4, 0.4], [0.6, 0.1], [0.5, 0.5]]).log()
    classes = torch.tensor([[1, 0], [2, 1], [0, 1], [2, 0]])
    result = ce_engine.kl_divergence(x, log_p, target_classes=classes, tail="drop", outputs=["predictions"])
    assert result.correct_count == 2


@pytest.mark.parametrize("dtype", INTEGERS)
def test_classes_of_every_integer_dtype(dtype):
    x, y = pair(3, 9)
    log_p, classes = named(y, 4)
    plain = ce_engine.kl_divergence(x, log_p, target_classes=classes, tail="one_bin")
    assert ce_engine.kl_divergence(x, log_p, target_classes=classes.to(dtype), tail="one_bin").loss == plain.loss


@pytest.mark.parametrize(("input_dtype", "target_dtype", "tail"), pairs(FLOATS, FLOATS, TAILS))
def test_tensors_of_any_dtypes(input_dtype, target_dtype, tail):
    x, y = pair(5, 300, dtype=input_dtype)
    log_p, classes = named(y.double(), 7)
    log_p = log_p.to(target_dtype)
    options: dict[str, Any] = {"target_classes": classes, "tail": tail, "reduction": "sum"}
    result, twin = ce_engine.kl_divergence(x, log_p, grad=True, **options), reference.kl_divergence(x, log_p, **options)
    tolerance = TOLERANCES[torch.promote_types(input_dtype, torch.float32)]
    torch.testing.assert_close(result.loss.double(), twin.loss, atol=tolerance, rtol=tolerance)
    eps = max(torch.finfo(input_dtype).eps, tolerance)
    torch.testing.assert_close(present(result.grad).double(), twin.grad, atol=eps, rtol=eps)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(0, 8), st.sampled_from(KINDS), st.sampled_from(TAILS))
def test_gradient_of_any_row_sums_to_zero(seed, class_count, count, kind, tail):
    x, y = pair(3, class_count, seed=seed)
    log_p, classes = named(y, min(count, class_count), seed)
    result = ce_engine.kl_divergence(
        x, log_p, divergence=kind, target_classes=classes, tail=tail, reduction="none", grad=True
    )
    torch.testing.assert_close(present(result.grad).sum(1), torch.zeros(3, dtype=torch.float64), atol=1e-13, rtol=0)
    if tail != "drop":
        assert (result.loss > -1e-6).all()


@pytest.mark.parametrize(("tail", "dtype"), pairs(TAILS, FLOATS))
def test_company_changes_no_bit(tail, dtype):
    x, y = pair(7, 100, dtype=dtype)
    log_p, classes = named(y.float(), 5)
    options: dict[str, Any] = {"tail": tail, "reduction": "none", "grad": True}
    together = ce_engine.kl_divergence(x, log_p, target_classes=classes, **options)
    for i in range(7):
        alone = ce_engine.kl_divergence(x[i], log_p[i], target_classes=classes[i], **options)
        assert bits(alone.loss) == bits(together.loss[i])
        assert bits(alone.grad) == bits(present(together.grad)[i])
