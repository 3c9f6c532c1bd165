"""The engine on a device: through its queue and its threads, as the server uses it."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

import ce_engine
from ce_engine import Engine, Slab, slabs
from tests.ce_engine.sums.truth import sums_of
from tests.gpu.fake_device import FakeDevice
from tests.present import present

FAULT = torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be ...")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDevice]:
    """What the engine takes for the second of two GPUs."""
    fake = FakeDevice()
    names: list[torch.device] = []

    def device_of(name: torch.device) -> FakeDevice:
        names.append(name)
        return fake

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("ce_engine.gpu.CudaDevice", device_of)
    yield fake
    assert names == [torch.device("cuda:1")]


def slab(rows: int = 2, classes: int = 5) -> Slab:
    return slabs.cross_entropy(torch.randn(rows, classes), torch.randint(classes, (rows,)), grad=True)


def assert_close(ours: ce_engine.LossResult, one: Slab) -> None:
    theirs = ce_engine.evaluate(one)
    torch.testing.assert_close(ours.loss, theirs.loss)
    torch.testing.assert_close(present(ours.grad), present(theirs.grad))


def test_slabs_are_evaluated_on_the_device_of_the_name(device):
    waiting = [slab(rows, classes) for rows in (1, 2, 3) for classes in (5, 7)]
    with Engine(device="cuda:1") as engine:
        futures = [engine.submit(one, caller=number) for number, one in enumerate(waiting)]
        for future, one in zip(futures, waiting, strict=True):
            assert_close(future.result(20), one)
    assert device.allocations


@pytest.mark.usefixtures("device")
def test_losses_of_a_device_are_added_up_exactly():
    logits, target, weight = torch.randn(7, 5), torch.tensor([0, 3, -100, 3, 1, 0, 3]), torch.rand(5)
    logits[2] = torch.nan  # of an ignored row
    one = slabs.cross_entropy(logits, target, weight, reduction="none", outputs=("predictions",))
    one.exact = "by_class"
    with Engine(device="cuda:1") as engine:
        result = engine.submit(one).result(20)
    losses, predictions = result.loss.tolist(), result.predictions.tolist()

    def expected(classes: set[int], ignored_count: int = 0) -> ce_engine.ExactSums:
        rows = [i for i, c in enumerate(target.tolist()) if c in classes]
        weights = [weight[target[i]].item() for i in rows]
        correct = sum(predictions[i] == target[i].item() for i in rows)
        return sums_of([losses[i] for i in rows], weights, ignored_count, correct)

    assert result.exact == expected({0, 1, 3}, 1)
    assert result.exact_by_class == {c: expected({c}) for c in (0, 1, 3)}


def test_device_beyond_those_there_are_is_refused(monkeypatch):
    for count, found in ((0, "no CUDA device"), (1, "cuda:0 alone"), (2, "cuda:0 to cuda:1")):
        monkeypatch.setattr("torch.cuda.device_count", lambda count=count: count)
        with pytest.raises(ce_engine.InvalidArgumentError, match=f"PyTorch can use, got cuda:2; it finds {found}"):
            Engine(device="cuda:2")


def test_lack_of_memory_is_the_fault_of_one_slab(device):
    device.free_bytes = 32 * 1024
    waiting = [slab(), slab(rows=2000), slab(rows=3)]
    with Engine(device="cuda:1", max_queue_delay_us=20_000) as engine:
        first, guilty, last = [engine.submit(one) for one in waiting]
        with pytest.raises(ce_engine.OutOfMemoryError, match="2000 rows of 5 float32"):
            guilty.result(20)
        assert_close(first.result(20), waiting[0])
        assert_close(last.result(20), waiting[2])


def test_lost_device_fails_all_slabs_and_is_told_once(device):
    told: list[ce_engine.DeviceLostError] = []
    device.fault = FAULT
    with Engine(device="cuda:1", on_device_lost=told.append) as engine:
        with pytest.raises(ce_engine.DeviceLostError, match=r"^CUDA error: device-side assert triggered$"):
            engine.submit(slab()).result(20)
        for _ in range(3):
            with pytest.raises(ce_engine.DeviceLostError, match=r"^CUDA error: device-side assert triggered$"):
                engine.submit(slab())
    assert [str(error) for error in told] == ["CUDA error: device-side assert triggered"]


@pytest.mark.usefixtures("device")
def test_device_lost_while_slabs_wait(monkeypatch):
    told: list[ce_engine.DeviceLostError] = []
    go = threading.Event()

    def lose(_: FakeDevice) -> None:  # with the first call of the device, which is held up while more slabs come
        assert go.wait(20)
        raise FAULT

    monkeypatch.setattr(FakeDevice, "check_life", lose)
    with Engine(device="cuda:1", on_device_lost=told.append) as engine:
        futures = [engine.submit(slab(classes=2 + number)) for number in range(8)]
        go.set()
        for future in futures:
            assert isinstance(future.exception(20), ce_engine.DeviceLostError)
    assert len(told) == 1


def no_memory() -> None:
    raise MemoryError


def no_memory_by_torch() -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ...")


@pytest.mark.parametrize("fail", [no_memory, no_memory_by_torch])
def test_lack_of_memory_on_a_cpu_has_the_same_error(fail: Callable[[], None]):
    with Engine() as engine:
        guilty = engine.submit(slab(), then=lambda *_: fail())
        with pytest.raises(ce_engine.OutOfMemoryError, match="2 rows of 5 float32"):
            guilty.result(20)
        assert engine.submit(slab()).result(20)
