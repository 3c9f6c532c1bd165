"""Divergences of two models' logits, beside PyTorch's in float64 and the twin."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import reference
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import FLOATS, REDUCTIONS, TOLERANCES, assert_close, assert_no_worse, threads
from tests.ce_engine.losses.divergences.examples import CLASS_COUNTS, KINDS, by_torch, gradient, pair
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

SHAPES = ((5,), (4, 5), (1, 5), (2, 3, 5), (2, 1, 3, 7), (0, 5), (2, 0, 5))


@pytest.mark.parametrize(("kind", "class_count", "temperature"), pairs(KINDS, CLASS_COUNTS, (1.0, 0.5, 3.0)))
def test_torch_and_the_twin_agree_in_float64(kind, class_count, temperature):
    x, y = pair(3, class_count)
    options: dict[str, Any] = {"divergence": kind, "temperature": temperature}
    result = ce_engine.kl_divergence(x, y, reduction="none", grad=True, **options)
    assert_close(result, by_torch(x, y, **options), gradient(x, y, **options), 1e-12)
    twin = reference.kl_divergence(x, y, reduction="none", **options)
    assert_close(result, twin.loss, twin.grad, 1e-12)


@pytest.mark.parametrize("beta", [1e-6, 0.1, 0.5, 0.9, 1 - 1e-6])
def test_mixture_of_any_share_is_trls(beta):
    x, y = pair(4, 50)
    options: dict[str, Any] = {"divergence": "jensen_shannon", "beta": beta}
    result = ce_engine.kl_divergence(x, y, reduction="sum", grad=True, **options)
    assert_close(result, by_torch(x, y, **options).sum(), gradient(x, y, **options), 1e-12)


@pytest.mark.parametrize(("shape", "reduction", "kind"), pairs(SHAPES, REDUCTIONS, KINDS))
def test_rows_lie_along_the_last_dimension_of_any_shape(shape, reduction, kind):
    x, y = pair(*shape)
    weight = torch.rand(shape[:-1], dtype=torch.float64)
    options: dict[str, Any] = {"divergence": kind, "reduction": reduction, "sample_weight": weight}
    result, twin = ce_engine.kl_divergence(x, y, grad=True, **options), reference.kl_divergence(x, y, **options)
    assert_close(result, twin.loss, twin.grad, 1e-12)
    assert (result.row_count, result.ignored_count) == (twin.row_count, 0)
    assert result.weight_sum == twin.row_count


@pytest.mark.parametrize(("kind", "dtype", "class_count"), pairs(KINDS, FLOATS[1:], (7, 1000)))
def test_error_is_no_larger_than_torchs(kind, dtype, class_count):
    x, y = pair(20, class_count, dtype=dtype)
    result = ce_engine.kl_divergence(x, y, divergence=kind, reduction="none", grad=True)
    assert result.loss.dtype is torch.float32
    truth = by_torch(x.double(), y.double(), kind), gradient(x.double(), y.double(), divergence=kind)
    theirs = by_torch(x.float(), y.float(), kind), gradient(x.float(), y.float(), divergence=kind).to(dtype)
    assert_no_worse(result.loss, theirs[0], truth[0], size=1.0)
    assert_no_worse(result.grad, theirs[1], truth[1], size=1.0)


@pytest.mark.parametrize(("kind", "dtype", "offset"), pairs(KINDS, FLOATS[1:], (-30.0, 70.0, 1e3, -6e4)))
def test_error_is_no_larger_than_torchs_where_all_logits_are_far_apart(kind, dtype, offset):
    x, y = (logits.float() + shift for logits, shift in zip(pair(20, 300), (offset, 0), strict=True))
    x, y = x.to(dtype), y.to(dtype)
    result = ce_engine.kl_divergence(x, y, divergence=kind, reduction="none", grad=True)
    truth = by_torch(x.double(), y.double(), kind), gradient(x.double(), y.double(), divergence=kind)
    theirs = by_torch(x.float(), y.float(), kind), gradient(x.float(), y.float(), divergence=kind).to(dtype)
    assert_no_worse(result.loss, theirs[0], truth[0], size=1.0)
    assert_no_worse(result.grad, theirs[1], truth[1], size=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_input_that_excludes_every_class_by_the_least_number_is_even(kind):
    y = pair(3, 40, dtype=torch.float32)[1]
    x = torch.full_like(y, torch.finfo(torch.float32).min)
    result, even = (ce_engine.kl_divergence(logits, y, divergence=kind) for logits in (x, torch.zeros_like(y)))
    torch.testing.assert_close(result.loss, even.loss)


def test_models_that_are_nearly_alike_are_told_apart():
    # Rounding logits to bfloat16 changes them by 1 part in 500: the divergence is about 1e-5, near torch's own error.
    x = torch.randn(64, 32_000) * 3
    y = x.bfloat16().float()
    truth, theirs = by_torch(x.double(), y.double()), by_torch(x, y)
    assert_no_worse(ce_engine.kl_divergence(x, y, reduction="none").loss, theirs, truth, size=1e-2)


@pytest.mark.parametrize(("input_dtype", "target_dtype", "grad_dtype"), pairs(FLOATS, FLOATS, (None, *FLOATS)))
def test_target_and_gradient_of_any_dtype(input_dtype, target_dtype, grad_dtype):
    x, y = pair(5, 40)
    x, y = x.to(input_dtype), y.to(target_dtype)
    result = ce_engine.kl_divergence(x, y, reduction="sum", grad=True, grad_dtype=grad_dtype)
    twin, compute_dtype = (
        reference.kl_divergence(x, y, reduction="sum"),
        torch.promote_types(input_dtype, torch.float32),
    )
    tolerance = TOLERANCES[compute_dtype]
    torch.testing.assert_close(result.loss.double(), twin.loss, atol=tolerance, rtol=tolerance)
    grad = present(result.grad)
    assert grad.dtype is (grad_dtype or input_dtype)
    eps = max(torch.finfo(grad.dtype).eps, tolerance)
    torch.testing.assert_close(grad.double(), present(twin.grad), atol=eps, rtol=eps)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_finite_differences(kind):
    x, y = pair(2, 6)
    step, result = 1e-6, ce_engine.kl_divergence(x, y, divergence=kind, temperature=1.5, reduction="sum", grad=True)
    for i in range(x.numel()):
        losses = []
        for sign in (1, -1):
            moved = x.clone()
            moved.view(-1)[i] += sign * step
            losses.append(ce_engine.kl_divergence(moved, y, divergence=kind, temperature=1.5, reduction="sum").loss)
        difference = float(losses[0] - losses[1]) / (2 * step)
        assert float(present(result.grad).view(-1)[i]) == pytest.approx(difference, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_of_both_changes_nothing(kind):
    x, y = pair(3, 40)
    padding = torch.full((3, 9), -math.inf, dtype=torch.float64)
    plain = ce_engine.kl_divergence(x, y, divergence=kind, reduction="none", grad=True)
    padded = [torch.cat([logits, padding], 1) for logits in (x, y)]
    result = ce_engine.kl_divergence(*padded, divergence=kind, reduction="none", grad=True)
    assert_close(result, plain.loss, F.pad(present(plain.grad), (0, 9)), 1e-14)


def test_class_that_only_one_model_excludes():
    x, y = torch.tensor([[0.0, 0.0, -math.inf]]), torch.tensor([[0.0, 0.0, 0.0]])
    losses = {kind: float(ce_engine.kl_divergence(x, y, divergence=kind).loss) for kind in KINDS}
    assert losses["forward"] == math.inf
    assert losses["reverse"] == pytest.approx(math.log(1.5))
    p, q = torch.full((3,), 1 / 3), torch.tensor([0.5, 0.5, 0.0])
    mixture = (p + q) / 2
    expected = float((p * (p / mixture).log()).sum() + (q[:2] * (q / mixture)[:2].log()).sum()) / 2
    assert losses["jensen_shannon"] == pytest.approx(expected)
    swapped = {kind: float(ce_engine.kl_divergence(y, x, divergence=kind).loss) for kind in KINDS}
    assert swapped["reverse"] == math.inf
    assert swapped["forward"] == losses["reverse"]
    grad = present(ce_engine.kl_divergence(x, y, grad=True).grad)
    torch.testing.assert_close(grad, torch.tensor([[1 / 6, 1 / 6, -1 / 3]]))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_number_that_is_none_makes_its_own_row_nan(kind, value):
    x, y = pair(4, 40, dtype=torch.float32)
    plain = ce_engine.kl_divergence(x, y, divergence=kind, reduction="none", grad=True)
    for broken in (x, y):
        broken[len(x) // 2, 5] = value
        result = ce_engine.kl_divergence(x, y, divergence=kind, reduction="none", grad=True)
        assert result.loss[2].isnan()
        assert present(result.grad)[2].isnan().any()
        for i in (0, 1, 3):
            assert bits(result.loss[i]) == bits(plain.loss[i])


@pytest.mark.parametrize("kind", KINDS)
def test_row_of_minus_infinity_has_no_distribution(kind):
    x, y = torch.zeros(2, 5), torch.zeros(2, 5)
    x[0], y[1] = -math.inf, -math.inf
    assert ce_engine.kl_divergence(x, y, divergence=kind, reduction="none").loss.isnan().all()


def test_ignored_rows_count_nowhere_whatever_they_hold():
    x, y = pair(4, 6)
    labels = torch.tensor([0, -100, 5, 2], dtype=torch.int16)
    x[1], y[1] = math.nan, -math.inf
    result = ce_engine.kl_divergence(x, y, labels=labels, grad=True, outputs=["predictions"])
    twin = reference.kl_divergence(x, y, labels=labels)
    assert_close(result, twin.loss, twin.grad, 1e-12)
    assert (result.row_count, result.ignored_count, result.weight_sum) == (3, 1, 3)
    assert not present(result.grad)[1].any()
    assert present(result.changes)[1] == 0


@pytest.mark.parametrize("empty", ["nan", "zero"])
def test_nothing_that_counts_is_nan_or_zero(empty):
    x, y = pair(3, 4)
    result = ce_engine.kl_divergence(x, y, labels=torch.full((3,), -7), ignore_index=-7, empty=empty, grad=True)
    assert result.row_count == 0
    assert math.isnan(result.loss) == (empty == "nan")
    assert not present(result.grad).any()


@pytest.mark.parametrize("kind", KINDS)
def test_change_is_that_of_the_labels_log_probability(kind):
    x, y = pair(2, 3, 50)
    labels = torch.randint(50, (2, 3))
    labels[0, 1] = -100
    result = ce_engine.kl_divergence(x, y, divergence=kind, temperature=2, labels=labels)
    difference = (x / 2).log_softmax(-1) - (y / 2).log_softmax(-1)
    truth = difference.gather(-1, labels.clamp(min=0)[..., None])[..., 0].masked_fill(labels == -100, 0)
    torch.testing.assert_close(result.changes, truth, atol=1e-12, rtol=0)
    assert ce_engine.kl_divergence(x, y).changes is None


def test_outputs_are_those_of_the_inputs_distribution():
    x, y = pair(4, 3, 30)
    names = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
    result = ce_engine.kl_divergence(x, y, temperature=2, outputs=names)
    log_q = (x / 2).log_softmax(-1)
    torch.testing.assert_close(result.lse, (x / 2).logsumexp(-1))
    torch.testing.assert_close(result.log_probabilities, log_q)
    torch.testing.assert_close(result.probabilities, log_q.exp())
    torch.testing.assert_close(result.entropy, -(log_q.exp() * log_q).sum(-1))
    assert torch.equal(present(result.predictions), x.argmax(-1))
    assert result.correct_count == int((x.argmax(-1) == y.argmax(-1)).sum())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_places_of_labels_and_the_largest_classes(temperature):
    x, y = pair(6, 40)
    labels = torch.tensor([3, -100, 39, 0, 7, 8])
    names = ("target_log_probabilities", "target_ranks")
    options: dict[str, Any] = {"temperature": temperature, "labels": labels, "outputs": names, "top_k": 5, "grad": True}
    result = ce_engine.kl_divergence(x, y, **options)
    log_q, ignored = (x / temperature).log_softmax(1), labels == -100
    own = log_q.gather(1, labels.clamp(min=0)[:, None])
    ranks = (1 + (log_q > own).sum(1)).masked_fill(ignored, 0)
    assert torch.equal(present(result.target_ranks), ranks)
    torch.testing.assert_close(result.target_log_probabilities, own[:, 0].masked_fill(ignored, 0), atol=1e-13, rtol=0)
    numbers, classes = log_q.topk(5)
    assert torch.equal(present(result.top_classes), classes)
    torch.testing.assert_close(result.top_log_probabilities, numbers, atol=1e-13, rtol=0)
    assert_close(result, by_torch(x, y, temperature=temperature)[~ignored].mean(), result.grad, 1e-12)


def test_divisor_divides_in_place_of_the_rows():
    x, y = pair(4, 9)
    result = ce_engine.kl_divergence(x, y, divisor=10, grad=True)
    assert_close(result, by_torch(x, y).sum() / 10, gradient(x, y) / 10, 1e-13)


def test_first_of_the_largest_classes_is_compared():
    x, y = torch.tensor([[1.0, 1, 0], [0, 1, 1], [0, 0, 0]]), torch.tensor([[2.0, 2, 2], [0, 0, 3], [0, 0, 0]])
    result = ce_engine.kl_divergence(x, y, outputs=["predictions"])
    assert present(result.predictions).tolist() == [0, 1, 0]
    assert result.correct_count == 2


def test_incoming_gradient_multiplies():
    x, y = pair(3, 5)
    incoming = torch.tensor([2.0, -1, 0], dtype=torch.float64)
    result = ce_engine.kl_divergence(x, y, reduction="none", grad=True, grad_output=incoming)
    torch.testing.assert_close(result.grad, gradient(x, y, incoming), atol=1e-14, rtol=1e-12)


@pytest.mark.parametrize(("kind", "class_count", "dtype"), pairs(KINDS, (1, 5, 33, 1000), FLOATS))
def test_company_address_and_threads_change_no_bit(kind, class_count, dtype):
    x, y = pair(7, class_count, dtype=dtype)
    options: dict[str, Any] = {"divergence": kind, "reduction": "none", "grad": True, "outputs": ["lse", "predictions"]}
    together = ce_engine.kl_divergence(x, y, **options)
    wide = torch.cat([torch.zeros(7, 3).to(dtype), x, torch.zeros(7, 2).to(dtype)], 1)[:, 3 : 3 + class_count]
    with threads(1):
        moved = ce_engine.kl_divergence(wide, y.t().contiguous().t(), **options)
    for i in range(7):
        alone = ce_engine.kl_divergence(x[i], y[i], **options)
        for name in ("loss", "grad", "lse", "predictions"):
            expected = bits(getattr(together, name)[i])
            assert bits(getattr(alone, name)) == expected == bits(getattr(moved, name)[i]), name


@st.composite
def models(draw) -> tuple[Tensor, Tensor, dict[str, Any]]:
    torch.manual_seed(draw(st.integers(0, 2**32)))
    rows, class_count = draw(st.integers(1, 4)), draw(st.integers(1, 70))
    x, y = (torch.randn(rows, class_count, dtype=torch.float64) * draw(st.sampled_from([0.1, 1, 30])) for _ in "xy")
    for logits in (x, y):
        hidden = torch.rand(rows, class_count) < draw(st.sampled_from([0, 0.3]))
        hidden[:, 0] = False
        logits.masked_fill_(hidden, -math.inf)
    kind = draw(st.sampled_from(KINDS))
    options = {"divergence": kind, "temperature": draw(st.sampled_from([0.7, 1, 4]))}
    return x, y, options | ({"beta": draw(st.floats(0.01, 0.99))} if kind == "jensen_shannon" else {})


@given(models())
def test_any_models_are_as_far_apart_as_the_twin_says(case):
    x, y, options = case
    result = ce_engine.kl_divergence(x, y, reduction="none", grad=True, **options)
    twin = reference.kl_divergence(x, y, reduction="none", **options)
    torch.testing.assert_close(result.loss, twin.loss, atol=1e-12, rtol=1e-11)
    finite = twin.loss.isfinite()  # where a loss is infinite, so are slopes
    torch.testing.assert_close(present(result.grad)[finite], present(twin.grad)[finite], atol=1e-11, rtol=1e-11)
    assert (result.loss > -1e-12).all()


def test_vocabulary_of_a_quarter_million():
    x, y = pair(2, 262_144, dtype=torch.bfloat16)
    result = ce_engine.kl_divergence(x, y, reduction="none", grad=True)
    assert_no_worse(result.loss, by_torch(x.float(), y.float()), by_torch(x.double(), y.double()), size=1.0)
    truth = gradient(x.double(), y.double())
    torch.testing.assert_close(present(result.grad).double(), truth, atol=1e-8, rtol=1e-2)
