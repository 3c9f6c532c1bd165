"""The service and all that it runs on, but for how calls reach it."""

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import torch
from prometheus_client import CollectorRegistry, Gauge

from losswire_server.calls.admission import Admission
from losswire_server.calls.packs import BatchEvaluator
from losswire_server.calls.streams import Streams
from losswire_server.calls.unary import Evaluator
from losswire_server.calls.workers import Workers
from losswire_server.memory.leases import Leases
from losswire_server.memory.regions import Regions, supported
from losswire_server.metrics.losses import LossMetrics
from losswire_server.metrics.packs import BatchMetrics
from losswire_server.metrics.scrapes import Scrapes
from losswire_server.rpc.capabilities import capabilities
from losswire_server.rpc.service import LossService
from losswire_server.settings import Settings


class Backend:
    """The parts of the service, put together.

    Attributes:
        leases: To be ended before calls are.
        scrapes: Answers those who ask for metrics.
        service: Answers calls.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        admission = Admission(settings.max_inflight_bytes)
        metrics = LossMetrics(registry, settings.max_series, admission)
        self.scrapes = Scrapes(registry, metrics.began)
        threads = settings.engine_workers or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(
            threads, "losswire-engine", torch.set_num_threads, (settings.torch_threads,)
        )
        self._regions = Regions(settings.shared_memory_bytes if supported() else 0)
        leased = Gauge("losswire_shared_memory_bytes", "Shared memory leased to callers.", registry=registry)
        leased.set_function(lambda: self._regions.leased_bytes)
        self.leases = Leases(self._regions)
        workers = Workers(admission, self._executor)
        self.service = LossService(
            Evaluator(workers, metrics, self._regions),
            BatchEvaluator(workers, metrics, BatchMetrics(registry), self._regions, settings.max_batch_requests),
            Streams(admission, metrics, self._executor, settings.max_message_bytes),
            self.leases,
            capabilities(settings, version("losswire-server"), self._regions.max_bytes),
        )

    def close(self) -> None:
        """Computes what has begun, and no more."""
        self._executor.shutdown(cancel_futures=True)
        self._regions.close()
