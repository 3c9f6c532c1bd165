"""Metrics of evaluations by loss, dtype and transport: how many, how long, how many bytes."""

from prometheus_client import CollectorRegistry

from losswire_server.metrics.instruments import by_value, children, counter, histogram
from losswire_server.requests.ends import Evaluated


class EvaluationMetrics:
    """Counts evaluations. May be used from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._evaluations, self._received, self._sent = (
            children(counter(registry, name), name)
            for name in ("losswire_evaluations_total", "losswire_received_bytes_total", "losswire_sent_bytes_total")
        )
        name = "losswire_evaluation_seconds"
        self._seconds = by_value(histogram(registry, name), name)

    def count(self, evaluated: Evaluated, seconds: float) -> None:
        """Counts evaluations that took so many seconds together. Each gets an equal share.

        So the histogram's count is the number of evaluations, and its sum is the time that they took.
        """
        labels, requests = evaluated.labels, len(evaluated.responses)
        form = labels.loss, labels.dtype, labels.transport
        self._evaluations[form].inc(requests)
        self._received[form].inc(evaluated.received_bytes)
        self._sent[form].inc(evaluated.sent_bytes)
        observe = self._seconds[labels.loss].observe
        for _ in range(requests):
            observe(seconds / requests)
