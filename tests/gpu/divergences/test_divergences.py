"""Divergences on a device, beside the CPU path in float64, and in a pipeline of pieces."""

from typing import Any

import pytest
import torch

from ce_engine import slabs
from ce_engine.gpu import Pipeline, _divergence
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import DEVICE, OUTPUTS, assert_right, assert_same_bits, by_kernels, row
from tests.present import present

KINDS = ("forward", "reverse", "jensen_shannon")
TAILS = ("renormalize", "one_bin", "drop")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    if DEVICE.type == "cpu":
        monkeypatch.setattr(_divergence, "PART_NUMBERS", 1000)


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


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_places_are_those_of_the_cpu(temperature):
    x, y = models(4, 50)
    x[2, 7] = x[2, 9]
    labels = torch.tensor([3, -100, 9, 0])
    outputs = ("predictions", "target_log_probabilities", "target_ranks")
    assert_right(slabs.kl_divergence(x, y, labels=labels, outputs=outputs, top_k=3, temperature=temperature))


@pytest.mark.parametrize("kind", KINDS)
def test_infinities_and_nan_are_as_in_float64(kind):
    x, y = models(6, 11)
    x[:4, 10] = y[:4, 10] = -torch.inf  # padding of both
    x[1, 2] = -torch.inf
    y[2, 3] = -torch.inf
    x[3] = -torch.inf
    y[4, 5] = torch.nan
    # With no share in p alone, the gradient of `reverse` means nothing.
    assert_right(slabs.kl_divergence(x, y, divergence=kind, reduction="none", grad=kind != "reverse"))


@pytest.mark.parametrize("count", [0, 11])
def test_none_or_all_of_the_classes_are_named(count):
    x, y = models(3, 11)
    log_p, classes = y.log_softmax(1).topk(count)
    assert_right(slabs.kl_divergence(x, log_p, target_classes=classes, tail="one_bin", grad=True))


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("class_count", [37, pytest.param(50_257, marks=pytest.mark.gpu)])
def test_company_changes_no_bit(class_count, is_named):
    x, y = models(60, class_count)
    options: dict[str, Any] = {"reduction": "none", "grad": True}
    if is_named:
        y, options["target_classes"] = y.log_softmax(1).topk(9)
        options["tail"] = "one_bin"
    together = by_kernels(slabs.kl_divergence(x, y, **options))
    for i in (0, 31, 59):
        own = {name: value[i : i + 1] if name == "target_classes" else value for name, value in options.items()}
        alone = by_kernels(slabs.kl_divergence(x[i : i + 1], y[i : i + 1], **own))
        assert_same_bits(alone, row(together, i))


@pytest.mark.parametrize("class_count", [1, 37])
def test_all_parts_have_one_shape(class_count, monkeypatch):
    shapes, evaluated = set(), vars(_divergence)["evaluated"]

    def spy(form, x, target, rows, **options):
        shapes.add((x.shape, target.shape, present(rows.classes).shape))
        return evaluated(form, x, target, rows, **options)

    monkeypatch.setattr(_divergence, "evaluated", spy)
    for rows in (1, 5, 60):
        x, y = models(rows, class_count)
        by_kernels(slabs.kl_divergence(x, y, labels=torch.zeros(rows, dtype=torch.int64)))
    (((rows, columns), *_),) = shapes
    assert (rows, columns) == (_divergence.PART_NUMBERS // class_count, -(-class_count // 4) * 4)
