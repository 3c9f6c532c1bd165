"""PyTorch's own samples of linear_cross_entropy, forward and backward, over every transport.

A sample whose weight has more dimensions is one head for each position: the sums of all positions are those of all.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from losswire_client import Client, Head
from tests.helpers import serving
from tests.present import present

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6}
SAMPLES = 329  # that PyTorch has, so that none is missed


class Sample(NamedTuple):
    input: Tensor
    weight: Tensor
    target: Tensor
    options: dict[str, Any]

    @property
    def positions(self) -> list[tuple[int, ...]]:
        return list(itertools.product(*map(range, self.weight.shape[1:-1])))

    @property
    def by_probability(self) -> bool:
        return self.target.is_floating_point()

    def head_at(self, position: tuple[int, ...]) -> Head:
        bias: Tensor | None = self.options.get("linear_bias")
        own: tuple[slice | int, ...] = (slice(None), *position)
        return Head(_numpy(self.weight[own]), None if bias is None else _numpy(bias[own]))

    def target_at(self, position: tuple[int, ...]) -> Tensor:
        """The target of one head: of the input's rows."""
        rows = self.input.dim() - 1 + self.by_probability  # dimensions before those of positions
        return self.target[(slice(None),) * rows + position]


def samples(dtype: torch.dtype) -> list[Sample]:
    from torch.testing._internal.common_methods_invocations import op_db

    found = []
    operators = [op for op in op_db if op.name == "nn.functional.linear_cross_entropy"]
    for sample in itertools.chain.from_iterable(op.sample_inputs("cpu", dtype) for op in operators):
        options = {name: option for name, option in sample.kwargs.items() if name != "options"}
        weight, target = sample.args
        found.append(Sample(sample.input, weight, target, options))
    return found


@pytest.fixture(
    scope="module",
    params=["unary", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stream", "shared_memory"))],
)
def client(request) -> Iterator[Client]:
    with serving(max_heads=1000) as server, Client(f"127.0.0.1:{server.port}", transport=request.param) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_samples_agree(client, dtype):
    tested = 0
    for sample in samples(dtype):
        check(client, sample, TOLERANCE[dtype])
        tested += 1
    assert tested == SAMPLES


def check(client: Client, sample: Sample, tolerance: float) -> None:
    reduction = sample.options.get("reduction", "mean")
    x = sample.input.detach().requires_grad_()
    theirs = F.linear_cross_entropy(x, sample.weight, sample.target, **sample.options)
    (grad,) = torch.autograd.grad(theirs.sum(), x)
    given = {name: option for name, option in sample.options.items() if name != "linear_bias"}
    options = {name: _array(option) for name, option in given.items()} | {"reduction": "sum", "grad": True}
    results = [
        client.linear_cross_entropy(
            sample.input.numpy(),
            sample.head_at(at),
            sample.target_at(at).numpy(),
            **options,
        )
        for at in sample.positions
    ]
    divisor = sum(result.weight_sum for result in results) if reduction == "mean" else 1.0
    close(sum(result.loss_sum for result in results) / divisor, theirs.detach().sum(), tolerance, sample)
    close(sum(present(result.grad) for result in results) / divisor, grad, tolerance, sample)


def _numpy(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    return tensor.detach().numpy()


def _array(option: Any) -> Any:
    return option.numpy() if isinstance(option, Tensor) else option


def close(ours: Any, theirs: Tensor, tolerance: float, sample: Sample) -> None:
    scale = max(1.0, float(theirs.abs().max()) if theirs.numel() else 1.0)
    came = np.asarray(ours, np.float64)
    if not math.isfinite(scale):
        np.testing.assert_equal(came, theirs.double().numpy(), str(sample))
    else:
        np.testing.assert_allclose(came, theirs.double().numpy(), atol=tolerance * scale, rtol=0, err_msg=str(sample))
