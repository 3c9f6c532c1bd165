"""One request in one message."""

from collections.abc import Iterable, Iterator
from functools import partial

import ce_engine
from losswire import v1
from losswire.losses import loss_of
from losswire.parsing import parse
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Caller
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests import cost
from losswire_server.requests.ends import End, Evaluated
from losswire_server.requests.one import Respond, plan_request
from losswire_server.requests.planned import Planned, Step


class Unary:
    def __init__(self, desk: Desk, regions: Regions = OFF) -> None:
        self._desk = desk
        self._regions = regions

    async def __call__(self, data: bytes, caller: Caller) -> bytes:
        """Answers an EvaluateRequest with an EvaluateResponse.

        Raises:
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `parse` and `plan_request`.
            NotServedError: See `plan_request`.
            Exception: See `Desk.answer`.
        """
        return await self._desk.answer(data, self._read, caller)

    def _read(self, data: bytes) -> "_Work":
        return _Work(parse(v1.EvaluateRequest, data), self._regions)


class _Work:
    writing_seconds = 0.0  # the engine's thread has written the answer

    def __init__(self, request: v1.EvaluateRequest, regions: Regions) -> None:
        self.seconds = cost.seconds(1, 1, cost.element_count(request.input))
        self.planning_seconds = cost.planning_seconds(cost.element_count(request.target))
        self._request: v1.EvaluateRequest | None = request
        self._regions = regions
        self._answer = b""

    def at_once(self) -> Iterator[End]:
        for planned in self.plan():
            yield planned.at_once()

    def plan(self) -> Iterator[Planned]:
        request, self._request = self._request, None  # so that it does not wait with the slab
        if request is not None:
            slab, respond = plan_request(request, self._regions)
            yield Planned(slab, partial(self._end, loss_of(request.spec), request.series, respond), _raise)

    def answer(self) -> bytes:
        return self._answer

    def _end(self, loss: str, series: str, respond: Respond, result: ce_engine.LossResult) -> Evaluated:
        response = respond(result)
        self._answer = response.SerializeToString()
        return Evaluated(loss, series, [response])


def _raise(error: Exception) -> Iterable[Step]:
    raise error
