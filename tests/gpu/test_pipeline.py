"""Launches in flight keep their memory, whatever the order in which a device does its work."""

import random
from itertools import product
from typing import Any

import pytest
import torch

from ce_engine import slabs
from ce_engine._slab import RowResults, Slab
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


def test_memory_beyond_the_kept_is_freed():
    device, launch = FakeDevice(), some_slabs()[0]
    pipeline = Pipeline(device, depth=1, kept_bytes=0)
    for _ in range(3):
        pipeline.start(launch).result()
    assert len(device.allocations) == 3 * 4


def test_failing_launch_harms_no_other():
    device, launches = FakeDevice(), some_slabs()
    pipeline = Pipeline(device, depth=2)
    before = pipeline.start(launches[0])
    for _ in range(3):  # more launches than berths
        device.launch_error = RuntimeError("out of memory")
        with pytest.raises(RuntimeError, match="out of memory"):
            pipeline.start(launches[1])
        assert not device.busy  # otherwise its memory could be neither used again nor given back
        device.launch_error = None
    after = pipeline.start(launches[2])
    assert_results(before.result(), launches[0])
    assert_results(after.result(), launches[2])


def test_failing_wait_harms_no_other(monkeypatch):
    pipeline, launches = Pipeline(FakeDevice(), depth=1), some_slabs()
    guilty = pipeline.start(launches[0])
    with monkeypatch.context() as patched:
        patched.setattr("tests.gpu.fake_device.FakeEvent.wait", lambda _: (_ for _ in ()).throw(RuntimeError("lost")))
        innocent = pipeline.start(launches[1])  # waits for the berth of the launch that fails
    assert_results(innocent.result(), launches[1])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="lost"):
            guilty.result()


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
