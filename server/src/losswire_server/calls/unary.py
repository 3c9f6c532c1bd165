"""Runs evaluations beside the event loop, small ones within it, and counts what they answer."""

import math
import time
from dataclasses import dataclass
from functools import partial

from losswire import v1
from losswire.parsing import parse
from losswire_server.calls.workers import Workers
from losswire_server.memory.regions import OFF, Regions
from losswire_server.metrics.losses import LossMetrics
from losswire_server.requests.one import evaluate

SMALL_MESSAGE_BYTES = 2**15
SMALL_ELEMENTS = 2**13


class Evaluator:
    def __init__(self, workers: Workers, metrics: LossMetrics, regions: Regions = OFF) -> None:
        self._workers = workers
        self._metrics = metrics
        self._regions = regions

    async def __call__(self, data: bytes) -> bytes:
        """Answers an EvaluateRequest with an EvaluateResponse, in its turn. A caller that leaves before costs no more.

        Raises:
            OverloadedError: Too much is in flight.
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `parse` and `evaluate`.
            NotServedError: See `evaluate`.
        """
        if len(data) <= SMALL_MESSAGE_BYTES and _is_small(request := parse(v1.EvaluateRequest, data)):
            evaluation = _evaluate(request, self._regions)
        else:
            work = partial(_parse_and_evaluate, data, self._regions)
            evaluation = await self._workers.do(work, len(data))
        self._metrics.count(evaluation.request, evaluation.response, evaluation.seconds)
        return evaluation.answer


@dataclass(frozen=True)
class _Evaluation:
    request: v1.EvaluateRequest
    response: v1.EvaluateResponse
    answer: bytes
    seconds: float


def _is_small(request: v1.EvaluateRequest) -> bool:
    """Whether evaluating it takes less time than handing it over, wherever its tensors are."""
    return math.prod(filter(None, request.input.shape)) <= SMALL_ELEMENTS


def _parse_and_evaluate(data: bytes, regions: Regions) -> _Evaluation:
    return _evaluate(parse(v1.EvaluateRequest, data), regions)


def _evaluate(request: v1.EvaluateRequest, regions: Regions) -> _Evaluation:
    start = time.perf_counter()
    response = evaluate(request, regions)
    answer = response.SerializeToString()
    return _Evaluation(request, response, answer, time.perf_counter() - start)
