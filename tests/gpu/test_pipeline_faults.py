"""Where memory lacks or the device breaks: who errs, who does not, and what the pipeline can do afterwards."""

import pytest
import torch

import ce_engine
from ce_engine import slabs
from ce_engine._slab import Slab
from ce_engine.gpu import Pipeline
from tests.gpu.fake_device import FakeDevice
from tests.gpu.helpers import assert_same_bits, by_kernels

FAULT = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")


def launch_of(rows: int = 2, seed: int = 0) -> list[Slab]:
    generator = torch.Generator().manual_seed(seed)
    x, target = torch.randn(rows, 10, generator=generator), torch.randint(10, (rows,), generator=generator)
    return [slabs.cross_entropy(x, target, grad=True)]


def assert_right(ticket, launch):
    for results, slab in zip(ticket.result(), launch, strict=True):
        assert_same_bits(results, by_kernels(slab))


def test_failing_launch_harms_no_other():
    device, (first, second, third) = FakeDevice(), (launch_of(seed=seed) for seed in range(3))
    pipeline = Pipeline(device, depth=2)
    before = pipeline.start(first)
    for _ in range(3):  # more launches than berths
        device.launch_error = RuntimeError("invalid argument")
        with pytest.raises(RuntimeError, match="invalid argument"):
            pipeline.start(second)
        assert not device.busy  # otherwise its memory could be neither used again nor given back
        device.launch_error = None
    after = pipeline.start(third)
    assert_right(before, first)
    assert_right(after, third)


def test_failing_wait_harms_no_other(monkeypatch):
    pipeline, first, second = Pipeline(FakeDevice(), depth=1), launch_of(seed=1), launch_of(seed=2)
    guilty = pipeline.start(first)
    with monkeypatch.context() as patched:
        patched.setattr("tests.gpu.fake_device.FakeEvent.wait", lambda _: (_ for _ in ()).throw(RuntimeError("odd")))
        innocent = pipeline.start(second)  # waits for the berth of the launch that fails
    assert_right(innocent, second)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="odd"):
            guilty.result()


@pytest.mark.parametrize("piece_bytes", [1, 2**20])
def test_memory_that_is_kept_is_given_up_where_it_lacks(piece_bytes):
    device = FakeDevice()
    pipeline = Pipeline(device, depth=3, piece_bytes=piece_bytes)
    small = [launch_of(seed=seed) for seed in range(3)]
    in_flight = [pipeline.start(launch) for launch in small]
    device.free_bytes = 0  # all there is, the pipeline has
    again = pipeline.start(small[0])
    assert_right(again, small[0])
    for ticket, launch in zip(in_flight, small, strict=True):
        assert_right(ticket, launch)


@pytest.mark.parametrize("error", [FakeDevice.out_of_memory, FakeDevice.not_pinned, MemoryError()])
def test_launch_too_large_fails_alone(error, monkeypatch):
    monkeypatch.setattr(FakeDevice, "out_of_memory", error)
    monkeypatch.setattr(FakeDevice, "not_pinned", error)
    device = FakeDevice(free_bytes=8 * 1024)  # enough for three small launches
    pipeline = Pipeline(device, depth=3)
    small, large = launch_of(), launch_of(rows=1000)
    before = pipeline.start(small)
    for _ in range(4):  # more launches than berths
        with pytest.raises(ce_engine.OutOfMemoryError, match="too little memory is free for 1000 rows of 10 float32"):
            pipeline.start(large)
    after = pipeline.start(small)
    assert_right(before, small)
    assert_right(after, small)


def test_error_of_a_lack_of_memory_keeps_none():
    device = FakeDevice(free_bytes=256 * 1024)
    with pytest.raises(ce_engine.OutOfMemoryError) as raised:
        Pipeline(device).start(launch_of(rows=5000))
    device.empty_caches()
    assert device.free_bytes == 256 * 1024
    assert raised.value.__traceback__ is not None  # it lives, with the frames that it came through


def test_launch_that_fails_in_its_middle_writes_no_more():
    device, memory = FakeDevice(), torch.zeros(8, 10)
    pipeline = Pipeline(device, depth=3, piece_bytes=1)
    device.launch_error, device.launches_before_error = RuntimeError("invalid argument"), 3
    with pytest.raises(RuntimeError, match="invalid argument"):
        pipeline.start([slab.with_grad_into(memory) for slab in launch_of(rows=8)])
    memory.zero_()
    pipeline.close()
    assert not memory.any()


def test_lost_device_fails_all_launches_at_once():
    device, launch = FakeDevice(), launch_of()
    pipeline = Pipeline(device, depth=3)
    in_flight = [pipeline.start(launch) for _ in range(3)]
    device.fault = FAULT
    for _ in range(2):
        with pytest.raises(ce_engine.DeviceLostError, match=r"^CUDA error: an illegal memory access was encountered$"):
            pipeline.start(launch)
    for ticket in in_flight:
        with pytest.raises(ce_engine.DeviceLostError):
            ticket.result()
    assert device.waits == 0
    pipeline.close()


@pytest.mark.parametrize("piece_bytes", [1, 2**20])
def test_device_lost_while_a_launch_is_waited_for(piece_bytes):
    device, launch = FakeDevice(), launch_of()
    pipeline = Pipeline(device, depth=3, piece_bytes=piece_bytes)
    ticket = pipeline.start(launch)
    device.fault = FAULT
    with pytest.raises(ce_engine.DeviceLostError):
        ticket.result()
    with pytest.raises(ce_engine.DeviceLostError):
        pipeline.start(launch)


def test_device_lost_where_memory_lacked(monkeypatch):
    device = FakeDevice(free_bytes=0)

    def lose(self: FakeDevice) -> None:
        self.fault = FAULT
        self.check_life()

    monkeypatch.setattr(FakeDevice, "empty_caches", lose)
    with pytest.raises(ce_engine.DeviceLostError):
        Pipeline(device).start(launch_of())
