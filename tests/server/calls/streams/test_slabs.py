"""What a stream learns from its slabs about those that come."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

import ce_engine
from losswire_server.calls.evaluation import ANYBODY
from losswire_server.calls.streams.slabs import HANDING_OVER, TRIALS, Landed, Slabs
from losswire_server.calls.work import AT_ONCE_SECONDS
from losswire_server.requests.slabs.stream_request import Part
from tests.server.calls.desk.controlled_work import DeskServer

SHORT, LONG = (factor * HANDING_OVER * AT_ONCE_SECONDS for factor in (0.4, 4))
MESSAGE_BYTES = 2**20


@pytest.fixture
def slabs() -> Iterator[Slabs]:
    server = DeskServer()
    yield Slabs(server.desk, server.desk.evaluation(ANYBODY))
    server.close()


def learn(slabs: Slabs, *computing: float) -> None:
    nothing: Any = None
    for seconds in computing:
        slabs.learn(Landed(nothing, seconds, seconds), MESSAGE_BYTES)


def is_next_for_here(slabs: Slabs) -> bool:
    nothing: Any = None
    slab = ce_engine.slabs.cross_entropy(torch.zeros(8, 32000), torch.zeros(8, dtype=torch.int64))
    return slabs.is_for_here(Part(slab, nothing), MESSAGE_BYTES, is_alone=True)


def test_first_slabs_are_tried(slabs):
    for _ in range(TRIALS):
        assert is_next_for_here(slabs)
        learn(slabs, LONG)
    assert not is_next_for_here(slabs)


def test_fast_slab_outweighs_slow_ones(slabs):
    learn(slabs, LONG, LONG, SHORT)
    assert is_next_for_here(slabs)


def test_single_slow_slab_changes_nothing(slabs):
    learn(slabs, SHORT, SHORT, SHORT, LONG)
    assert is_next_for_here(slabs)
