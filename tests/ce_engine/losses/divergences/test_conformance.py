"""PyTorch's own samples of `kl_div`. Log-probabilities are logits of themselves, so each is a pair of models.

They are private to PyTorch and change between its versions: see tests/ce_engine/losses/test_conformance.py.
"""

from functools import cache
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import ce_engine
from tests.ce_engine.helpers import TOLERANCES
from tests.present import present

pytestmark = [
    pytest.mark.usefixtures("either_kernels"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),  # PyTorch's, of its own samples
]

COUNT = 16


@cache
def samples(dtype: torch.dtype) -> list[Any]:
    from torch.testing._internal.common_methods_invocations import op_db

    (op,) = (op for op in op_db if op.name == "nn.functional.kl_div")
    torch.manual_seed(0)
    return list(op.sample_inputs("cpu", dtype))


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_samples_agree_with_torch(dtype):
    assert len(samples(dtype)) == COUNT
    for sample in samples(dtype):
        (target,), options = sample.args, sample.kwargs
        x, y = sample.input, target if options["log_target"] else target.log()
        torch.testing.assert_close(x.exp().sum(-1), torch.ones(x.shape[:-1], dtype=dtype))
        leaf = x.clone().requires_grad_()
        theirs = F.kl_div(leaf.log_softmax(-1), target, **options)
        (grad,) = torch.autograd.grad(theirs.sum(), leaf)
        # `mean` divides by elements there, and by rows here; `batchmean` by the first dimension.
        divisor = {"mean": x.numel(), "batchmean": x.shape[0]}.get(options["reduction"], 1)
        ours = ce_engine.kl_divergence(x, y, reduction="sum", grad=True)
        expected = theirs.sum().detach() * divisor
        torch.testing.assert_close(ours.loss, expected, atol=TOLERANCES[dtype], rtol=10 * TOLERANCES[dtype])
        torch.testing.assert_close(present(ours.grad), grad * divisor, atol=TOLERANCES[dtype], rtol=TOLERANCES[dtype])
        if options["reduction"] == "none":
            rows = ce_engine.kl_divergence(x, y, reduction="none").loss
            torch.testing.assert_close(rows, theirs.sum(-1).detach(), atol=10 * TOLERANCES[dtype], rtol=0)
