"""Divergences of two models by every transport: the same bits, and PyTorch's numbers in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losswire_client import InvalidArgumentError, Norm, Result
from tests.client.transports.everywhere import truth
from tests.client.transports.everywhere.truth import Layer
from tests.pairs import pairs
from tests.present import present

Array = truth.Array
RNG = np.random.default_rng(0)
ROWS, CLASSES, WIDTH, NAMED = (5, 21), 40, 24, 6
KINDS = ("forward", "reverse", "jensen_shannon")
TAILS = ("renormalize", "one_bin", "drop")
IGNORED = 7
TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 3e-5}


def layer(width: int, **options: Any) -> Layer:
    return Layer(RNG.standard_normal((CLASSES, width)) / 3, RNG.standard_normal(CLASSES), **options)


STUDENT = layer(WIDTH, norm=Norm("rms", 1e-6, RNG.random(WIDTH) + 0.5), softcap=15.0, temperature=1.5)
TEACHER = layer(2 * WIDTH, norm=Norm("layer", 1e-5, RNG.random(2 * WIDTH), RNG.random(2 * WIDTH)))
STATES, WIDE_STATES = RNG.standard_normal((*ROWS, WIDTH)), RNG.standard_normal((*ROWS, 2 * WIDTH))
X = 2 * RNG.standard_normal((*ROWS, CLASSES))
Y = X + RNG.standard_normal((*ROWS, CLASSES))
LABELS = RNG.integers(0, CLASSES, ROWS)


def options_of(kind: str, reduction: str = "mean") -> dict[str, Any]:
    own = {"beta": 0.3} if kind == "jensen_shannon" else {}
    return {"divergence": kind, "reduction": reduction, "grad": True, "exact": True, **own}


def leaf(x: Array) -> Tensor:
    return truth.tensor(x).requires_grad_()


def check(result: Result, losses: Tensor, leaf: Tensor, counted: Tensor | None = None) -> None:
    """Compares an answer with the losses of rows, and with their gradient by autograd."""
    weights = torch.ones_like(losses) if counted is None else counted.double()
    total = (losses * weights).sum()
    scaled = total / weights.sum() if result.loss.ndim == 0 else total
    (grad,) = torch.autograd.grad(scaled, leaf)
    expected = (losses * weights if result.loss.ndim else scaled).detach().numpy()
    tolerance = TOLERANCE[result.loss.dtype]
    np.testing.assert_allclose(result.loss, expected, tolerance, tolerance)
    np.testing.assert_allclose(present(result.grad), grad.numpy(), 100 * tolerance, tolerance)
    assert result.loss_sum == pytest.approx(float(total.detach()), rel=10 * tolerance)
    assert result.row_count == int(weights.sum())
    assert present(result.exact).row_count == result.row_count


def by_tail(kind: str, tail: str, x: Tensor, log_p: Array, classes: Array) -> Tensor:
    log_q, log_p_left = truth.named(x, truth.tensor(log_p), torch.as_tensor(classes), tail)
    return truth.divergence(log_q, log_p_left, kind, 0.3)


def top(y: Array) -> tuple[Array, Array]:
    """Log-probabilities of the likeliest classes, and these."""
    found = torch.as_tensor(y).log_softmax(-1).topk(NAMED)
    return found.values.numpy(), found.indices.numpy()


@pytest.mark.parametrize(("kind", "reduction"), pairs(KINDS, ("none", "mean")))
def test_two_models_with_heads(everywhere, kind, reduction):
    result = everywhere(
        "kl_divergence", STATES, WIDE_STATES, head=STUDENT.head, target_head=TEACHER.head, **options_of(kind, reduction)
    )
    x = leaf(STATES)
    log_q = STUDENT.logits(x).log_softmax(-1)
    log_p = TEACHER.logits(truth.tensor(WIDE_STATES)).log_softmax(-1)
    check(result, truth.divergence(log_q, log_p, kind, 0.3), x)


@pytest.mark.parametrize("kind", KINDS)
def test_one_head_beside_logits(everywhere, kind):
    student = everywhere("kl_divergence", STATES, Y, head=STUDENT.head, temperature=2.0, **options_of(kind))
    x = leaf(STATES)
    log_q, log_p = (STUDENT.logits(x) / 2).log_softmax(-1), (truth.tensor(Y) / 2).log_softmax(-1)
    check(student, truth.divergence(log_q, log_p, kind, 0.3), x)
    teacher = everywhere("kl_divergence", X, WIDE_STATES, target_head=TEACHER.head, **options_of(kind))
    x = leaf(X)
    log_p = TEACHER.logits(truth.tensor(WIDE_STATES)).log_softmax(-1)
    check(teacher, truth.divergence(x.log_softmax(-1), log_p, kind, 0.3), x)


@pytest.mark.parametrize(("kind", "tail", "dtype"), pairs(KINDS, TAILS, (np.float64, np.float32)))
def test_likeliest_classes_of_the_target(everywhere, kind, tail, dtype):
    log_p, classes = top(Y)
    logits, target = X.astype(dtype), log_p.astype(dtype)
    result = everywhere("kl_divergence", logits, target, target_classes=classes, tail=tail, **options_of(kind))
    x = leaf(logits)
    check(result, by_tail(kind, tail, x, target, classes), x)


@pytest.mark.parametrize("tail", TAILS)
def test_likeliest_classes_beside_a_head(everywhere, tail):
    log_p, classes = top(Y)
    result = everywhere(
        "kl_divergence", STATES, log_p, target_classes=classes, tail=tail, head=STUDENT.head, **options_of("reverse")
    )
    x = leaf(STATES)
    check(result, by_tail("reverse", tail, STUDENT.logits(x), log_p, classes), x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labelled_ignored", [IGNORED, -100])
def test_labels_leave_rows_out_and_tell_their_change(everywhere, kind, labelled_ignored):
    labels = np.where(RNG.random(ROWS) < 0.2, labelled_ignored, LABELS)
    result = everywhere(
        "kl_divergence",
        STATES,
        WIDE_STATES,
        head=STUDENT.head,
        target_head=TEACHER.head,
        labels=labels,
        ignore_index=labelled_ignored,
        **options_of(kind),
        outputs=("target_log_probabilities", "target_ranks"),
        top_k=3,
    )
    x = leaf(STATES)
    log_q = STUDENT.logits(x).log_softmax(-1)
    log_p = TEACHER.logits(truth.tensor(WIDE_STATES)).log_softmax(-1)
    counted = torch.as_tensor(labels != labelled_ignored)
    check(result, truth.divergence(log_q, log_p, kind, 0.3), x, counted)
    own = torch.as_tensor(np.where(counted, labels, 0))[..., None]
    of_labels = torch.where(counted, log_q.gather(-1, own)[..., 0], 0).detach()
    np.testing.assert_allclose(present(result.target_log_probabilities), of_labels, 1e-11, 1e-11)
    change = (log_q - log_p).gather(-1, own)[..., 0][counted].mean().item()
    assert present(present(result.exact).mean_change).mean == pytest.approx(change, rel=1e-11)
    np.testing.assert_array_equal(present(result.target_ranks) > 0, counted)
    np.testing.assert_array_equal(present(result.top_classes), log_q.topk(3).indices)


def test_sums_by_class_of_two_heads_need_labels(everywhere):
    given = {"head": STUDENT.head, "target_head": TEACHER.head, "exact": "by_class"}
    for client in everywhere.clients.values():
        with pytest.raises(InvalidArgumentError, match="labels: expected them with exact sums by class"):
            client.kl_divergence(STATES, WIDE_STATES, **given)
    result = everywhere("kl_divergence", STATES, WIDE_STATES, labels=LABELS, **given)
    assert set(present(result.exact_by_class)) == set(LABELS.flat)


def test_rows_of_one_target_alone_are_masked(everywhere):
    log_p, classes = top(Y)
    labels = np.where(RNG.random(ROWS) < 0.5, -100, 0)
    of_target = {"target_classes": classes, "tail": "one_bin", "labels": labels}
    result = everywhere("kl_divergence", X, log_p, **of_target, **options_of("forward"))
    x = leaf(X)
    check(result, by_tail("forward", "one_bin", x, log_p, classes), x, torch.as_tensor(labels == 0))
    assert present(result.exact).mean_change is None
