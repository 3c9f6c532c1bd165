"""Launches in flight keep their memory, whatever the order in which a device does its work."""

import math
import random
from itertools import product
from typing import Any

import pytest
import torch

from ce_engine import slabs
from ce_engine._kernel_rows import RowResults
from ce_engine._slab import Slab
from ce_engine.gpu import Pipeline
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import BINARY_OUTPUTS, OUTPUTS, assert_same_bits, by_kernels
from tests.present import present


def some_slabs(seed: int = 0) -> list[list[Slab]]:
    """Launches of one slab and of several, of all losses, of different sizes, with and without optional columns."""
    torch.manual_seed(seed)
    x, y, image = torch.randn(6, 3), torch.randint(3, (6,)), torch.randn(2, 3, 4)
    y[4] = -100
    smoothing: dict[str, Any] = {"label_smoothing": 0.1, "grad": True, "outputs": OUTPUTS}
    return [
        [slabs.cross_entropy(x, y, grad=True)],
        [
            slabs.cross_entropy(x, y, torch.rand(3), grad=True),
            slabs.cross_entropy(image, torch.randint(3, (2, 4)), grad=True, reduction="none"),
            slabs.cross_entropy(x[0], y[0], grad=True, sample_weight=torch.tensor(2.0)),
        ],
        [slabs.cross_entropy(x, x.softmax(1), **smoothing), slabs.cross_entropy(x[1:], x[:-1].softmax(1), **smoothing)],
        [slabs.nll_loss(x.bfloat16(), y, outputs=OUTPUTS)],
        [slabs.binary_cross_entropy_with_logits(x, x.sigmoid(), pos_weight=torch.rand(3), outputs=BINARY_OUTPUTS)],
        [
            slabs.binary_cross_entropy(x.sigmoid(), x.sigmoid(), grad=True),
            slabs.binary_cross_entropy(torch.rand(5), torch.rand(5), torch.rand(5), grad=True),
        ],
    ]


def assert_results(results: list[RowResults], launch: list[Slab]) -> None:
    assert len(results) == len(launch)
    for result, slab in zip(results, launch, strict=True):
        assert_same_bits(result, by_kernels(slab))


# Seeds of orders of the work. `make test-slow` has more of them.
@pytest.mark.parametrize(
    ("seed", "depth"),
    [(0, 1), (1, 2), (0, 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in product((2, 3), (1, 2, 3)))],
)
def test_any_order_of_work_gives_the_results(seed, depth):
    device, launches = FakeDevice(seed), some_slabs(seed) + some_slabs(seed + 1)
    random.Random(seed).shuffle(launches)
    pipeline = Pipeline(device, depth=depth)
    tickets = [pipeline.start(launch) for launch in launches]
    fetched = list(zip(tickets, launches, strict=True))
    random.Random(seed).shuffle(fetched)
    for ticket, launch in fetched:
        assert_results(ticket.result(), launch)


def test_start_waits_only_for_a_berth():
    device, launches = FakeDevice(), some_slabs()
    pipeline = Pipeline(device, depth=3)
    for launch in launches[:3]:
        pipeline.start(launch)
    assert device.waits == 0
    pipeline.start(launches[3])
    assert device.waits == 1


def test_fetching_waits_once_for_a_launch():
    device = FakeDevice()
    pipeline = Pipeline(device)
    first, second = (pipeline.start(launch) for launch in some_slabs()[:2])
    second.result()
    second.result()
    assert device.waits == 1
    first.result()
    assert device.waits == 2


def test_input_may_change_after_the_start():
    input, target = torch.randn(4, 3), torch.zeros(4, dtype=torch.int64)
    expected = by_kernels(slabs.cross_entropy(input.clone(), target, grad=True))
    ticket = Pipeline(FakeDevice()).start([slabs.cross_entropy(input, target, grad=True)])
    input.zero_()
    assert_same_bits(ticket.result()[0], expected)


