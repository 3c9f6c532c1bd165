"""Runs evaluations beside the event loop, as many as are admitted, and counts what they answer."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from losswire import v1
from losswire_server.admission import Admission
from losswire_server.evaluation import evaluate
from losswire_server.loss_metrics import LossMetrics


class Evaluator:
    def __init__(self, admission: Admission, metrics: LossMetrics, workers: int) -> None:
        self._admission = admission
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="losswire-engine")

    async def __call__(self, request: v1.EvaluateRequest) -> v1.EvaluateResponse:
        """Evaluates a request in its turn. A caller that leaves before that costs nothing more.

        Raises:
            OverloadedError: Too much is in flight.
            FieldError: See `evaluate`.
            NotServedError: See `evaluate`.
        """
        size = request.ByteSize()
        self._admission.reserve(size)
        future = self._executor.submit(_timed, request)
        # Not in a `finally` here: if the caller leaves, the memory is in use until the executor is done with it.
        future.add_done_callback(lambda _: self._admission.release(size))
        response, seconds = await asyncio.wrap_future(future)
        self._metrics.count(request, response, seconds)
        return response

    def close(self) -> None:
        """Waits for the evaluations under way, and drops those that have not begun."""
        self._executor.shutdown(cancel_futures=True)


def _timed(request: v1.EvaluateRequest) -> tuple[v1.EvaluateResponse, float]:
    start = time.perf_counter()
    response = evaluate(request)
    return response, time.perf_counter() - start
