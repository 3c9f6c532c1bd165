"""PyTorch's own samples of `kl_div` by every transport. Log-probabilities are logits of themselves.

They are private to PyTorch and change between its versions: see tests/ce_engine/losses/test_conformance.py.
"""

from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tests.client.transports.everywhere.ways import PACKED, TRANSPORTS, Everywhere
from tests.present import present

# PyTorch's, of its own samples
pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")

SAMPLES = 16  # that PyTorch has, so that none is missed
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def samples(dtype: torch.dtype) -> list[Any]:
    from torch.testing._internal.common_methods_invocations import op_db

    (op,) = (op for op in op_db if op.name == "nn.functional.kl_div")
    torch.manual_seed(0)
    return list(op.sample_inputs("cpu", dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_samples_agree_with_torch(everywhere, dtype):
    found, before = samples(dtype), everywhere.evaluations("kl_divergence")
    for sample in found:
        check(everywhere, sample, TOLERANCE[dtype])
    assert len(found) == SAMPLES
    came = {name: count - before[name] for name, count in everywhere.evaluations("kl_divergence").items()}
    assert came == dict.fromkeys(TRANSPORTS, SAMPLES) | {"pack": PACKED * SAMPLES}


def check(everywhere: Everywhere, sample: Any, tolerance: float) -> None:
    """Compares loss and gradient of a sample with autograd's.

    `batchmean` divides by the first dimension, and `mean` by all elements: both are what a mean here may divide by.
    """
    (target,), options = sample.args, sample.kwargs
    x, y = sample.input, target if options["log_target"] else target.log()
    leaf = x.clone().requires_grad_()
    theirs = F.kl_div(leaf.log_softmax(-1), target, **options)
    (grad,) = torch.autograd.grad(theirs.sum(), leaf)
    divisors = {"mean": x.numel(), "batchmean": x.shape[0]}
    reduction = {"batchmean": "mean"}.get(options["reduction"], options["reduction"])
    result = everywhere(
        "kl_divergence",
        x.numpy(),
        y.numpy(),
        reduction=reduction,
        grad=True,
        divisor=divisors.get(options["reduction"]),
    )
    expected = theirs.detach().sum(-1) if reduction == "none" else theirs.detach()
    close = partial(torch.testing.assert_close, atol=tolerance, rtol=tolerance)
    close(torch.as_tensor(result.loss), expected)
    close(torch.as_tensor(present(result.grad)), grad)
    whole = theirs.detach().sum().double() * divisors.get(options["reduction"], 1)
    assert result.loss_sum == pytest.approx(float(whole), rel=10 * tolerance)