def test_results_have_memory_of_their_own():
    pipeline = Pipeline(FakeDevice(), depth=1)
    launches = some_slabs()
    results = [pipeline.start(launch).result() for launch in launches]
    for result, launch in zip(results, launches, strict=True):
        assert_results(result, launch)


def test_memory_is_used_again():
    device = FakeDevice()
    pipeline = Pipeline(device, depth=2)
    launch = some_slabs()[0]
    for _ in range(10):
        pipeline.start(launch)
    assert len(device.allocations) == 2 * 4


def test_memory_for_a_long_row_is_freed():
    device, launch = FakeDevice(), some_slabs()[0]
    pipeline = Pipeline(device, depth=1, piece_bytes=1)
    pipeline.start(launch).result()
    assert len(device.allocations) == 4 * launch[0].row_count


@pytest.mark.slow
# Pieces of one row, of several rows of a slab, and of several slabs.
@pytest.mark.parametrize(("piece_bytes", "depth"), [(1, 3), (40, 1), (100, 3), (200, 1)])
def test_cutting_a_launch_changes_no_bit(piece_bytes, depth):
    pipeline = Pipeline(FakeDevice(), depth=depth, piece_bytes=piece_bytes)
    launches = some_slabs()
    tickets = [pipeline.start(launch) for launch in launches]
    for ticket, launch in zip(tickets, launches, strict=True):
        assert_results(ticket.result(), launch)


def test_pieces_take_no_more_memory_than_said():
    device, rows = FakeDevice(), torch.randn(1000, 10)
    weights: dict[str, Any] = {"weight": torch.rand(10), "sample_weight": torch.rand(1000), "outputs": OUTPUTS}
    launch = [slabs.cross_entropy(rows, torch.randint(10, (1000,)), grad=True, **weights)]
    pipeline = Pipeline(device, depth=2, piece_bytes=4096)
    assert_results(pipeline.start(launch).result(), launch)
    assert len(device.allocations) == 2 * 4  # the memory of each berth is used again
    assert max(device.allocations) <= 2 * 4096


def test_piece_is_copied_out_while_the_next_one_starts():
    device = FakeDevice()
    launch = [slabs.cross_entropy(torch.randn(12, 10), torch.randint(10, (12,)), grad=True)]
    pipeline = Pipeline(device, depth=3, piece_bytes=1)
    ticket = pipeline.start(launch)
    assert device.waits == 12 - 3  # for berths, and for nothing else
    assert_results(ticket.result(), launch)
    assert device.waits == 12


@pytest.mark.parametrize("piece_bytes", [1, 2**20])
def test_gradient_goes_where_the_slab_says(piece_bytes):
    image, target = torch.randn(2, 3, 4), torch.randint(3, (2, 4))
    memory = torch.full((2, 3, 4), math.nan)
    plain = slabs.cross_entropy(image, target, grad=True)
    (results,) = Pipeline(FakeDevice(), piece_bytes=piece_bytes).start([plain.with_grad_into(memory)]).result()
    assert results.grad is memory
    assert torch.equal(memory, present(by_kernels(plain).grad))


def test_closing_waits_for_what_is_in_flight():
    device, launches = FakeDevice(), some_slabs()
    pipeline = Pipeline(device, depth=3)
    tickets = [pipeline.start(launch) for launch in launches[:3]]
    pipeline.close()
    waits = device.waits
    for ticket, launch in zip(tickets, launches, strict=False):
        assert_results(ticket.result(), launch)
    assert device.waits == waits


def test_slabs_without_rows_need_no_device():
    device = FakeDevice()
    pipeline = Pipeline(device)
    empty = slabs.cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), grad=True)
    (results,) = pipeline.start([empty]).result()
    assert present(results.grad).shape == (0, 3)
    assert not device.allocations
    some = some_slabs()[0]
    assert_results(pipeline.start([empty, *some, empty]).result(), [empty, *some, empty])
