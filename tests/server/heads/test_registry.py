"""What is held, by which names, and who makes room for whom."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from losswire.heads.content import digest, without_elements
from losswire_server.errors import NotPermittedError, NotServedError
from losswire_server.heads.absent import NO_HEADS
from losswire_server.heads.errors import HeadNotFoundError, HeadQuotaError, NoSuchHeadError
from losswire_server.heads.registry import MOST_ALIASES, Heads
from tests.server.heads.making import Told, a_head, a_message, add

SIZE = a_head(a_message()).nbytes
UNKNOWN = "0" * 64


def make(heads=10, *, of_bytes=None, **told):
    return Heads(SIZE * heads if of_bytes is None else of_bytes, heads, **told)


def digests(heads):
    return {held.digest for held in heads.held()}


def test_head_is_used_by_digest_and_alias():
    heads = make()
    held = add(heads, alias="llama")
    assert heads.use(held.digest, "f") is heads.use("llama", "f")
    assert heads.find("llama") == heads.find(held.digest) == held
    assert (held.aliases, held.nbytes, held.permanent) == (("llama",), SIZE, False)
    assert tuple(held.form.weight.shape) == (5, 3)
    assert not held.form.weight.data


def test_missing_head_is_told():
    told = Told()
    heads = make(observer=told)
    with pytest.raises(HeadNotFoundError, match="does not hold the head 'llama'") as caught:
        heads.use("llama", "spec.linear_cross_entropy.head")
    assert caught.value.name == "llama"
    assert told.events == ["missed"]
    assert heads.find(UNKNOWN) is None


def test_server_without_heads_says_so():
    with pytest.raises(NotServedError, match=r"spec\.head: this server holds no heads"):
        NO_HEADS.use("llama", "spec.head")


def test_looking_is_no_use():
    told = Told()
    heads = make(2, observer=told)
    first, second = add(heads, 0).digest, add(heads, 1).digest
    assert heads.find(first)
    assert heads.find(UNKNOWN) is None
    third = add(heads, 2).digest
    assert digests(heads) == {second, third}
    assert told.events == ["evicted"]


def test_senders_are_remembered_as_long_as_the_head():
    heads = make(1)
    head = a_message()
    for sender in "ba":
        held = heads.add(digest(head), without_elements(head), a_head(head), sender=sender)
    assert held.senders == {"a", "b"}
    add(heads, 1)
    assert add(heads).senders == set()


def test_same_head_is_held_once():
    heads = make()
    first = add(heads)
    kept = heads.use(first.digest, "f")
    assert add(heads) == first
    assert heads.use(first.digest, "f") is kept
    assert (heads.count, heads.nbytes) == (1, SIZE)


@pytest.mark.parametrize("limits", [{"heads": 3}, {"heads": 100, "of_bytes": 3 * SIZE}])
def test_longest_unused_makes_room(limits):
    told = Told()
    heads = make(observer=told, **limits)
    first, second, third = (add(heads, seed).digest for seed in range(3))
    heads.use(first, "f")
    fourth = add(heads, 3).digest
    assert digests(heads) == {first, third, fourth}
    assert told.events == ["evicted"]
    with pytest.raises(HeadNotFoundError):
        heads.use(second, "f")
    fifth = add(heads, 4).digest
    assert digests(heads) == {first, fourth, fifth}


def test_head_in_use_stays():
    heads = make(2)
    first, second = add(heads, 0).digest, add(heads, 1).digest
    used = [heads.use(first, "f")]
    third = add(heads, 2).digest
    assert digests(heads) == {first, third}
    used.append(heads.use(third, "f"))
    with pytest.raises(HeadQuotaError, match="there are 2 heads, as many as there may be, and none can make room"):
        add(heads, 1)
    assert digests(heads) == {first, third}
    used.clear()
    add(heads, 1)
    assert digests(heads) == {third, second}


def test_permanent_head_stays():
    heads = make(2)
    first = add(heads, 0, permanent=True).digest
    add(heads, 1)
    third = add(heads, 2).digest
    assert digests(heads) == {first, third}


def test_head_that_never_fits_moves_nobody():
    heads = make(10, of_bytes=SIZE)
    first = add(heads).digest
    with pytest.raises(HeadQuotaError, match=f"needs {SIZE + 1} bytes, and all heads may take {SIZE}"):
        heads.reserve(SIZE + 1)
    assert digests(heads) == {first}


def test_evicted_head_is_freed_without_the_lock():
    """It may take long, and whoever uses a head meanwhile waits for the lock."""
    heads = make(1)
    was_free = []
    for letting_go in (lambda: add(heads, 1), lambda: heads.reserve(1)):
        head = heads.use(add(heads, 0).digest, "f")
        weakref.finalize(head, lambda: was_free.append(not heads._lock.locked()))
        del head
        letting_go()
    assert was_free == [True, True]


def test_room_is_not_given_back_while_others_count():
    """Python adds up a set in steps, and it must not change in between."""
    heads = make()
    giving_back = threading.Thread(target=heads.reserve(1).release)
    with heads._lock:
        giving_back.start()
        giving_back.join(0.1)
        assert giving_back.is_alive()
    giving_back.join(20)
    assert heads.nbytes == 0


def test_room_is_held_for_what_comes():
    heads = make(3)
    place = heads.reserve(2 * SIZE)
    first = add(heads).digest
    assert heads.nbytes == 3 * SIZE
    used = heads.use(first, "f")
    with pytest.raises(HeadQuotaError, match=f"{3 * SIZE} of at most {3 * SIZE} bytes, this one needs {SIZE} more"):
        heads.reserve(SIZE)
    place.release()
    assert heads.nbytes == SIZE == used.nbytes
    heads.reserve(2 * SIZE)


def test_alias_moves():
    heads = make()
    first, second = add(heads, 0).digest, add(heads, 1).digest
    heads.set_alias("best", first)
    used = heads.use("best", "f")
    assert heads.set_alias("best", second).aliases == ("best",)
    assert heads.find(first).aliases == ()
    assert heads.use("best", "f") is not used
    assert heads.set_alias("best", second).aliases == ("best",)


def test_alias_of_operator_stays():
    heads = make()
    add(heads, 0, permanent=True, alias="llama")
    other = add(heads, 1).digest
    with pytest.raises(NotPermittedError, match="the operator gave 'llama'"):
        heads.set_alias("llama", other)
    with pytest.raises(NotPermittedError, match="the operator gave 'llama'"):
        heads.delete("llama")


def test_aliases_are_bounded():
    heads = make()
    name = add(heads).digest
    for number in range(MOST_ALIASES):
        heads.set_alias(f"a{number}", name)
    with pytest.raises(HeadQuotaError, match="64 aliases, as many as it may have"):
        heads.set_alias("one-more", name)
    heads.set_alias("a0", name)


def test_alias_of_missing_head_is_refused():
    with pytest.raises(NoSuchHeadError):
        make().set_alias("a", UNKNOWN)


def test_evicted_head_takes_its_aliases_along():
    heads = make(1)
    heads.set_alias("a", add(heads, 0).digest)
    heads.set_alias("a", add(heads, 1).digest)
    assert heads.find("a") == heads.held()[0]


def test_deleted_head_counts_until_it_is_unused():
    heads = make()
    name = add(heads, alias="").digest
    heads.set_alias("a", name)
    used = heads.use("a", "f")
    heads.delete(name)
    assert heads.find("a") is heads.find(name) is None
    assert heads.nbytes == used.nbytes == SIZE
    del used
    assert heads.nbytes == 0
    with pytest.raises(NoSuchHeadError):
        heads.delete(name)


def test_deleted_alias_leaves_the_head():
    heads = make()
    name = add(heads).digest
    heads.set_alias("a", name)
    heads.delete("a")
    assert heads.find("a") is None
    assert heads.find(name).aliases == ()


def test_permanent_head_is_not_deleted():
    heads = make()
    held = add(heads, permanent=True)
    with pytest.raises(NotPermittedError, match="the operator gave"):
        heads.delete(held.digest)


def test_registered_head_that_the_operator_gives_becomes_permanent():
    heads = make()
    assert not add(heads).permanent
    assert add(heads, permanent=True, alias="a").permanent


def test_threads_use_while_others_make_room():
    """Each finds the head that it asked for, or is told; limits hold all the time."""
    heads, most = make(4), 4 * SIZE
    seeds, start = range(12), threading.Barrier(8)
    shapes = [add(heads, seed).digest for seed in seeds]

    def work(number):
        start.wait()
        found = 0
        for turn in range(200):
            seed = (number + turn) % len(seeds)
            try:
                found += heads.use(shapes[seed], "f").nbytes == SIZE
            except HeadNotFoundError:
                with suppress(HeadQuotaError):  # others may use four at this moment
                    add(heads, seed)
            assert sum(held.nbytes for held in heads.held()) <= most
            assert heads.count <= 4
        return found

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) > 0
    assert heads.count == 4
