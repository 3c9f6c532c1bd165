"""What the compiled softmax does for rows of logits that are made piece by piece: in place, in wider rows, bounded."""

import math
from itertools import product
from typing import Any

import pytest
import torch

from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._libraries import library
from ce_engine.cpu._native_softmax import softmax_launch
from tests.ce_engine.helpers import FLOATS
from tests.present import present

STEP = 32  # classes that are computed at a time in float32

pytestmark = pytest.mark.usefixtures("each_library")

ROWS = 5
FORMS = ("class", "smoothed", "probabilities")
OUTPUTS = frozenset(("lse", "entropy", "predictions"))


def rows_of(form, classes, dtype):
    """Target, options of the kind, and columns."""
    computed = torch.promote_types(dtype, torch.float32)
    weight, scale, sample = (torch.rand(ROWS, dtype=computed) + 0.5 for _ in range(3))
    ignored = torch.tensor([False, False, False, True, False])
    index = torch.randint(classes, (ROWS,))
    if form == "class":
        return None, {}, Rows(index, ignored, weight, scale=scale)
    if form == "smoothed":
        return None, {"label_smoothing": 0.2}, Rows(index, ignored, weight, sample_weight=sample, scale=scale)
    return torch.rand(ROWS, classes).to(dtype), {"target_dtype": dtype}, Rows(sample_weight=sample, scale=scale)


def run(kind, x, target, rows, grad, softcap_inverse=0.0):
    results = RowResults.allocate(kind, torch.Size(x.shape), ROWS, grad)
    softmax_launch(present(library()), kind, x, target, rows, results, softcap_inverse).take()
    return results


def bounded(classes, dtype, softcap=2.0):
    return (softcap * torch.tanh(torch.randn(ROWS, classes, dtype=torch.float64))).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("form", "classes"), list(product(FORMS, (1, 7, STEP - 1, STEP, STEP + 1, 3 * STEP + 7, 5000)))
)
def test_gradient_over_the_input_has_the_bits(form, classes, dtype):
    target, options, rows = rows_of(form, classes, dtype)
    kind = Kind(
        "cross_entropy", torch.device("cpu"), dtype, classes, grad_dtype=dtype, outputs=OUTPUTS, z_loss=0.01, **options
    )
    x = bounded(classes, dtype)
    for softcap_inverse in (0.0, 0.5):
        own = x.clone()
        apart = run(kind, x, target, rows, torch.empty_like(x), softcap_inverse)
        over = run(kind, own, target, rows, own, softcap_inverse)
        for name, ours, theirs in zip(RowResults._fields, over, apart, strict=True):
            assert (ours is None) == (theirs is None), name
            assert ours is None or torch.equal(ours, present(theirs)), name


@pytest.mark.parametrize("classes", [5, 100])
def test_infinite_rows_keep_their_log_sum_exp_under_their_gradient(classes):
    x = torch.zeros(ROWS, classes)
    x[0, 1], x[1, 2], x[2] = math.inf, math.nan, -math.inf
    x[4, 0], x[4, 3] = math.inf, math.nan
    kind = Kind(
        "cross_entropy",
        torch.device("cpu"),
        x.dtype,
        classes,
        grad_dtype=x.dtype,
        outputs=frozenset(["lse"]),
        z_loss=0.1,
    )
    rows = Rows(torch.zeros(ROWS, dtype=torch.int64), scale=torch.ones(ROWS))
    expected = run(kind, x, None, rows, torch.empty_like(x)).lse
    assert present(expected)[[0, 2]].tolist() == [math.inf, -math.inf]
    assert present(expected)[[1, 4]].isnan().all()
    torch.testing.assert_close(run(kind, x, None, rows, x).lse, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("form", "classes"), list(product(FORMS, (7, STEP, 3 * STEP + 7))))
def test_results_may_be_part_of_wider_rows(form, classes, dtype):
    target, options, rows = rows_of(form, classes, dtype)
    computed = torch.promote_types(dtype, torch.float32)
    outputs = frozenset(("probabilities", "log_probabilities"))
    kind = Kind("cross_entropy", torch.device("cpu"), dtype, classes, grad_dtype=computed, outputs=outputs, **options)
    x = bounded(classes, dtype)
    plain = run(kind, x, target, rows, torch.empty_like(x, dtype=computed))
    wide = torch.full((3, ROWS, classes + 9), -7.0, dtype=computed)
    wide_x = torch.zeros(ROWS, classes + 9, dtype=dtype)
    wide_x[:, :classes] = x
    parts = [memory[:, :classes] for memory in wide]
    results = RowResults(torch.empty(ROWS, dtype=computed), grad=parts[0])
    results = results._replace(probabilities=parts[1], log_probabilities=parts[2])
    softmax_launch(present(library()), kind, wide_x[:, :classes], target, rows, results).take()
    for part, name in zip(parts, ("grad", "probabilities", "log_probabilities"), strict=True):
        assert torch.equal(part, getattr(plain, name))
    assert (wide[:, :, classes:] == -7).all()


@pytest.mark.parametrize(("form", "classes", "z_loss"), list(product(FORMS, (3, STEP, STEP + 1, 4100), (0.0, 0.03))))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradient_of_bounded_logits_is_exact(form, classes, z_loss, dtype):
    softcap = 2.0
    target, options, rows = rows_of(form, classes, dtype)
    kind = Kind("cross_entropy", torch.device("cpu"), dtype, classes, grad_dtype=dtype, z_loss=z_loss, **options)
    leaf = torch.randn(ROWS, classes, dtype=torch.float64, requires_grad=True)
    logits = softcap * torch.tanh(leaf / softcap)
    results = run(kind, logits.detach().to(dtype), target, rows, None, 1 / softcap)
    expected, z_losses = losses_of(logits, target, rows, z_loss, kind.label_smoothing)
    (expected * present(rows.scale)).sum().backward()
    tolerance: dict[str, Any] = (
        {"rtol": 1e-12, "atol": 1e-12} if dtype is torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    )
    torch.testing.assert_close(results.losses.double(), expected.detach(), **tolerance)
    torch.testing.assert_close(present(results.grad).double(), leaf.grad, **tolerance)
    if z_loss:
        torch.testing.assert_close(present(results.z_losses).double(), z_losses, **tolerance)


def losses_of(logits, target, rows, z_loss, smoothing):
    """The losses and what z_loss adds to them, by PyTorch in float64."""
    classes = logits.shape[1]
    weight = logits.new_ones(ROWS) if rows.weight is None else rows.weight.double()
    if target is None:
        hard = torch.nn.functional.one_hot(rows.classes, classes) * weight[:, None]
        target = (1 - smoothing) * hard + smoothing / classes
    sample = logits.new_ones(ROWS) if rows.sample_weight is None else rows.sample_weight.double()
    counts = logits.new_ones(ROWS) if rows.ignored is None else (~rows.ignored).double()
    z_losses = z_loss * weight * logits.logsumexp(1) ** 2 * sample * counts
    return -(target.double() * logits.log_softmax(1)).sum(1) * sample * counts + z_losses, z_losses.detach()
