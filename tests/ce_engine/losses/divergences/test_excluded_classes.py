"""Classes that a model excludes beside targets of some classes, and rows that are at their limits."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ce_engine
from ce_engine import reference
from tests.ce_engine.helpers import FLOATS, TOLERANCES
from tests.ce_engine.losses.divergences.examples import KINDS, TAILS
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

INF = math.inf
P, NAMED = torch.tensor([[0.5, 0.25]]), torch.tensor([[1, 2]])
REVERSE, MIXED = KINDS[1:]
# Where the input gives the named classes nothing, and the target 0.5 and 0.25.
OF_NOTHING = {
    (REVERSE, "one_bin"): math.log(1 / 0.25),
    (REVERSE, "drop"): 0.0,
    (MIXED, "one_bin"): 0.375 * math.log(2) + 0.125 * math.log(0.25 / 0.625) + 0.5 * math.log(1 / 0.625),
    (MIXED, "drop"): 0.375 * math.log(2),
}


@pytest.mark.parametrize(("kind", "tail", "dtype"), pairs(KINDS, TAILS, FLOATS))
def test_input_without_the_named_classes(kind, tail, dtype):
    x = torch.tensor([[0.0, -INF, -INF, 1.0, -INF], [0.0, 1.0, 2.0, 3.0, 4.0]]).to(dtype)
    options: dict[str, Any] = {"target_classes": NAMED.expand(2, 2), "tail": tail, "divergence": kind}
    result = ce_engine.kl_divergence(x, P.log().to(dtype).expand(2, 2), reduction="none", grad=True, **options)
    expected = OF_NOTHING.get((kind, tail), INF if kind == "forward" else math.nan)
    assert float(result.loss[0]) == pytest.approx(expected, rel=1e-2, nan_ok=True)
    assert result.loss[1].isfinite()
    assert present(result.grad)[1].isfinite().all()
    if not math.isnan(expected):
        assert present(result.grad)[0].isfinite().all()


def test_gradient_where_nothing_can_be_renormalized_is_less_the_targets_share():
    x = torch.tensor([[0.0, -INF, -INF, 1.0]])
    result = ce_engine.kl_divergence(x, P.log(), target_classes=NAMED, tail="renormalize", grad=True)
    torch.testing.assert_close(result.grad, torch.tensor([[0.0, -2 / 3, -1 / 3, 0.0]]))


@pytest.mark.parametrize(("kind", "dtype"), pairs(KINDS, FLOATS))
def test_tiny_shares_are_renormalized_by_their_logits(kind, dtype):
    x = torch.tensor([[0.0, -6e4, -6e4 + 128, 0.0]]).to(dtype)
    options: dict[str, Any] = {"target_classes": NAMED, "tail": "renormalize", "divergence": kind}
    result, twin = ce_engine.kl_divergence(x, P.log(), **options), reference.kl_divergence(x, P.log(), **options)
    torch.testing.assert_close(result.loss.double(), twin.loss, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("kind", "tail", "value"), pairs(KINDS, TAILS, (math.nan, INF)))
def test_number_that_is_none_in_a_named_class_is_its_own_rows(kind, tail, value):
    x = torch.zeros(3, 5)
    x[1, 2] = value
    options: dict[str, Any] = {"target_classes": NAMED.expand(3, 2), "tail": tail, "divergence": kind}
    result = ce_engine.kl_divergence(x, P.log().expand(3, 2), reduction="none", grad=True, **options)
    assert result.loss.isnan().tolist() == [False, True, False]
    assert present(result.grad)[[0, 2]].isfinite().all()


@pytest.mark.parametrize(("kind", "tail", "dtype"), pairs(KINDS, (None, *TAILS), FLOATS))
def test_no_rows_and_one_class(kind, tail, dtype):
    for rows in (0, 2):
        x, options = torch.randn(rows, 1).to(dtype), {"divergence": kind, "tail": tail, "reduction": "none"}
        y = x.neg() if tail is None else torch.zeros(rows, 1).to(dtype)
        classes = None if tail is None else torch.zeros(rows, 1).long()
        result = ce_engine.kl_divergence(x, y, target_classes=classes, grad=True, **options)
        assert result.loss.tolist() == [0] * rows
        assert not present(result.grad).any()
        assert result.row_count == rows


@st.composite
def rows_of_some_classes(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
    torch.manual_seed(draw(st.integers(0, 2**32)))
    rows, classes, dtype = draw(st.integers(0, 3)), draw(st.integers(1, 40)), draw(st.sampled_from(FLOATS))
    count = draw(st.integers(0, min(classes, 5)))
    # Beyond that, rests are rounding errors, or 0 in float32 and not in float64.
    x, y = (torch.randn(rows, classes) * draw(st.sampled_from([0.1, 1, 3])) for _ in "xy")
    at = torch.rand(rows, classes).argsort(1)[:, :count]
    x.masked_fill_(torch.rand(rows, classes) < draw(st.sampled_from([0, 0.5])), -INF)
    if classes > count:  # what is not named keeps the row a distribution
        x.scatter_(1, torch.rand(rows, classes).scatter(1, at, 2).argsort(1)[:, :1], 0.0)
    log_p = y.log_softmax(1).gather(1, at)
    log_p.masked_fill_(torch.rand(rows, count) < draw(st.sampled_from([0, 0.3])), -INF)
    tail, kind = draw(st.sampled_from(TAILS)), draw(st.sampled_from(KINDS))
    temperature = draw(st.sampled_from([0.5, 1, 3])) if tail == "renormalize" else 1
    return x.to(dtype), log_p.to(dtype), at, {"divergence": kind, "tail": tail, "temperature": temperature}


@given(rows_of_some_classes())
def test_any_rows_are_as_far_apart_as_the_twin_says(case):
    x, log_p, classes, options = case
    result = ce_engine.kl_divergence(x, log_p, target_classes=classes, reduction="none", grad=True, **options)
    twin = reference.kl_divergence(x, log_p, target_classes=classes, reduction="none", **options)
    expected, grads = twin.loss, present(twin.grad)
    if (options["divergence"], options["tail"]) == ("forward", "renormalize"):  # the twin conditions on nothing
        expected = torch.where(expected.isnan(), INF, expected)
    tolerance = 10 * TOLERANCES[torch.promote_types(x.dtype, torch.float32)]
    torch.testing.assert_close(result.loss.double(), expected, atol=tolerance, rtol=tolerance, equal_nan=True)
    ours, finite = present(result.grad).double(), expected.isfinite() & x.isfinite().any(1)  # q is no distribution else
    assert ours[finite].isfinite().all()
    finite &= grads.isfinite().all(1)  # autograd's is NaN where the rest is excluded
    eps = max(tolerance, 2 * torch.finfo(x.dtype).eps)
    torch.testing.assert_close(ours[finite], grads[finite], atol=eps, rtol=eps)
