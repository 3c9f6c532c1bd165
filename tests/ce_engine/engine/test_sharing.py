"""Large slabs, whose rows idle workers evaluate too."""

import threading

import pytest
import torch

from ce_engine import Engine, InvalidArgumentError, evaluate, slabs
from ce_engine._batching import sharing
from ce_engine._batching.sharing import Sharing
from ce_engine.cpu import Launch
from tests.present import present

PATIENCE = 20.0


class Pieces(Launch):
    """Pieces of work, which can be held up."""

    def __init__(self, count):
        self.left = count
        self.takers = []
        self.go = threading.Event()
        self.taken = threading.Semaphore(0)
        self.lock = threading.Lock()

    def share(self):
        """Nothing to prepare."""

    def take(self, pieces=2**62):
        for _ in range(pieces):
            with self.lock:
                if not self.left:
                    return False
                self.left -= 1
                self.takers.append(threading.current_thread())
            self.taken.release()
            assert self.go.wait(PATIENCE)
        return self.left > 0


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_helper_takes_pieces_and_the_leader_waits_for_it():
    shared, pieces = Sharing(lambda: None), Pieces(2)
    leader = in_thread(lambda: shared.run(pieces))
    assert pieces.taken.acquire(timeout=PATIENCE)
    helper = in_thread(shared.help)
    assert pieces.taken.acquire(timeout=PATIENCE)
    assert set(pieces.takers) == {leader, helper}
    assert leader.is_alive()
    pieces.go.set()
    for thread in (leader, helper):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not shared.is_wanted


def test_helper_looks_up_after_a_few_pieces():
    shared, pieces = Sharing(lambda: None), Pieces(100)
    leader = in_thread(lambda: shared.run(pieces))
    assert pieces.taken.acquire(timeout=PATIENCE)
    helper = in_thread(shared.help)
    assert pieces.taken.acquire(timeout=PATIENCE)
    with pieces.lock:
        pieces.go.set()
    helper.join(PATIENCE)
    leader.join(PATIENCE)
    assert not helper.is_alive()
    assert pieces.takers.count(helper) <= sharing.PIECES_AT_ONCE
    assert len(pieces.takers) == 100


def test_helper_without_memory_leaves_all_pieces_to_others():
    class TooMuchForTwo(Pieces):
        def take(self, pieces=2**62):
            if self.takers and self.takers[0] is not threading.current_thread():
                raise MemoryError
            return super().take(pieces)

    shared, pieces = Sharing(lambda: None), TooMuchForTwo(3)
    failed: list[BaseException] = []

    def lead():
        try:
            shared.run(pieces)
        except MemoryError as error:
            failed.append(error)

    leader = in_thread(lead)
    assert pieces.taken.acquire(timeout=PATIENCE)
    shared.help()
    pieces.go.set()
    leader.join(PATIENCE)
    assert pieces.takers == [leader] * 3
    assert not failed


def test_nobody_helps_where_nothing_is_left():
    shared, pieces = Sharing(lambda: None), Pieces(1)
    leader = in_thread(lambda: shared.run(pieces))
    assert pieces.taken.acquire(timeout=PATIENCE)
    shared.help()
    assert not shared.is_wanted
    shared.help()
    pieces.go.set()
    leader.join(PATIENCE)
    assert pieces.takers == [leader]


def test_error_of_a_helper_is_the_leaders():
    class Wrong(Pieces):
        def take(self, pieces=2**62):
            left = super().take(pieces)
            if threading.current_thread() is not threads[0]:
                raise IndexError("a target is out of range now")
            return left

    shared, pieces, threads, errors = Sharing(lambda: None), Wrong(2), [], []

    def lead():
        threads.append(threading.current_thread())
        try:
            shared.run(pieces)
        except IndexError as error:
            errors.append(str(error))

    leader = in_thread(lead)
    assert pieces.taken.acquire(timeout=PATIENCE)
    helper = in_thread(shared.help)
    assert pieces.taken.acquire(timeout=PATIENCE)
    pieces.go.set()
    leader.join(PATIENCE)
    helper.join(PATIENCE)
    assert errors == ["a target is out of range now"]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("shape", [(300, 5000), (200000, 7), (4, 21, 128, 128)])
def test_shared_slabs_have_the_bits(workers, shape):
    torch.manual_seed(0)
    input = torch.randn(shape)
    target = torch.randint(shape[1], shape[:1] + shape[2:])
    slab = slabs.cross_entropy(input, target, grad=True, reduction="none", outputs=("lse",))
    alone = evaluate(slab)
    with Engine(workers=workers, torch_threads=1) as engine:
        for future in [engine.submit(slab, caller=caller) for caller in range(4)]:
            result = future.result(PATIENCE)
            assert torch.equal(result.loss, alone.loss)
            assert torch.equal(present(result.lse), present(alone.lse))
            assert torch.equal(present(result.grad), present(alone.grad))


def test_wrong_target_in_a_shared_slab_fails_alone():
    target = torch.zeros(400, dtype=torch.int64)
    wrong = slabs.cross_entropy(torch.randn(400, 5000), target)
    target[200] = 5000  # after it was checked
    with Engine(workers=2, torch_threads=1) as engine:
        with pytest.raises(IndexError, match="must not change"):
            engine.submit(wrong).result(PATIENCE)
        right = slabs.cross_entropy(torch.randn(400, 5000), torch.zeros(400, dtype=torch.int64))
        assert engine.submit(right).result(PATIENCE).loss.isfinite()
    with pytest.raises(InvalidArgumentError):
        slabs.cross_entropy(torch.randn(400, 5000), target)
