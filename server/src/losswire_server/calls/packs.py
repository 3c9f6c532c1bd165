"""Several requests in one message. Each of them succeeds or fails by itself."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import grpc

from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.work import TakesLongError
from losswire_server.errors import NotServedError
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.memory.regions import Regions
from losswire_server.requests import cost
from losswire_server.requests.ends import End
from losswire_server.requests.needed import Reserve
from losswire_server.requests.pack import Pack
from losswire_server.requests.permission import Permission
from losswire_server.requests.planned import Planned, Step
from losswire_server.runs.absent import Outcome
from losswire_server.runs.records import Entry

PACK_COPIES = 2  # of what a request takes alone: protobuf copies its tensors, and its answer into that of the pack


class Packs:
    def __init__(self, desk: Desk, regions: Regions, max_requests: int, heads: UsesHeads = NO_HEADS) -> None:
        self._desk = desk
        self._regions = regions
        self._heads = heads
        self._max_requests = max_requests

    async def __call__(self, data: bytes, caller: Caller) -> bytes:
        """Answers a BatchEvaluateRequest with a BatchEvaluateResponse. An error of one request is in its result.

        Raises:
            FieldError: There are no requests, or too many, or the bytes are no message.
            NotServedError: This server takes no packs, or does not know a field of the message.
            Exception: See `Desk.answer`.
        """
        if not self._max_requests:
            raise NotServedError("BatchEvaluate", "this server takes one request a call; send each request to Evaluate")
        return await self._desk.answer_pack(data, partial(self._read, caller.permission), caller)

    def _read(self, permission: Permission, data: bytes) -> "_Work":
        return _Work(Pack(data, self._max_requests, self._regions, permission, self._heads), len(data))


class _Work:
    def __init__(self, pack: Pack, message_bytes: int) -> None:
        self.writing_seconds = cost.copying_seconds(message_bytes)  # most answers are no longer
        self._pack = pack

    @property
    def seconds(self) -> float:
        groups = self._pack.groups
        if not all(group.can_be_stacked for group in groups):
            return math.inf
        requests, elements = sum(len(group.requests) for group in groups), sum(group.elements for group in groups)
        return cost.seconds(len(groups), requests, elements)

    @property
    def planning_seconds(self) -> float:
        return self.seconds  # as long as evaluating its requests, since these are small

    def at_once(self) -> Iterator[End]:
        try:
            for step in self._pack.plan(take_apart=False):
                yield step.at_once() if isinstance(step, Planned) else step
        except Exception as error:
            raise TakesLongError("it takes long to find out which request is wrong") from error

    def plan(self, reserve: Reserve) -> Iterator[Step]:
        return self._pack.plan(lambda size: reserve(PACK_COPIES * size))

    def entries(self) -> list[Entry]:
        return self._pack.entries()

    def settle(self, outcomes: Sequence[Outcome]) -> dict[int, grpc.StatusCode]:
        return self._pack.settle(outcomes)

    def answer(self) -> bytes:
        return self._pack.answer()
