"""From the requests of one pack to one answer. Each request succeeds or fails by itself."""

import logging
from collections.abc import Iterator

import grpc

from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import parse
from losswire.wire import LENGTH_DELIMITED, read_fields
from losswire_server.errors import NotServedError, log_failure, to_rpc_status, to_status
from losswire_server.memory.regions import Regions
from losswire_server.requests.ends import End, Evaluated
from losswire_server.requests.groups import Group, Request, evaluate_alike, fill_responses, grouped
from losswire_server.requests.one import evaluate

REQUESTS = v1.BatchEvaluateRequest.DESCRIPTOR.fields_by_name["requests"].number

log = logging.getLogger(__name__)


class Pack:
    """The requests of one message. Evaluate them once.

    Attributes:
        groups: The requests in groups.

    Raises:
        FieldError: There are no requests, or too many, or the bytes are no message.
        NotServedError: The message has fields that this server does not know.
    """

    def __init__(self, data: bytes, max_requests: int, regions: Regions) -> None:
        requests = cut(data, max_requests)
        self.groups = grouped(requests)
        self._regions = regions
        self._response = v1.BatchEvaluateResponse()
        self._results = [self._response.results.add() for _ in requests]

    def evaluate(self, *, take_apart: bool = True) -> Iterator[End]:
        """Evaluates the requests: groups together, others one by one. Gives one end after the other.

        Args:
            take_apart: Whether to find out which requests are wrong when a group fails; if not, the error is raised.
        """
        for group in self.groups:
            yield from self._evaluate(group, take_apart)

    def answer(self) -> bytes:
        """The bytes of a BatchEvaluateResponse, once all are evaluated."""
        return self._response.SerializeToString()

    def _evaluate(self, group: Group, take_apart: bool) -> Iterator[End]:
        if group.problem is not None:
            for request in group.requests:
                yield self._fail(self._results[request.number], group.problem)
        elif not group.can_be_stacked or len(group.requests) == 1:
            for request in group.requests:
                yield self._alone(request)
        elif take_apart:
            yield from self._in_halves(group.requests)
        else:
            yield self._together(group.requests)

    def _in_halves(self, requests: list[Request]) -> Iterator[End]:
        """Evaluates requests together. If that fails, it does so with each half, so that only wrong requests fail."""
        if len(requests) == 1:
            yield self._alone(requests[0])
            return
        try:
            end = self._together(requests)
        except Exception as error:  # noqa: BLE001 - it will come again, with the request at fault
            log.debug("requests taken apart", extra={"requests": len(requests), "problem": str(error)})
        else:
            yield end
            return
        half = len(requests) // 2
        yield from self._in_halves(requests[:half])
        yield from self._in_halves(requests[half:])

    def _together(self, requests: list[Request]) -> Evaluated:
        first = parse(v1.EvaluateRequest, requests[0].data)
        result = evaluate_alike(first, [request.elements for request in requests])
        responses = [self._results[request.number].response for request in requests]
        fill_responses(responses, result)
        return Evaluated(first, responses)

    def _alone(self, request: Request) -> End:
        result = self._results[request.number]
        try:
            message = parse(v1.EvaluateRequest, request.data)
            result.response.CopyFrom(evaluate(message, self._regions))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other requests are answered
            return self._fail(result, error)
        return Evaluated(message, [result.response])

    def _fail(self, result: v1.EvaluateResult, error: Exception) -> grpc.StatusCode:
        result.failure.MergeFromString(to_rpc_status(error).SerializeToString())
        code = to_status(error).code
        log_failure(error, code, "BatchEvaluate")
        return code


def cut(data: bytes, max_requests: int) -> list[memoryview]:
    """The bytes of each request. They are not parsed: two bytes of a message can take a hundred once parsed.

    Raises:
        FieldError: There are no requests, or too many, or the bytes are no message.
        NotServedError: The message has fields that this server does not know.
    """
    requests = []
    for number, kind, value in read_fields(memoryview(data), "request", max_requests + 1):
        if (number, kind) != (REQUESTS, LENGTH_DELIMITED) or not isinstance(value, memoryview):
            problem = f"this server does not know its field number {number}; it is older than the caller"
            raise NotServedError("request", problem)
        requests.append(value)
        if len(requests) > max_requests:
            raise FieldError("requests", f"expected at most {max_requests}, got more")
    if not requests:
        raise FieldError("requests", "expected at least one, got none")
    return requests
