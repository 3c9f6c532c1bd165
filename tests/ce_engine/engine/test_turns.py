"""Callers take turns by their work. These tests drive the queue itself, so that nothing depends on time or threads."""

import random
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from ce_engine._batching.entries import SLAB_WORK, Entry
from ce_engine._batching.queue import FairQueue, LaunchLimits
from ce_engine._slab import Slab
from tests.ce_engine.engine.holding import slab

ALONE = LaunchLimits(rows=1, bytes=0, delay_seconds=0)


def queue(limits: LaunchLimits = ALONE) -> FairQueue:
    return FairQueue(limits, 2**40)


def put(waiting: FairQueue, caller: str, one: Slab) -> Entry:
    entry = Entry(one, caller, None)
    waiting.put(entry)
    return entry


def order(waiting: FairQueue) -> list[Entry]:
    """All entries, in the order in which they are given out one by one."""
    entries = []
    while launch := waiting.take(wait=False):
        entries += launch
    return entries


def sized(elements: int, **options: Any) -> Slab:
    return slab(rows=elements // 16, classes=16, **options)


SMALL, LARGE = sized(320), sized(2**20)


def test_small_slab_goes_before_large_ones_that_wait():
    waiting = queue()
    for caller in "abcdefgh":
        for _ in range(3):
            put(waiting, caller, LARGE)
    first = waiting.take(wait=False)
    small = put(waiting, "small", SMALL)
    assert first
    assert waiting.take(wait=False) == [small]


def test_callers_get_equal_work():
    waiting, done = queue(), Counter[str]()
    for _ in range(20):
        put(waiting, "large", LARGE)
    for _ in range(2500):
        put(waiting, "small", SMALL)
    for entry in islice(order(waiting), 1250):
        done[str(entry.caller)] += entry.work
    assert abs(done["large"] - done["small"]) <= Entry(LARGE, "", None).work


def test_gradients_and_outputs_are_more_work():
    losses = Entry(sized(1600), "", None).work - SLAB_WORK
    assert Entry(sized(1600, grad=True), "", None).work - SLAB_WORK == 2 * losses
    assert Entry(sized(1600, grad=True, outputs=["lse", "probabilities"]), "", None).work - SLAB_WORK == 4 * losses


def test_idle_caller_has_saved_up_nothing():
    waiting = queue()
    for _ in range(4):
        put(waiting, "busy", LARGE)
    put(waiting, "idle", SMALL)
    order_of_first = [entry.caller for entry in (waiting.take(wait=False) or []) + (waiting.take(wait=False) or [])]
    assert order_of_first == ["idle", "busy"]
    for _ in range(4):
        put(waiting, "idle", LARGE)
    callers = [entry.caller for entry in order(waiting)]
    assert callers[:6] in (["busy", "idle"] * 3, ["idle", "busy"] * 3)


def test_who_comes_back_at_once_has_not_forgotten_its_work():
    waiting = queue()
    for _ in range(3):
        put(waiting, "patient", LARGE)
    put(waiting, "greedy", sized(2**18))
    callers = []
    for _ in range(8):
        entry = (waiting.take(wait=False) or [])[0]
        callers.append(entry.caller)
        if entry.caller == "greedy":
            put(waiting, "greedy", sized(2**18))
    assert callers[:5].count("greedy") == 4  # a quarter of the size, so four times as often, and no more
    assert callers.count("patient") >= 1


def test_cancelled_slabs_leave_no_debt():
    waiting = queue()
    others = [put(waiting, "other", LARGE) for _ in range(3)]
    cancelled = [put(waiting, "leaver", LARGE) for _ in range(100)]
    for entry in cancelled:
        entry.future.cancel()
        waiting.discard(entry)
    small = put(waiting, "leaver", SMALL)
    assert order(waiting) == [small, *others]


@pytest.mark.parametrize("seed", range(5))
def test_queue_keeps_nothing_of_what_has_left(seed):
    waiting, chance = queue(LaunchLimits(rows=100, bytes=2**20, delay_seconds=0)), random.Random(seed)
    there: list[Entry] = []
    for _ in range(500):
        if chance.random() < 0.6:
            there.append(put(waiting, chance.choice("abcdefgh"), slab(classes=chance.randint(3, 5))))
        elif there and chance.random() < 0.5:
            leaves = there.pop(chance.randrange(len(there)))
            leaves.future.cancel()
            waiting.discard(leaves)
        else:
            there = [entry for entry in there if entry not in (waiting.take(wait=False) or [])]
    left = order(waiting)
    assert len(left) <= len(there)
    assert not any((waiting._entries, waiting._lines, waiting._kinds, waiting._rows, waiting._bytes))
    turns = waiting._turns
    assert not any((turns._places, turns._ahead, turns._ahead_until, turns._now))


def test_places_that_no_longer_count_are_sorted_out():
    waiting = queue()
    put(waiting, "stays", LARGE)
    for _ in range(2000):
        entry = put(waiting, "leaves", SMALL)
        entry.future.cancel()
        waiting.discard(entry)
    assert len(waiting._turns._places) <= 64
    assert len(waiting._turns._ahead) == 0
