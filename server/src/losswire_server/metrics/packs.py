"""How the requests end that come several in a call, which the call's own code does not tell."""

import grpc
from prometheus_client import CollectorRegistry, Counter

from losswire_server.metrics.calls import code_label


class BatchMetrics:
    """Counts the requests of ``BatchEvaluate``. Divided by its calls they are how many come together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        requests = Counter(
            "losswire_batch_requests", "Requests that came in BatchEvaluate.", ["grpc_code"], registry=registry
        )
        self._requests = {code: requests.labels(code_label(code)) for code in grpc.StatusCode}

    def count(self, code: grpc.StatusCode, requests: int = 1) -> None:
        """Counts requests that ended with that code."""
        self._requests[code].inc(requests)
