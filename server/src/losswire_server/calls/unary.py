"""One request in one message."""

from collections.abc import Iterator

from losswire import v1
from losswire.parsing import parse
from losswire_server.calls.desk import Desk
from losswire_server.memory.regions import OFF, Regions
from losswire_server.requests import cost
from losswire_server.requests.ends import Evaluated
from losswire_server.requests.one import evaluate


class Unary:
    def __init__(self, desk: Desk, regions: Regions = OFF) -> None:
        self._desk = desk
        self._regions = regions

    async def __call__(self, data: bytes) -> bytes:
        """Answers an EvaluateRequest with an EvaluateResponse.

        Raises:
            OverloadedError: Too much is in flight.
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `parse` and `evaluate`.
            NotServedError: See `evaluate`.
        """
        return await self._desk.answer(data, self._read)

    def _read(self, data: bytes) -> "_Work":
        return _Work(parse(v1.EvaluateRequest, data), self._regions)


class _Work:
    def __init__(self, request: v1.EvaluateRequest, regions: Regions) -> None:
        self._request = request
        self._regions = regions
        self._response = v1.EvaluateResponse()

    @property
    def seconds(self) -> float:
        return cost.seconds(1, 1, cost.element_count(self._request.input))

    def evaluate(self) -> Iterator[Evaluated]:
        self._response = evaluate(self._request, self._regions)
        yield Evaluated(self._request, [self._response])

    at_once = evaluate

    def answer(self) -> bytes:
        return self._response.SerializeToString()
