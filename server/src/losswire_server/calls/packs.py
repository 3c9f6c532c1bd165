"""Answers messages of many requests: short ones where they arrive, others beside the event loop."""

import grpc

from losswire_server.calls.workers import Workers
from losswire_server.errors import NotServedError
from losswire_server.memory.regions import Regions
from losswire_server.metrics.losses import LossMetrics
from losswire_server.metrics.packs import BatchMetrics
from losswire_server.requests.pack import Batch, BatchAnswer

SHORT_BYTES = 2**17  # larger messages are not even read on the event loop


class BatchEvaluator:
    def __init__(
        self, workers: Workers, metrics: LossMetrics, batch_metrics: BatchMetrics, regions: Regions, max_requests: int
    ) -> None:
        self._workers = workers
        self._metrics = metrics
        self._batch_metrics = batch_metrics
        self._regions = regions
        self._max_requests = max_requests

    async def __call__(self, data: bytes) -> bytes:
        """Answers a BatchEvaluateRequest with a BatchEvaluateResponse. What is wrong with one request is in its result.

        Raises:
            OverloadedError: Too much is in flight.
            FieldError: There are no requests, or too many, or the bytes are no message.
            NotServedError: Of several requests in a call, or of a field of the message.
        """
        if not self._max_requests:
            raise NotServedError("BatchEvaluate", "this server takes one batch a call; send each to Evaluate")
        answer = self._evaluate_here(data)
        if answer is None:
            answer = await self._workers.do(lambda: self._read(data).evaluate(), len(data))
        self._count(answer)
        return answer.data

    def _evaluate_here(self, data: bytes) -> BatchAnswer | None:
        """The answer to a message that is short; None where it is not, or where something is wrong."""
        if len(data) > SHORT_BYTES or not (batch := self._read(data)).is_short:
            return None
        try:
            return batch.evaluate(take_apart=False)
        except Exception:  # noqa: BLE001 - to find out what is wrong is no longer short
            return None

    def _read(self, data: bytes) -> Batch:
        return Batch(data, self._max_requests, self._regions)

    def _count(self, answer: BatchAnswer) -> None:
        for evaluated in answer.evaluated:
            self._metrics.count_alike(*evaluated)
            self._batch_metrics.count(grpc.StatusCode.OK, len(evaluated.responses))
        for code in answer.failures:
            self._batch_metrics.count(code)
