"""Memory is used again if, and only if, nothing can see it any more."""

import gc
import threading

import numpy as np
import pytest
import torch

import ce_engine
from ce_engine._memory import LEAST_BYTES, Recycler, empty, rounded, scratch
from tests.ce_engine.helpers import FLOATS
from tests.present import present

MIB = 2**20
CPU = torch.device("cpu")
VIEWS = {
    "the tensor": lambda x: x,
    "a view": lambda x: x[3:5],
    "a view of another dtype": lambda x: x.view(torch.uint8),
    "a transpose": lambda x: x.view(2, -1).mT,
    "its storage": lambda x: x.untyped_storage(),
    "a numpy array": lambda x: x.numpy(),
    "a view of a numpy array": lambda x: x.numpy()[::2],
    "a memoryview": lambda x: memoryview(x.numpy()),
    "a tensor of a numpy array": lambda x: torch.from_numpy(x.numpy()),
    "its detached self": lambda x: x.detach(),
    "a numpy array through dlpack": lambda x: np.from_dlpack(x),
}


def held(recycler):
    return sum(memory.numel() for memory in recycler._idle)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_in_sight_is_not_handed_out(view):
    recycler = Recycler(64 * MIB)
    tensor = recycler.empty((MIB,), torch.float32)
    address, kept = tensor.data_ptr(), view(tensor)
    del tensor
    gc.collect()
    others = [recycler.empty((MIB,), torch.float32) for _ in range(3)]
    assert address not in [other.data_ptr() for other in others]
    del kept
    gc.collect()
    assert recycler.empty((MIB,), torch.float32).data_ptr() == address


def test_graph_keeps_saved_memory():
    recycler = Recycler(64 * MIB)
    leaf, saved = torch.ones(MIB, requires_grad=True), recycler.empty((MIB,), torch.float32).fill_(3)
    product = (leaf * saved).sum()
    del saved
    recycler.empty((MIB,), torch.float32).fill_(7)
    product.backward()
    assert torch.equal(present(leaf.grad), torch.full((MIB,), 3.0))


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64, torch.bool])
def test_memory_takes_any_shape_and_dtype(dtype):
    recycler = Recycler(64 * MIB)
    del_me = recycler.empty((MIB // dtype.itemsize,), dtype)
    address = del_me.data_ptr()
    del del_me
    again = recycler.empty((MIB // 16, 2), torch.float64)
    assert again.data_ptr() == address
    assert (again.shape, again.dtype, again.is_contiguous()) == ((MIB // 16, 2), torch.float64, True)
    assert again.data_ptr() % 64 == 0  # as torch aligns it


def test_memory_of_about_the_size_will_do():
    recycler = Recycler(64 * MIB)
    address = recycler.empty((1_000_000,), torch.float32).data_ptr()
    assert recycler.empty((1_000_100,), torch.float32).data_ptr() == address
    assert recycler.empty((1_500_000,), torch.float32).data_ptr() != address
    assert recycler.empty((500_000,), torch.float32).data_ptr() != address  # half of the old block would be wasted


def test_oldest_idle_memory_goes_first():
    recycler = Recycler(4 * MIB)
    tensors = [recycler.empty((MIB,), torch.uint8) for _ in range(10)]
    last = [tensor.data_ptr() for tensor in tensors[-4:]]
    while tensors:
        tensors.pop(0)
        assert held(recycler) <= 4 * MIB
    assert [memory.data_ptr() for memory in recycler._idle] == last


def test_large_memory_drives_out_small():
    recycler = Recycler(4 * MIB)
    small = [recycler.empty((MIB,), torch.uint8) for _ in range(4)]
    large = recycler.empty((3 * MIB,), torch.uint8)
    small.clear()
    del large
    assert [memory.numel() for memory in recycler._idle] == [MIB, 3 * MIB]


def test_larger_than_the_limit_is_freed():
    recycler = Recycler(MIB)
    recycler.empty((2 * MIB,), torch.uint8)
    assert held(recycler) == 0


@pytest.mark.parametrize("nbytes", [1, 7, 16, 17, 1000, MIB, MIB + 1, 100_000_001, 2**40 + 1])
def test_sizes_are_rounded_by_an_eighth(nbytes):
    assert nbytes <= rounded(nbytes) <= nbytes + nbytes / 8
    assert rounded(rounded(nbytes)) == rounded(nbytes)


def test_giving_back_never_waits():
    # As if the garbage collector ran in the same thread, while it takes memory.
    recycler = Recycler(64 * MIB)
    tensor = recycler.empty((MIB,), torch.uint8)
    with recycler._lock:
        del tensor
    assert held(recycler) == 0


def test_threads_never_share_memory():
    recycler, wrong = Recycler(8 * MIB), []

    def work(number):
        for turn in range(200):
            tensor = recycler.empty((64 * 1024 + number % 2,), torch.int32).fill_(1000 * number + turn)
            other = recycler.empty((64 * 1024,), torch.int32).fill_(-1)
            if not (tensor == 1000 * number + turn).all() or not (other == -1).all():
                wrong.append((number, turn))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert held(recycler) <= 8 * MIB


def test_small_tensors_are_left_to_torch(monkeypatch):
    asked = []
    monkeypatch.setattr("ce_engine._memory._recycler.empty", lambda *args: asked.append(args))
    assert empty((LEAST_BYTES - 1,), dtype=torch.uint8, device=CPU).shape == (LEAST_BYTES - 1,)
    assert empty((LEAST_BYTES,), dtype=torch.uint8, device=torch.device("meta")).is_meta
    assert asked == []
    empty((LEAST_BYTES,), dtype=torch.uint8, device=CPU)
    assert len(asked) == 1


def test_results_outlive_later_ones():
    input, target = torch.randn(600, 1000), torch.randint(1000, (600,))
    first = present(ce_engine.cross_entropy(input, target, grad=True).grad)
    array, before = first[5:9].numpy(), first[5:9].clone()
    del first
    for seed in range(5):
        ce_engine.cross_entropy(input * seed, target, grad=True, outputs=["probabilities"])
    assert torch.equal(torch.from_numpy(array), before)


def test_scratch_is_of_a_name_and_a_thread():
    like = torch.empty(3, 5)
    first = scratch.like(like, torch.float32, "test")
    assert scratch.like(like[:2], torch.float32, "test").data_ptr() == first.data_ptr()
    seen = [scratch.like(like, torch.float32, "other"), scratch.like(like, torch.float64, "test")]
    thread = threading.Thread(target=lambda: seen.append(scratch.like(like, torch.float32, "test")))
    thread.start()
    thread.join()
    assert first.data_ptr() not in [memory.data_ptr() for memory in seen]
    assert scratch.like(like.expand(4, 3, 5), torch.float32, "test").shape == (4, 3, 5)
