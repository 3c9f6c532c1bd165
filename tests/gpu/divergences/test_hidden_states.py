"""Divergences of hidden states on a device: of either model or of both, beside the CPU's."""

from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head, Norm, Slab, slabs
from ce_engine._heads import logits
from ce_engine.gpu import _head_tiles
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import FLOATS, OF_TARGETS, OUTPUTS, assert_same_bits, by_kernels
from tests.pairs import pairs
from tests.present import present

WIDTH, TARGET_WIDTH, CLASSES, TILE = 12, 20, 37, 16
ROWS = TILE + 3
KINDS = ("forward", "reverse", "jensen_shannon")
WHICH = ("input", "target", "both")
HEADS: list[dict[str, Any]] = [
    {},
    {"norm": Norm("rms", 1e-5), "temperature": 0.8},
    {"norm": Norm("layer", 1e-5), "softcap": 4.0},
]
TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 2e-2}
NUMBERS = ("loss", "grad", "changes", *OUTPUTS[:-1], "target_log_probabilities", "top_log_probabilities")
PLACES = ("predictions", "target_ranks", "top_classes")


@pytest.fixture(autouse=True)
def small_tiles_and_parts(monkeypatch):
    monkeypatch.setattr(logits, "TILE_BYTES", 1)
    monkeypatch.setattr("ce_engine.gpu._divergence.PART_NUMBERS", 10 * CLASSES)  # several in a tile


def head_of(width: int, dtype: torch.dtype, **options: Any) -> Head:
    generator = torch.Generator().manual_seed(width)
    weight, bias = torch.randn(CLASSES, width, generator=generator), torch.randn(CLASSES, generator=generator)
    return Head(weight.to(dtype), bias.to(dtype), **options)


