"""What only a GPU shows: the order of compiled sums and of streams, offsets beyond 32 bits, and no needless waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ce_engine import slabs
from ce_engine._slab import RowResults, Slab
from ce_engine.gpu import CudaDevice, Pipeline, evaluate
from tests.gpu.helpers import DEVICE, OUTPUTS, assert_same_bits, by_kernels, row
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.gpu

GIB = 2**30
# Rows that share a program, rows of one block and of several, rows at odd addresses, and more than the L2 cache holds.
CLASS_COUNTS = (2, 10, 1000, 4096, 32_000, 50_257, 262_144)


def on_device(slab: Slab) -> RowResults:
    """The results of a slab whose input is on the device."""
    return evaluate(slab.kind, slab.input, slab.target, slab.rows, slab.row_count)


def batch(rows: int, class_count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(DEVICE).manual_seed(class_count)
    input = torch.randn(rows, class_count, generator=generator, device=DEVICE) * 3
    return input.to(dtype), torch.randint(class_count, (rows,), generator=generator, device=DEVICE)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("class_count", CLASS_COUNTS)
def test_error_is_no_larger_than_torchs(class_count, dtype):
    input, target = batch(257, class_count, dtype)
    results = on_device(slabs.cross_entropy(input, target, reduction="sum", grad=True))
    truth, theirs = (_torch(x, target) for x in (input.double(), input.float()))
    for ours, torch_s, true in zip((results.losses, present(results.grad)), theirs, truth, strict=True):
        eps = torch.finfo(ours.dtype).eps
        assert (ours - true).abs().max() <= (torch_s - true).abs().max() + 2 * eps * true.abs().max()


def _torch(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = input.clone().requires_grad_()
    losses = F.cross_entropy(leaf, target, reduction="none")
    return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]


@pytest.mark.parametrize(
    ("class_count", "dtype", "grad", "label_smoothing"),
    pairs(CLASS_COUNTS, (torch.float32, torch.bfloat16), (False, True), (0.0, 0.1)),
)
def test_company_changes_no_bit(class_count, dtype, grad, label_smoothing):
    rows = 515
    input, target = batch(rows, class_count, dtype)
    options: dict[str, Any] = {
        "reduction": "sum",
        "grad": grad,
        "label_smoothing": label_smoothing,
        "outputs": ("lse", "entropy"),
    }
    together = on_device(slabs.cross_entropy(input, target, **options))
    for i in (0, 1, 130, rows - 1):
        alone = on_device(slabs.cross_entropy(input[i : i + 1], target[i : i + 1], **options))
        assert_same_bits(alone, row(together, i))


@pytest.mark.parametrize("class_count", [10, 1000, 50_257])
def test_odd_address_changes_no_bit(class_count):
    input, target = batch(33, class_count, torch.bfloat16)
    odd = torch.cat([input.new_zeros(1), input.flatten()])[1:].view(input.shape)
    plain, moved = (on_device(slabs.cross_entropy(x, target, grad=True)) for x in (input, odd))
    assert_same_bits(plain, moved)


def test_offsets_beyond_32_bits():
    rows, class_count = 70_000, 32_768
    if torch.cuda.mem_get_info()[0] < 16 * GIB:
        pytest.skip("needs 16 GiB of free memory")
    input, target = torch.zeros(rows, class_count, dtype=torch.bfloat16, device=DEVICE), torch.zeros(rows).long()
    input[-1] = torch.randn(class_count)
    target[-1] = class_count - 1
    options: dict[str, Any] = {"reduction": "sum", "grad": True}
    results = on_device(slabs.cross_entropy(input, target.to(DEVICE), **options))
    last = on_device(slabs.cross_entropy(input[-1:].clone(), target[-1:].to(DEVICE), **options))
    assert_same_bits(last, results.map(lambda x: x[-1:], lambda x: x[-1:]))


def test_million_classes():
    input, target = batch(64, 1_000_000, torch.bfloat16)
    results = on_device(slabs.cross_entropy(input, target, reduction="sum", grad=True, outputs=OUTPUTS))
    losses, grad = _torch(input.double(), target)
    torch.testing.assert_close(results.losses.double(), losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(present(results.grad).double(), grad, atol=1e-6, rtol=1e-2)
    assert torch.equal(present(results.predictions).cpu(), input.cpu().argmax(1))


def test_evaluating_does_not_wait():
    input, target = batch(64, 1000, torch.float32)
    plain = slabs.cross_entropy(input, target, torch.rand(1000), label_smoothing=0.1, grad=True, outputs=OUTPUTS)
    on_device(plain)  # compiles
    with waiting_is_an_error():
        on_device(plain)


def some_launches(count: int) -> list[list[Slab]]:
    """Launches of different sizes, so that copies and kernels of several launches are under way together."""
    torch.manual_seed(0)
    launches = []
    for i in range(count):
        rows = (1, 300, 17)[i % 3]
        pairs = [(torch.randn(rows, 5000) * 3, torch.randint(5000, (rows,))) for _ in range(1 + i % 2)]
        launches.append([slabs.cross_entropy(x, y, grad=True, outputs=("lse", "predictions")) for x, y in pairs])
    return launches


@pytest.mark.parametrize("depth", [1, 2, 3, 8])
def test_pipeline_gives_each_slab_its_own(depth):
    launches, pipeline = some_launches(30), Pipeline(CudaDevice(DEVICE), depth=depth)
    tickets = [pipeline.start(launch) for launch in launches]
    for ticket, launch in zip(tickets, launches, strict=True):
        for results, slab in zip(ticket.result(), launch, strict=True):
            assert_same_bits(results, by_kernels(slab))
    pipeline.close()


def test_pipeline_waits_for_events_alone():
    launches, pipeline = some_launches(12), Pipeline(CudaDevice(DEVICE), depth=3)
    for launch in launches:  # compiles, and allocates
        pipeline.start(launch).result()
    with waiting_is_an_error():
        tickets = [pipeline.start(launch) for launch in launches]
        for ticket in tickets:
            ticket.result()
    pipeline.close()
