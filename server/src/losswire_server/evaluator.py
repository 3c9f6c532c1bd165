"""Runs evaluations beside the event loop, small ones within it, and counts what they answer."""

import asyncio
import math
import time
from concurrent.futures import Executor
from dataclasses import dataclass

from losswire import v1
from losswire_server.admission import Admission
from losswire_server.evaluation import evaluate
from losswire_server.loss_metrics import LossMetrics
from losswire_server.regions import OFF, Regions

SMALL_MESSAGE_BYTES = 2**15
SMALL_ELEMENTS = 2**13


class Evaluator:
    def __init__(self, admission: Admission, metrics: LossMetrics, executor: Executor, regions: Regions = OFF) -> None:
        self._admission = admission
        self._metrics = metrics
        self._executor = executor
        self._regions = regions

    async def __call__(self, data: bytes) -> bytes:
        """Answers an EvaluateRequest with an EvaluateResponse, in its turn. A caller that leaves before costs no more.

        Raises:
            OverloadedError: Too much is in flight.
            DecodeError: The bytes are no EvaluateRequest.
            FieldError: See `evaluate`.
            NotServedError: See `evaluate`.
        """
        if len(data) <= SMALL_MESSAGE_BYTES and _is_small(request := v1.EvaluateRequest.FromString(data)):
            evaluation = _evaluate(request, self._regions)
        else:
            evaluation = await self._evaluate_beside(data)
        self._metrics.count(evaluation.request, evaluation.response, evaluation.seconds)
        return evaluation.answer

    async def _evaluate_beside(self, data: bytes) -> "_Evaluation":
        self._admission.reserve(len(data))
        future = self._executor.submit(_parse_and_evaluate, data, self._regions)
        # Not in a `finally` here: if the caller leaves, the memory is in use until the executor is done with it.
        future.add_done_callback(lambda _: self._admission.release(len(data)))
        return await asyncio.wrap_future(future)


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
    return _evaluate(v1.EvaluateRequest.FromString(data), regions)


def _evaluate(request: v1.EvaluateRequest, regions: Regions) -> _Evaluation:
    start = time.perf_counter()
    response = evaluate(request, regions)
    answer = response.SerializeToString()
    return _Evaluation(request, response, answer, time.perf_counter() - start)
