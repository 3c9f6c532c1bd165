"""Hidden states on a device: the losses of logits that a head makes, tile by tile."""

import weakref
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import Engine, Head, Norm, Slab, slabs
from ce_engine._heads import logits
from ce_engine.gpu._heads import _heads, on_device
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import DEVICE, FLOATS, OUTPUTS, by_kernels
from tests.present import present

WIDTH, CLASSES, TILE = 12, 37, 16
ROWS = 2 * TILE + 3
HEADS: list[dict[str, Any]] = [
    {},
    {"norm": Norm("rms", 1e-6), "softcap": 4.0},
    {"norm": Norm("layer", 1e-6), "temperature": 1.5},
]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(logits, "TILE_BYTES", 1)
    monkeypatch.setattr("ce_engine.gpu._divergence.PART_NUMBERS", 10 * CLASSES)


def head_of(dtype: torch.dtype, **options: Any) -> Head:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(CLASSES, WIDTH, generator=generator), torch.randn(CLASSES, generator=generator)
    return Head(weight.to(dtype), bias.to(dtype), **options)


def hidden(head: Head, rows: int = ROWS, **options: Any) -> Slab:
    generator = torch.Generator().manual_seed(rows)
    input, target = torch.randn(rows, WIDTH, generator=generator), torch.randint(CLASSES, (rows,), generator=generator)
    target[rows // 2] = -100
    return slabs.linear_cross_entropy(input.to(head.dtype), head, target, **{"grad": True, **options})


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("options", HEADS)
def test_results_are_those_of_the_cpu(options, dtype):
    head = head_of(dtype, **options)
    one = hidden(head, outputs=OUTPUTS, weight=torch.rand(CLASSES), label_smoothing=0.1, grad_dtype=head.compute_dtype)
    ours, theirs = one.result(by_kernels(one)), ce_engine.evaluate(one)
    # On a device, products with weights in half precision round the other operand: the gradient of the logits too.
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-4, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
    for name in ("loss", "grad", "lse", "entropy", "probabilities", "log_probabilities"):
        scale = max(1.0, float(present(getattr(theirs, name)).abs().max()))
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=tolerance * scale, rtol=0)
    assert ours.row_count == theirs.row_count
    if "norm" not in options:
        assert torch.equal(present(ours.predictions), present(theirs.predictions))


