"""An engine whose launches take time, as on a GPU: several are in flight, and all are answered."""

import threading
import time
from concurrent.futures import wait

import pytest
import torch

import ce_engine
from ce_engine import Engine, slabs
from ce_engine._batching import engine as _engine
from ce_engine._batching.launchers import PipelineLauncher, launch


class Pipeline:
    """Starts launches at once, and has their results on command."""

    depth = 3

    def __init__(self):
        self.let = threading.Event()
        self.started, self.finished, self.closed = [], [], False
        self.guilty_to_start, self.guilty_to_finish = set(), set()

    def start(self, together):
        if self.guilty_to_start & set(together):
            raise RuntimeError("cannot start")
        self.started.append(together)
        return Ticket(self, together)

    def evaluate_states(self, *_):
        raise AssertionError("no slab here has a head")

    def close(self):
        self.closed = True


class Ticket:
    def __init__(self, launcher, together):
        self.launcher, self.together = launcher, together

    def result(self):
        assert self.launcher.let.wait(20)
        self.launcher.finished.append(self.together)
        if self.launcher.guilty_to_finish & set(self.together):
            raise RuntimeError("cannot finish")
        return [launch(slab) for slab in self.together]


@pytest.fixture
def launcher(monkeypatch):
    one = Pipeline()
    monkeypatch.setattr(_engine, "launcher_for", lambda _device, _run, on_retry: PipelineLauncher(one, on_retry))
    return one


def slab(classes=5):
    return slabs.cross_entropy(torch.randn(2, classes), torch.tensor([0, 1]))


def eventually_started(launcher, count):
    deadline = time.monotonic() + 20
    while len(launcher.started) < count and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(launcher.started) >= count


def test_launches_in_flight_are_limited(launcher):
    # max_batch_rows=1: each slab is a launch of its own.
    with Engine(max_batch_rows=1) as engine:
        futures = [engine.submit(slab()) for _ in range(6)]
        eventually_started(launcher, 1)
        time.sleep(0.05)  # no event says that no more will start
        assert len(launcher.started) <= launcher.depth
        launcher.let.set()
        wait(futures, 20)
    assert launcher.finished == launcher.started
    assert len(launcher.started) == 6


def test_last_launch_is_finished(launcher):
    launcher.let.set()
    with Engine() as engine:
        assert engine.submit(slab()).result(20)


def test_close_finishes_what_is_in_flight(launcher):
    launcher.let.set()
    with Engine(max_batch_rows=1) as engine:
        futures = [engine.submit(slab()) for _ in range(7)]
    assert all(future.done() and future.result() for future in futures)
    assert launcher.closed


@pytest.mark.parametrize("when", ["start", "finish"])
def test_slab_that_fails_fails_alone(launcher, when):
    launcher.let.set()
    together = [slab() for _ in range(4)]
    getattr(launcher, f"guilty_to_{when}").add(together[2])
    with Engine(max_queue_delay_us=20_000) as engine:
        futures = [engine.submit(one) for one in together]
        wait(futures, 20)
    for future, one in zip(futures, together, strict=True):
        if one is together[2]:
            assert str(future.exception()) == f"cannot {when}"
        else:
            assert torch.equal(future.result().loss, ce_engine.evaluate(one).loss)


def test_unknown_device_is_refused():
    for name in ("meta", "toaster"):
        with pytest.raises(ce_engine.InvalidArgumentError, match=f"device: expected cpu or cuda, got {name}"):
            Engine(device=name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(ce_engine.InvalidArgumentError, match="device: expected one that PyTorch can use, got cuda"):
        Engine(device="cuda")
