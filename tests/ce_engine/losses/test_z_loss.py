"""z_loss: the square of the log-sum-exp, which is added to the losses of rows that count."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import ce_engine
from ce_engine import InvalidArgumentError, slabs
from tests.ce_engine.bits import bits
from tests.ce_engine.helpers import FLOATS, REDUCTIONS, SHAPES, TOLERANCES, problem
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

KINDS = ("cross_entropy", "smoothed", "probabilities")
Z = 0.03


def theirs(one, reduction, sample_weight=None, grad_output=None, divisor=None):
    """The loss, its gradient by autograd, and the sum of what z_loss adds, in float64."""
    leaf = one.input.double().requires_grad_()
    options: dict[str, Any] = {
        name: x.double() if isinstance(x, torch.Tensor) else x for name, x in one.options.items()
    }
    target = one.target.double() if one.target.is_floating_point() else one.target
    losses = F.cross_entropy(leaf, target, reduction="none", **options)
    weight = torch.ones_like(losses)
    if not target.is_floating_point():
        weight = (target != -100) * options["weight"][target.clamp(min=0)]
    samples = 1 if sample_weight is None else sample_weight.double()
    z_losses = Z * weight * leaf.logsumexp(min(1, leaf.dim() - 1)) ** 2 * samples
    losses = losses * samples + z_losses
    by = weight.sum() if divisor is None else divisor
    loss = {"none": losses, "sum": losses.sum(), "mean": losses.sum() / by}[reduction]
    (grad,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss) if grad_output is None else grad_output.double())
    return loss.detach(), grad, float(z_losses.detach().sum())


def close(ours, truth, dtype):
    tolerance = TOLERANCES.get(dtype, 2e-6)
    torch.testing.assert_close(ours.double(), truth, rtol=4 * tolerance, atol=4 * tolerance, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "shape", "reduction", "dtype", "has_samples", "has_incoming"),
    pairs(
        KINDS,
        (*(shape for shape, _ in SHAPES.values()), (7, 100), (3, 100, 9)),
        REDUCTIONS,
        FLOATS,
        (False, True),
        (False, True),
    ),
)
def test_loss_and_gradient_are_those_of_autograd(kind, shape, reduction, dtype, has_samples, has_incoming):
    one = problem(kind, shape, dtype)
    rows = torch.Size((*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    more = {"sample_weight": torch.rand(rows)} if has_samples else {}
    if has_incoming:
        more["grad_output"] = torch.rand(rows if reduction == "none" else ())
    ours = one.ours(reduction=reduction, grad_dtype=torch.float64, z_loss=Z, **more)
    loss, grad, z_loss_sum = theirs(one, reduction, **more)
    close(ours.loss, loss, dtype)
    close(present(ours.grad), grad, dtype)
    assert ours.z_loss_sum == pytest.approx(z_loss_sum, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [5, 40])
def test_gradient_is_the_derivative(kind, classes):
    one = problem(kind, (4, classes))

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            result = ce_engine.cross_entropy(x, one.target, grad=True, z_loss=Z, **one.options)
            ctx.save_for_backward(result.grad)
            return result.loss

        @staticmethod
        def backward(ctx, incoming):
            return ctx.saved_tensors[0] * incoming

    assert torch.autograd.gradcheck(Loss.apply, one.input.clone().requires_grad_())


@pytest.mark.parametrize("kind", KINDS)
def test_twin_agrees(kind):
    one = problem(kind, (4, 5, 3))
    ours, twin = one.ours(z_loss=Z), one.twin(z_loss=Z)
    torch.testing.assert_close(ours.loss, twin.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, twin.grad, rtol=1e-12, atol=1e-12)
    assert ours.z_loss_sum == pytest.approx(twin.z_loss_sum, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_without_it_no_bit_changes(kind):
    one = problem(kind, (6, 50), torch.float32)
    plain, none = one.ours(), one.ours(z_loss=0)
    assert plain.z_loss_sum is none.z_loss_sum is None
    assert bits(plain.loss) == bits(none.loss)
    assert bits(plain.grad) == bits(none.grad)


def test_ignored_rows_have_none():
    target = torch.full((3,), -100)
    result = ce_engine.cross_entropy(torch.randn(3, 5), target, reduction="sum", z_loss=Z, grad=True)
    assert (float(result.loss), result.z_loss_sum) == (0, 0)
    assert not present(result.grad).any()


def test_infinite_rows_are_no_numbers_but_harm_no_others():
    x = torch.randn(4, 40)
    x[1, 3], x[2] = math.inf, -math.inf
    ours = ce_engine.cross_entropy(x, torch.zeros(4).long(), reduction="none", grad=True, z_loss=Z)
    apart = ce_engine.cross_entropy(x[[0, 3]], torch.zeros(2).long(), reduction="none", grad=True, z_loss=Z)
    assert ours.loss[[1, 2]].isnan().all()
    assert torch.equal(ours.loss[[0, 3]], apart.loss)
    assert torch.equal(present(ours.grad)[[0, 3]], present(apart.grad))


@pytest.mark.parametrize("planned", [False, True])
def test_slabs_add_up_to_the_bits_of_the_whole(planned):
    logits, target = torch.randn(3000, 9), torch.randint(-1, 9, (3000,))
    options: dict[str, Any] = {"ignore_index": -1, "z_loss": Z, "grad": True}
    whole = slabs.cross_entropy(logits, target, divisor=7.0, **options)
    batch = (
        ce_engine.PlannedSlabBySlab(whole)
        if planned
        else ce_engine.SlabBySlab(slabs.cross_entropy, reduction="mean", divisor=7.0, **options)
    )
    grads: list[torch.Tensor] = []
    for x, y in zip(logits.split(700), target.split(700), strict=True):
        part = batch.plan(x) if isinstance(batch, ce_engine.PlannedSlabBySlab) else batch.plan(x, y)
        results: Any = ce_engine.evaluate(part)
        batch.add(part.reduction, results)
        grads.append(results.grad)
    expected = ce_engine.evaluate(whole)
    assert (batch.loss_sum, batch.z_loss_sum) == (expected.loss_sum, expected.z_loss_sum)
    assert bits(torch.tensor(batch.loss(), dtype=torch.float32)) == bits(expected.loss)
    assert torch.equal(torch.cat(grads), present(expected.grad))


@pytest.mark.parametrize(
    ("z_loss", "message"),
    [
        (-0.1, "z_loss: expected a number from 0 to 1e15, got -0.1"),
        (1e308, r"z_loss: expected a number from 0 to 1e15, got 1e\+308"),
        (math.nan, "z_loss: expected a number from 0 to 1e15, got nan"),
        (math.inf, "z_loss: expected a number from 0 to 1e15, got inf"),
        ("much", "z_loss: expected .*, got str"),
        (True, "z_loss: expected .*, got bool"),
    ],
)
def test_wrong_factors_are_named(z_loss, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ce_engine.cross_entropy(torch.zeros(2, 3), torch.zeros(2).long(), z_loss=z_loss)
