"""Cross-entropy of hidden states by every transport: the same bits, and PyTorch's numbers in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from losswire_client import Norm
from tests.client.transports.everywhere import truth
from tests.client.transports.everywhere.truth import Layer
from tests.pairs import pairs
from tests.present import present

RNG = np.random.default_rng(0)
ROWS, CLASSES, WIDTH = (5, 21), 40, 24
WEIGHT, BIAS = RNG.standard_normal((CLASSES, WIDTH)) / 3, RNG.standard_normal(CLASSES)
LAYERS = {
    "plain": Layer(WEIGHT),
    "rms": Layer(WEIGHT, BIAS, Norm("rms", 1e-6, RNG.random(WIDTH) + 0.5), softcap=15.0, temperature=1.5),
    "layer": Layer(WEIGHT, BIAS, Norm("layer", 1e-5, RNG.random(WIDTH), RNG.random(WIDTH)), softcap=3.0),
}
STATES, CLASS_WEIGHT = RNG.standard_normal((*ROWS, WIDTH)), RNG.random(CLASSES)
TARGET = np.where(RNG.random(ROWS) < 0.1, 7, RNG.integers(0, CLASSES, ROWS))
CASES: dict[str, tuple[np.ndarray[Any, Any], dict[str, Any]]] = {
    "classes": (TARGET, {"weight": CLASS_WEIGHT, "ignore_index": 7}),
    "smoothed": (TARGET, {"weight": CLASS_WEIGHT, "ignore_index": 7, "label_smoothing": 0.2}),
    "probabilities": (RNG.dirichlet(np.ones(CLASSES), ROWS), {"label_smoothing": 0.1}),
}


def weights_of(target: np.ndarray[Any, Any]) -> Tensor:
    """What rows count for in a mean."""
    if target.dtype.kind == "f":
        return torch.ones(target[..., 0].size, dtype=torch.float64)
    return truth.tensor(np.where(target == 7, 0, CLASS_WEIGHT[target])).flatten()


@pytest.mark.parametrize(
    ("layer", "case", "reduction", "z_loss"), pairs(LAYERS, CASES, ("none", "mean", "sum"), (0.0, 0.01))
)
def test_losses_and_gradients_are_torchs(layer, case, reduction, z_loss, everywhere):
    target, options = CASES[case]
    incoming = RNG.standard_normal(ROWS) if reduction == "none" else RNG.standard_normal(())
    result = everywhere(
        *("linear_cross_entropy", STATES, LAYERS[layer].head, target),
        **(options | {"reduction": reduction, "z_loss": z_loss, "grad": True, "grad_output": incoming}),
    )
    leaf = truth.tensor(STATES).requires_grad_()
    logits = LAYERS[layer].logits(leaf).flatten(0, 1)
    given: dict[str, Any] = {
        name: truth.tensor(option) if name == "weight" else option for name, option in options.items()
    }
    losses = F.cross_entropy(logits, torch.as_tensor(target).flatten(0, 1), reduction="none", **given)
    counted = weights_of(target)
    z_losses = z_loss * counted * logits.logsumexp(-1) ** 2
    losses = losses + z_losses
    expected = {"none": losses.reshape(ROWS), "sum": losses.sum(), "mean": losses.sum() / counted.sum()}[reduction]
    (grad,) = torch.autograd.grad(expected, leaf, truth.tensor(incoming))
    np.testing.assert_allclose(result.loss, expected.detach(), 1e-12, 1e-12)
    np.testing.assert_allclose(present(result.grad), grad, 1e-10, 1e-12)
    assert result.z_loss_sum == (pytest.approx(float(z_losses.detach().sum()), rel=1e-12) if z_loss else None)
