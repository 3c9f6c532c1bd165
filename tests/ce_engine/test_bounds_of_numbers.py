"""Options at the ends of what they may be, beside the twin in float64: no number overflows on the way to the result."""

import math
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Head, Norm, reference
from tests.ce_engine.losses.divergences.examples import KINDS, pair
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.usefixtures("either_kernels")

LEAST, MOST = 1e-15, 1e15
ENDS = (LEAST, 1.0, MOST)
TOLERANCES = {torch.float64: 1e-11, torch.float32: 2e-5, torch.bfloat16: 1e-2}


def assert_close(ours: ce_engine.LossResult, twin: ce_engine.LossResult, dtype: torch.dtype) -> None:
    """Numbers may be huge: they are compared in units of the largest, or of 1."""
    tolerance = TOLERANCES[dtype]
    for x, y in ((ours.loss, twin.loss), (present(ours.grad), present(twin.grad))):
        finite = y[y.isfinite()].abs()
        size = max(1.0, float(finite.max())) if finite.numel() else 1.0
        torch.testing.assert_close(x.double() / size, y / size, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("kind", "temperature", "beta", "dtype"),
    pairs(KINDS, ENDS, (LEAST, 0.5, 1 - LEAST), TOLERANCES),
)
def test_temperature_and_beta_of_divergences(kind, temperature, beta, dtype):
    x, y = pair(4, 40, dtype=dtype)
    x[:, 3] = y[:, 3] = -math.inf
    options: dict[str, Any] = {"divergence": kind, "temperature": temperature, "reduction": "none"}
    if kind == "jensen_shannon":
        options["beta"] = beta
    classes = torch.arange(6).expand(4, 6)
    named = options | {"target_classes": classes, "tail": "renormalize"}
    for target, of in ((y, options), (y.float().log_softmax(1)[:, :6], named)):
        ours = ce_engine.kl_divergence(x, target, grad=True, grad_dtype=torch.float64, **of)
        assert_close(ours, reference.kl_divergence(x, target, **of), dtype)


@pytest.mark.parametrize(
    ("softcap", "temperature", "eps", "dtype"), pairs((None, *ENDS), ENDS, (0.0, LEAST, MOST), TOLERANCES)
)
def test_softcap_temperature_and_eps_of_heads(softcap, temperature, eps, dtype):
    torch.manual_seed(0)
    weight = torch.randn(40, 8).to(torch.float64 if dtype is torch.float64 else torch.float32)
    weight[3] = 0  # 0 times an infinite factor would be NaN
    head = Head(weight, norm=Norm("rms", eps), softcap=softcap, temperature=temperature)
    x, y = torch.randn(4, 8).to(dtype), torch.tensor([0, 3, 7, 39])
    options: dict[str, Any] = {"grad": True, "grad_dtype": torch.float64, "outputs": ["entropy"]}
    ours = ce_engine.linear_cross_entropy(x, head, y, **options)
    assert_close(ours, reference.linear_cross_entropy(x, head, y), dtype)
    of_both = ce_engine.kl_divergence(
        x, x.flip(0), head=head, target_head=head, temperature=temperature, divergence="jensen_shannon", **options
    )
    for result in (ours, of_both):
        for name in ("loss", "grad", "entropy"):
            assert getattr(result, name).isfinite().all(), name


@pytest.mark.parametrize(
    ("z_loss", "divisor", "smoothing", "dtype"),
    pairs((0.0, 5e-324, MOST), ENDS, (5e-324, 1 - 2**-53, 1.0), TOLERANCES),
)
def test_z_loss_divisor_and_smoothing(z_loss, divisor, smoothing, dtype):
    x, target = pair(4, 40, dtype=dtype)[0], torch.tensor([0, 3, 7, 39])
    options: dict[str, Any] = {"z_loss": z_loss, "divisor": divisor, "label_smoothing": smoothing}
    ours = ce_engine.cross_entropy(x, target, grad=True, grad_dtype=torch.float64, **options)
    assert_close(ours, reference.cross_entropy(x, target, **options), dtype)
