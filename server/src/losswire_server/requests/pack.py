"""The requests of one message to one answer, in which each of them ends by itself."""

import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import grpc

from losswire import v1
from losswire.parsing import parse
from losswire_server.errors import log_failure, to_rpc_status, to_status
from losswire_server.memory.regions import Regions
from losswire_server.requests.groups import Group, Request, cut, grouped
from losswire_server.requests.one import evaluate
from losswire_server.requests.stacking import evaluate_alike, fill_responses

GROUP_SECONDS, REQUEST_SECONDS, ELEMENT_SECONDS = 200e-6, 10e-6, 30e-9  # about what each adds, with many outputs
SHORT_SECONDS = 0.0015

log = logging.getLogger(__name__)


class Evaluated(NamedTuple):
    """Requests that were evaluated together, or one that was alone.

    Attributes:
        request: One of them; they have their loss and their series in common.
        responses: The answers to all of them.
        seconds: That all of them took.
    """

    request: v1.EvaluateRequest
    responses: Sequence[v1.EvaluateResponse]
    seconds: float


class BatchAnswer(NamedTuple):
    """What came of the requests of one message.

    Attributes:
        data: The bytes of a BatchEvaluateResponse.
        evaluated: Those that were answered.
        failures: How the others ended.
    """

    data: bytes
    evaluated: Sequence[Evaluated]
    failures: Sequence[grpc.StatusCode]


class Batch:
    """The requests of one message.

    Raises:
        FieldError: There are none, or too many, or the bytes are no message.
        NotServedError: The message has fields that this server does not know.
    """

    def __init__(self, data: bytes, max_requests: int, regions: Regions) -> None:
        start = time.perf_counter()
        requests = cut(data, max_requests)
        self._groups = grouped(requests)
        self._regions = regions
        self._response = v1.BatchEvaluateResponse()
        self._results = [self._response.results.add() for _ in requests]
        self._reading_seconds = time.perf_counter() - start

    @property
    def is_short(self) -> bool:
        """Whether evaluating them takes a millisecond or two at most, if nothing is wrong."""
        seconds = REQUEST_SECONDS * len(self._results) + GROUP_SECONDS * len(self._groups)
        seconds += ELEMENT_SECONDS * sum(group.elements for group in self._groups)
        return seconds <= SHORT_SECONDS and all(group.can_be_stacked for group in self._groups)

    def evaluate(self, *, take_apart: bool = True) -> BatchAnswer:
        """Evaluates them: those that are alike together, others one by one.

        Args:
            take_apart: Whether to find out, where that fails, which are wrong; otherwise the error is raised.
        """
        ends = [end for group in self._groups for end in self._evaluate(group, take_apart)]
        start = time.perf_counter()
        data = self._response.SerializeToString()
        share = (self._reading_seconds + time.perf_counter() - start) / len(self._results)
        evaluated = [end for end in ends if isinstance(end, Evaluated)]
        return BatchAnswer(
            data,
            [end._replace(seconds=end.seconds + share * len(end.responses)) for end in evaluated],
            [end for end in ends if isinstance(end, grpc.StatusCode)],
        )

    def _evaluate(self, group: Group, take_apart: bool) -> list[Evaluated | grpc.StatusCode]:
        if group.problem is not None:
            return [self._fail(self._results[request.place], group.problem) for request in group.requests]
        if not group.can_be_stacked or len(group.requests) == 1:
            return [self._alone(request) for request in group.requests]
        return self._in_halves(group.requests) if take_apart else [self._together(group.requests)]

    def _in_halves(self, requests: list[Request]) -> list[Evaluated | grpc.StatusCode]:
        """Evaluates them together, or else each half likewise, so that in the end only those that are wrong fail."""
        if len(requests) == 1:
            return [self._alone(requests[0])]
        try:
            return [self._together(requests)]
        except Exception as error:  # noqa: BLE001 - it will come again, with the request that is to blame
            log.debug("requests taken apart", extra={"requests": len(requests), "problem": str(error)})
        half = len(requests) // 2
        return self._in_halves(requests[:half]) + self._in_halves(requests[half:])

    def _together(self, requests: list[Request]) -> Evaluated:
        start = time.perf_counter()
        first = parse(v1.EvaluateRequest, requests[0].data)
        result = evaluate_alike(first, [request.elements for request in requests])
        responses = [self._results[request.place].response for request in requests]
        fill_responses(responses, result)
        return Evaluated(first, responses, time.perf_counter() - start)

    def _alone(self, request: Request) -> Evaluated | grpc.StatusCode:
        start = time.perf_counter()
        result = self._results[request.place]
        try:
            message = parse(v1.EvaluateRequest, request.data)
            result.response.CopyFrom(evaluate(message, self._regions))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other requests are answered
            return self._fail(result, error)
        return Evaluated(message, [result.response], time.perf_counter() - start)

    def _fail(self, result: v1.EvaluateResult, error: Exception) -> grpc.StatusCode:
        result.failure.MergeFromString(to_rpc_status(error).SerializeToString())
        code = to_status(error).code
        log_failure(error, code, "BatchEvaluate")
        return code
