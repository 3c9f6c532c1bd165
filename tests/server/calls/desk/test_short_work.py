"""Which work is short enough for the event loop."""

import asyncio
from typing import Any

import pytest

from losswire import v1
from losswire_server.calls.evaluation import ANYBODY, Caller
from losswire_server.calls.packs import Packs
from losswire_server.calls.unary import Unary
from losswire_server.calls.work import AT_ONCE_SECONDS
from losswire_server.memory.regions import OFF
from tests.server.packs import packed, small


class Reader:
    """A reader of messages for one kind of call, without a desk."""

    async def answer(self, data: bytes, read: Any, caller: Caller) -> Any:
        assert caller == ANYBODY
        return read(data).seconds

    answer_pack = answer


def unread(*shape: int) -> v1.EvaluateRequest:
    return v1.EvaluateRequest(input=v1.Tensor(shape=shape, shared_memory=v1.SharedMemorySpan()))


def is_short(message: v1.EvaluateRequest | bytes) -> bool:
    reader: Any = Reader()
    call: Any = Packs(reader, OFF, 256) if isinstance(message, bytes) else Unary(reader, OFF)
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return bool(asyncio.run(call(data, ANYBODY)) < AT_ONCE_SECONDS)


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (small(), True),
        (small(rows=800), True),
        (small(rows=10_000), False),
        (unread(10**6), False),
        (unread(10**6, 0), False),
        (unread(*[2**62] * 20), False),
        (v1.EvaluateRequest(), True),
        (packed([small()] * 32), True),
        (packed([small(rows=rows) for rows in (1, 2, 3)]), True),
        (packed([small(rows=rows) for rows in range(1, 33)]), False),
        (packed([small(rows=1)] * 200), False),
        (packed([small(rows=1000)] * 5), False),
        (packed([small(), unread(10**6)]), False),
        (packed([small(), b"no request"]), False),
        (packed([v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))]), False),
        (packed([small(), *[v1.EvaluateRequest(input=v1.Tensor(shape=[2**62] * 20))] * 2]), False),
    ],
)
def test_little_work_is_short(message, short):
    assert is_short(message) is short