def hidden(
    which: str, rows: int = ROWS, dtype: torch.dtype = torch.float32, of_head: dict[str, Any] = HEADS[1], **options: Any
) -> Slab:
    generator = torch.Generator().manual_seed(rows)
    x, y = (torch.randn(rows, CLASSES, generator=generator) * 2 for _ in range(2))
    if which != "target":
        x, options["head"] = x[:, :WIDTH] / 2, head_of(WIDTH, dtype, **of_head)
    if which != "input" and "target_classes" not in options:
        y, options["target_head"] = y[:, :TARGET_WIDTH] / 2, head_of(TARGET_WIDTH, dtype, **of_head)
    labels = torch.randint(CLASSES, (rows,), generator=generator)
    labels[rows // 2] = -100
    target = options.pop("target", y.to(dtype))
    return slabs.kl_divergence(x.to(dtype), target, labels=labels, grad=True, **options)


def assert_like_the_cpu(one: Slab) -> None:
    ours, theirs = one.result(by_kernels(one)), ce_engine.evaluate(one)
    for name in NUMBERS:
        if (expected := getattr(theirs, name)) is not None:
            scale = max(1.0, float(expected.nan_to_num(0, 0, 0).abs().max()))
            tolerance = TOLERANCES[one.kind.dtype] * scale
            torch.testing.assert_close(getattr(ours, name), expected, atol=tolerance, rtol=0, equal_nan=True)
    if one.kind.dtype in (torch.float64, torch.float32):  # others round what products multiply
        assert ours.correct_count == theirs.correct_count
        for name in PLACES:
            if (expected := getattr(theirs, name)) is not None:
                assert torch.equal(getattr(ours, name), expected), name


@pytest.mark.parametrize(
    ("which", "kind", "dtype", "of_head", "temperature"), pairs(WHICH, KINDS, FLOATS, HEADS, (1.0, 2.0))
)
def test_results_are_those_of_the_cpu(which, kind, dtype, of_head, temperature):
    weights = torch.rand(ROWS)
    options: dict[str, Any] = {"outputs": (*OUTPUTS, *OF_TARGETS), "top_k": 3, "sample_weight": weights}
    wide = torch.promote_types(dtype, torch.float32)
    one = hidden(which, ROWS, dtype, of_head, divergence=kind, temperature=temperature, grad_dtype=wide, **options)
    assert_like_the_cpu(one)


@pytest.mark.parametrize(("kind", "tail"), pairs(KINDS, ("renormalize", "one_bin", "drop")))
def test_some_classes_are_named(kind, tail):
    log_p, classes = torch.randn(ROWS, CLASSES).log_softmax(1).topk(5)
    log_p[1, 2], classes[1, 2] = -torch.inf, 10**9
    temperature = 2.0 if tail == "renormalize" else 1.0
    options: dict[str, Any] = {"target": log_p, "target_classes": classes, "tail": tail, "temperature": temperature}
    assert_like_the_cpu(hidden("input", divergence=kind, **options))


def test_models_of_different_dtypes():
    head, target_head = head_of(WIDTH, torch.float64), head_of(TARGET_WIDTH, torch.bfloat16)
    x, y = torch.randn(ROWS, WIDTH, dtype=torch.float64), torch.randn(ROWS, TARGET_WIDTH).bfloat16()
    one = slabs.kl_divergence(x, y, head=head, target_head=target_head, grad=True, reduction="none")
    ours, theirs = one.result(by_kernels(one)), ce_engine.evaluate(one)
    torch.testing.assert_close(ours.loss, theirs.loss, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=0)


@pytest.mark.parametrize("of_head", HEADS)
def test_nan_in_an_ignored_row_is_in_no_gradient(of_head):
    one = hidden("both", of_head=of_head)
    one.input[ROWS // 2] = torch.nan
    grad = present(by_kernels(one).grad)
    assert not grad[ROWS // 2].any()
    assert grad.isfinite().all()


def test_infinities_of_given_logits_are_as_on_the_cpu():
    teacher = torch.randn(ROWS, CLASSES)
    teacher[0, 3], teacher[1], teacher[2, 0] = -torch.inf, -torch.inf, torch.nan
    assert_like_the_cpu(hidden("input", target=teacher, reduction="none"))


@pytest.mark.parametrize("which", WHICH)
def test_bits_of_a_row_are_the_same_in_any_tile(which):
    whole = hidden(which, reduction="none")
    together = by_kernels(whole)
    for at in (slice(0, 1), slice(3, 9), slice(ROWS - 2, ROWS)):
        part = Slab(
            whole.kind,
            whole.input[at],
            present(whole.target)[at],
            whole.rows.part(at),
            whole.reduction._replace(shape=torch.Size((at.stop - at.start,))),
        )
        assert_same_bits(by_kernels(part), together.map(lambda x: x[at], lambda x: x[at]))  # noqa: B023 - called here


def test_gradient_takes_the_place_of_logits(monkeypatch):
    found, launch = [], vars(_head_tiles)["launch"]

    def spy(kind, operands, out):
        found.append(present(out.grad).data_ptr() == operands.x.data_ptr())
        launch(kind, operands, out)

    monkeypatch.setattr(_head_tiles, "launch", spy)
    for of_head in HEADS[1:]:
        by_kernels(hidden("both", 3, of_head=of_head))
    assert found == [True, False]  # a softcap's derivative needs the logits


@pytest.mark.parametrize("which", WHICH)
def test_engine_evaluates_them_on_its_device(which, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    device = FakeDevice()
    monkeypatch.setattr("ce_engine.gpu.CudaDevice", lambda _: device)
    several = [hidden(which, rows) for rows in (2, 3, ROWS)]
    with Engine(device="cuda", max_queue_delay_us=100_000) as engine:
        results = [future.result(60) for future in [engine.submit(one, caller=i) for i, one in enumerate(several)]]
    for result, one in zip(results, several, strict=True):
        theirs = ce_engine.evaluate(one)
        for name in ("loss", "grad", "changes"):
            torch.testing.assert_close(getattr(result, name), getattr(theirs, name), atol=1e-4, rtol=1e-4)