def test_probability_targets():
    head = head_of(torch.float32)
    target = torch.rand(ROWS, CLASSES)
    one = slabs.linear_cross_entropy(torch.randn(ROWS, WIDTH), head, target, grad=True, sample_weight=torch.rand(ROWS))
    ours, theirs = one.result(by_kernels(one)), ce_engine.evaluate(one)
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_nan_in_an_ignored_row_is_in_no_gradient():
    one = hidden(head_of(torch.float32, **HEADS[1]))
    one.input[ROWS // 2] = torch.nan
    assert not present(by_kernels(one).grad)[ROWS // 2].any()


def test_small_gradients_do_not_vanish_in_half_precision():
    one = hidden(head_of(torch.float16), grad_output=torch.tensor(1e-9), grad_dtype=torch.float32)
    ours, theirs = by_kernels(one).grad, ce_engine.evaluate(one).grad
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-12)


def test_bits_of_a_row_are_the_same_in_any_tile():
    head = head_of(torch.float32)
    input, target = torch.randn(ROWS, WIDTH), torch.randint(CLASSES, (ROWS,))
    whole = by_kernels(slabs.linear_cross_entropy(input, head, target, reduction="none", grad=True))
    for rows in (slice(0, 1), slice(3, 20), slice(30, ROWS)):
        part = by_kernels(slabs.linear_cross_entropy(input[rows], head, target[rows], reduction="none", grad=True))
        assert torch.equal(part.losses, whole.losses[rows])
        assert torch.equal(present(part.grad), present(whole.grad)[rows])


def test_head_is_kept_on_a_device_as_long_as_it_lives():
    head = head_of(torch.bfloat16)
    by_kernels(hidden(head))
    (copy,) = _heads[head].values()
    assert copy.weight.dtype is torch.bfloat16
    before = len(_heads)
    del head, copy
    assert len(_heads) == before - 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_copy_on_a_device_is_no_larger_than_the_head(dtype):
    weight = torch.randn(WIDTH, dtype=dtype)
    head = head_of(dtype, norm=Norm("layer", 1e-6, weight, weight))
    copy = on_device(head, DEVICE)
    norm = present(copy.norm)
    tensors = [present(x) for x in (copy.weight, copy.bias, norm.weight, norm.bias)]
    assert sum(x.nbytes for x in tensors) <= head.nbytes


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    fake = FakeDevice()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("ce_engine.gpu.CudaDevice", lambda _: fake)
    return fake


@pytest.mark.parametrize("rows", [3, TILE, ROWS])
@pytest.mark.usefixtures("device")
def test_engine_evaluates_them_on_its_device(rows):
    one = hidden(head_of(torch.float32), rows, outputs=("lse", "probabilities"))
    with Engine(device="cuda", workers=2) as engine:
        result = engine.submit(one).result(60)
    theirs = ce_engine.evaluate(one)
    for name in ("loss", "grad", "lse", "probabilities"):
        torch.testing.assert_close(getattr(result, name), getattr(theirs, name))


@pytest.mark.usefixtures("device")
def test_head_that_is_gone_leaves_nothing_in_an_engine():
    head, target_head = head_of(torch.float32), head_of(torch.bfloat16)
    target = torch.randn(ROWS, WIDTH)
    both = slabs.kl_divergence(torch.randn(ROWS, WIDTH), target, head=head, target_head=target_head, grad=True)
    with Engine(device="cuda") as engine:
        engine.submit(both).result(60)
        copies = [weakref.ref(on_device(one, DEVICE).weight) for one in (head, target_head)]
        del head, target_head, both
        engine.submit(hidden(head_of(torch.float32), 3)).result(60)  # for which the worker drops the one before
        assert [copy() for copy in copies] == [None, None]


@pytest.mark.usefixtures("device")
def test_engine_evaluates_small_slabs_of_one_head_together():
    head = head_of(torch.float32)
    small = [hidden(head, rows) for rows in (2, 3, 4)]
    launches: list[ce_engine.Launch] = []
    with Engine(device="cuda", on_launch=launches.append, max_queue_delay_us=200_000) as engine:
        results = [future.result(60) for future in [engine.submit(one, caller=i) for i, one in enumerate(small)]]
    assert [launch.requests for launch in launches] == [3]
    for result, one in zip(results, small, strict=True):
        theirs = ce_engine.evaluate(one)
        torch.testing.assert_close(result.loss, theirs.loss)
        torch.testing.assert_close(result.grad, theirs.grad)


@pytest.mark.usefixtures("device")
def test_lack_of_memory_for_a_copy_fails_one_call(monkeypatch):
    def lacks(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    one = hidden(head_of(torch.float32), 3)
    with Engine(device="cuda") as engine:
        with monkeypatch.context() as while_full:
            while_full.setattr("ce_engine.gpu._heads._copied", lacks)
            with pytest.raises(ce_engine.OutOfMemoryError, match="too little memory is free for 3 rows"):
                engine.submit(one).result(60)
        assert engine.submit(one).result(60).loss.isfinite()


def test_lost_device_fails_them(device):
    device.fault = torch.AcceleratorError("CUDA error: device-side assert triggered")
    with Engine(device="cuda") as engine, pytest.raises(ce_engine.DeviceLostError):
        engine.submit(hidden(head_of(torch.float32))).result(60)


@pytest.mark.parametrize("grad", [False, True])
def test_benchmark_evaluates_what_it_compares_with(grad):
    heads, case = (pytest.importorskip(f"benchmarks.{name}") for name in ("gpu.heads", "heads.case"))
    tensors = heads.HeadSet(case.Case(TILE + 1, WIDTH, CLASSES, "float32", grad=grad), DEVICE.type)
    ours, theirs = tensors.ours(), tensors.theirs(heads.peers()["no options"])
    if grad:
        torch.testing.assert_close(ours.grad, *theirs)
    else:
        torch.testing.assert_close(ours.losses.sum(), theirs)
