"""What only a GPU shows: the order of compiled sums and of streams, offsets beyond 32 bits, and no needless waits."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import Engine, slabs
from ce_engine._kernel_rows import RowResults
from ce_engine._slab import Slab
from ce_engine.gpu import CudaDevice, Pipeline, evaluate
from tests.gpu.helpers import DEVICE, OUTPUTS, assert_same_bits, by_kernels, row
from tests.pairs import pairs
from tests.present import present

pytestmark = pytest.mark.gpu

MIB, GIB = 2**20, 2**30
PATH = [str(Path(ce_engine.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
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


@pytest.mark.parametrize("piece_bytes", [1, 100_000, 16 * MIB])
def test_cutting_a_launch_changes_no_bit(piece_bytes):
    image = torch.randn(5, 300, 41)
    launch = [
        slabs.cross_entropy(image, torch.randint(300, (5, 41)), grad=True, outputs=OUTPUTS),
        slabs.cross_entropy(image[0].T, torch.randint(300, (41,)), grad=True, outputs=OUTPUTS),
    ]
    pipeline = Pipeline(CudaDevice(DEVICE), piece_bytes=piece_bytes)
    for results, slab in zip(pipeline.start(launch).result(), launch, strict=True):
        assert_same_bits(results, by_kernels(slab))
    pipeline.close()


def test_gradient_of_a_large_slab_goes_where_it_says():
    input, target = torch.randn(1000, 32_000), torch.randint(32_000, (1000,))
    memory = torch.empty_like(input)
    plain = slabs.cross_entropy(input, target, grad=True)
    with Engine(device="cuda") as engine:
        result = engine.submit(plain.with_grad_into(memory)).result(60)
    assert result.grad is memory
    assert torch.equal(memory, present(by_kernels(plain).grad))


@pytest.mark.parametrize("index", range(4))
def test_device_of_each_index(index):
    if index >= torch.cuda.device_count():
        pytest.skip("there are fewer devices")
    slab = slabs.cross_entropy(torch.randn(300, 5000), torch.randint(5000, (300,)), grad=True)
    with Engine(device=f"cuda:{index}") as engine:
        result = engine.submit(slab).result(60)
        assert torch.cuda.memory_allocated(index) > 0
    assert torch.equal(present(result.grad), present(by_kernels(slab).grad))


def test_lack_of_memory_passes():
    # Pieces of this size get memory of their own from PyTorch: smaller ones might fit into what other tests left.
    slab = slabs.cross_entropy(torch.randn(2000, 5000), torch.randint(5000, (2000,)), grad=True)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    with Engine(device="cuda") as engine:
        torch.cuda.set_per_process_memory_fraction(0.0)
        try:
            with pytest.raises(ce_engine.OutOfMemoryError, match="2000 rows of 5000 float32"):
                engine.submit(slab).result(60)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        result = engine.submit(slab).result(60)
    assert torch.equal(present(result.grad), present(by_kernels(slab).grad))


BREAKS_THE_DEVICE = """
import os, torch, ce_engine
from ce_engine import Engine, slabs

slab = slabs.cross_entropy(torch.randn(3, 5), torch.zeros(3, dtype=torch.int64))
told = []
engine = Engine(device="cuda", on_device_lost=told.append)
engine.submit(slab).result(60)
torch.zeros(1, device="cuda")[torch.tensor([5], device="cuda")]  # fails on the device, and not here
try:
    engine.submit(slab).result(60)
except ce_engine.DeviceLostError as error:
    print("lost:", error, flush=True)
engine.close()
os._exit(len(told))  # as the server does: what PyTorch destroys at an exit would abort
"""


def test_broken_device_is_noticed():
    # In another process, since the device stays broken for the one that broke it.
    command, environment = (
        [sys.executable, "-c", BREAKS_THE_DEVICE],
        {**os.environ, "PYTHONPATH": os.pathsep.join(PATH)},
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("lost: CUDA error: ")
