"""Divergences on a device, beside the CPU path in float64, and in a pipeline of pieces."""

from typing import Any

import pytest
import torch

from ce_engine import InvalidArgumentError, slabs
from ce_engine.gpu import Pipeline
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import OUTPUTS, assert_right, assert_same_bits, by_kernels

KINDS = ("forward", "reverse", "jensen_shannon")
TAILS = ("renormalize", "one_bin", "drop")


def models(rows: int, class_count: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(rows, class_count) * 3
    return x.to(dtype), (x + torch.randn(rows, class_count)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_as_in_float64(kind, dtype):
    x, y = models(5, 300, dtype)
    labels = torch.tensor([3, -100, 0, 299, 7])
    options: dict[str, Any] = {"divergence": kind, "labels": labels, "grad": True, "sample_weight": torch.rand(5)}
    assert_right(slabs.kl_divergence(x, y, outputs=OUTPUTS, temperature=2.0, **options))
    assert_right(slabs.kl_divergence(x, y))


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("kind", KINDS)
def test_some_classes_are_as_in_float64(kind, tail):
    x, y = models(4, 50)
    log_p, classes = y.log_softmax(1).topk(5)
    log_p[1, 2] = -torch.inf
    classes[1, 2] = 10**9
    options: dict[str, Any] = {"divergence": kind, "target_classes": classes, "tail": tail, "grad": True}
    assert_right(slabs.kl_divergence(x, log_p, outputs=OUTPUTS, **options))


@pytest.mark.parametrize("piece_bytes", [1, 3000, 2**20])
def test_pieces_change_no_bit(piece_bytes):
    x, y = models(9, 40)
    log_p, classes = y.log_softmax(1).topk(3)
    launch = [
        slabs.kl_divergence(x[at], log_p[at], target_classes=classes[at], tail="one_bin", grad=True)
        for at in (slice(0, 4), slice(4, 9))
    ]
    pipeline = Pipeline(FakeDevice(), piece_bytes=piece_bytes)
    for results, slab in zip(pipeline.start(launch).result(), launch, strict=True):
        assert_same_bits(results, by_kernels(slab))
    pipeline.close()


def test_what_only_a_cpu_evaluates_is_refused():
    x, y = models(2, 9)
    with pytest.raises(InvalidArgumentError, match="top_k: expected no 'top_classes' of divergences on a GPU"):
        by_kernels(slabs.kl_divergence(x, y, top_k=2))
