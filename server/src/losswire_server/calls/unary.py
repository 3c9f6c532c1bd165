"""One request in one message."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import grpc

import ce_engine
from losswire import v1
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Caller
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests import cost
from losswire_server.requests.ends import End, Evaluated, answer_bytes
from losswire_server.requests.heads.permitted import permitted
from losswire_server.requests.known import Asked, KnownRequests
from losswire_server.requests.needed import Reserve, unreserved
from losswire_server.requests.one import Respond
from losswire_server.requests.permission import Permission
from losswire_server.requests.planned import Planned, Step
from losswire_server.requests.runs.exact import Exact
from losswire_server.requests.runs.keyed import Keyed
from losswire_server.runs.absent import Outcome
from losswire_server.runs.records import Entry

WAS_COUNTED = v1.EvaluateResponse(was_counted=True).SerializeToString()


class Unary:
    def __init__(self, desk: Desk, regions: Regions = OFF, heads: UsesHeads = NO_HEADS) -> None:
        self._desk = desk
        self._known = KnownRequests(regions)
        self._heads = heads

    async def __call__(self, data: bytes, caller: Caller) -> bytes:
        """Answers an EvaluateRequest with an EvaluateResponse.

        Raises:
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `KnownRequests` and `plan_request`.
            NotServedError: See `plan_request`.
            NotPermittedError: This caller may not ask for it.
            Exception: See `Desk.answer`.
        """
        return await self._desk.answer(data, partial(self._read, caller.permission), caller)

    def _read(self, permission: Permission, data: bytes) -> "_Work":
        asked = self._known.read(data, permitted(self._heads, permission))
        permission.check(asked.labels.loss, asked.labels.series)
        permission.check_run(asked.run)
        return _Work(asked, len(data))


class _Work:
    writing_seconds = 0.0  # the engine's thread has written the answer

    def __init__(self, asked: Asked, message_bytes: int) -> None:
        self.seconds = cost.seconds(1, 1, asked.elements)
        self.planning_seconds = cost.planning_seconds(asked.targets)
        self._asked = asked
        self._received_bytes = message_bytes + asked.shared_bytes
        self._answer = b""
        self._entries: list[Entry] = []

    def at_once(self) -> Iterator[End]:
        for planned in self.plan(unreserved):
            yield planned.at_once()

    def plan(self, reserve: Reserve) -> Iterator[Planned]:
        slab, respond, keyed = self._asked.plan(reserve)
        yield Planned(slab, partial(self._end, respond, keyed, slab.kind.class_count), _raise)

    def entries(self) -> list[Entry]:
        return self._entries

    def settle(self, outcomes: Sequence[Outcome]) -> dict[int, grpc.StatusCode]:
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            if outcome:  # protobuf takes fields in any order
                self._answer += WAS_COUNTED
        return {}

    def answer(self) -> bytes:
        return self._answer

    def _end(self, respond: Respond, keyed: Keyed | None, classes: int, result: ce_engine.LossResult) -> Evaluated:
        if keyed is not None:
            self._entries.append(keyed.entry(Exact.of(result)))
        answer = respond(result)
        self._answer = answer.to_bytes()
        sent = answer_bytes(answer.response, len(self._answer))
        return Evaluated(self._asked.labels, [answer.response], classes, result.tally, self._received_bytes, sent)


def _raise(error: Exception) -> Iterable[Step]:
    raise error
