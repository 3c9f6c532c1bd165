"""The service and everything that it runs on, except how calls reach it."""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import torch
from prometheus_client import CollectorRegistry

from losswire_server.calls.admission import Admission
from losswire_server.calls.desk import Desk
from losswire_server.calls.packs import Packs
from losswire_server.calls.streams import Streams
from losswire_server.calls.unary import Unary
from losswire_server.memory.leases import Leases
from losswire_server.memory.regions import Regions, supported
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.losses import LossMetrics
from losswire_server.metrics.resources import show_memory
from losswire_server.metrics.scrapes import Scrapes
from losswire_server.rpc.capabilities import capabilities
from losswire_server.rpc.service import LossService
from losswire_server.settings import Settings


class Backend:
    """The parts of the service, put together. Start it once and stop it once, in the event loop of its calls.

    Attributes:
        scrapes: Answers scrapers of the metrics.
        service: Answers calls.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self._torch_threads = settings.torch_threads
        self._executor = ThreadPoolExecutor(
            settings.engine_workers or os.cpu_count() or 1,
            "losswire-engine",
            torch.set_num_threads,
            (settings.torch_threads,),
        )
        self._regions = Regions(settings.shared_memory_bytes if supported() else 0)
        self._leases = Leases(self._regions)
        admission, losses = Admission(settings.max_inflight_bytes), LossMetrics(registry, settings.max_series)
        show_memory(registry, lambda: admission.inflight_bytes, lambda: self._regions.leased_bytes)
        self.scrapes = Scrapes(registry, losses.began)
        desk = Desk(admission, self._executor, losses, PackMetrics(registry))
        self.service = LossService(
            Unary(desk, self._regions),
            Packs(desk, self._regions, settings.max_batch_requests),
            Streams(desk, settings.max_message_bytes),
            self._leases,
            capabilities(settings, version("losswire-server"), self._regions.max_bytes),
        )

    def start(self) -> None:
        """Gives this thread as many PyTorch threads as the executor's threads have: it evaluates small requests."""
        torch.set_num_threads(self._torch_threads)

    async def stop(self, stop_calls: Callable[[], Awaitable[None]] | None = None) -> None:
        """Finishes work that has begun, and starts no more.

        Args:
            stop_calls: Gives running calls time to end. Leases end first, since their calls last until then.
        """
        self._leases.end()
        if stop_calls is not None:
            await stop_calls()
        self._executor.shutdown(cancel_futures=True)
        self._regions.close()
