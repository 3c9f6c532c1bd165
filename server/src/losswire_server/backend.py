"""The service and everything that it runs on, except how calls reach it."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch
from prometheus_client import CollectorRegistry

import ce_engine
from losswire_server.calls.admission import Admission
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Workplace
from losswire_server.calls.heads import HeadCalls
from losswire_server.calls.latest_runs import LatestRuns
from losswire_server.calls.limits import CallerLimits
from losswire_server.calls.packs import Packs
from losswire_server.calls.registration import Registration
from losswire_server.calls.runs import RunCalls
from losswire_server.calls.streams.flow import Streams
from losswire_server.calls.turns import Turns
from losswire_server.calls.unary import Unary
from losswire_server.calls.warm_up import WarmUpHeads, warm_up
from losswire_server.heads.absent import NO_HEADS
from losswire_server.heads.loading import load_into
from losswire_server.heads.registry import Heads
from losswire_server.heads.uploads import Uploads
from losswire_server.memory.leases import Leases
from losswire_server.memory.regions import Regions, supported
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.devices import show_device
from losswire_server.metrics.evaluations import EvaluationMetrics
from losswire_server.metrics.launches import LaunchMetrics
from losswire_server.metrics.limits import show_limits
from losswire_server.metrics.resources import HeadMetrics, Use, show_build, show_memory
from losswire_server.metrics.runs import RunMetrics
from losswire_server.metrics.scrapes import Scrapes
from losswire_server.metrics.series.losses import LossMetrics
from losswire_server.metrics.stages import StageMetrics
from losswire_server.rpc.capabilities import capabilities, limits_by_name, with_caller_limits
from losswire_server.rpc.head_service import HeadService
from losswire_server.rpc.run_service import RunService
from losswire_server.rpc.service import LossService
from losswire_server.runs.absent import NO_RUNS
from losswire_server.runs.quotas import Quotas
from losswire_server.settings import Settings
from losswire_server.settings.heads import RESUME_SECONDS
from losswire_server.settings.reading import WrongSettingsError
from losswire_server.supervision.plan import needs_supervisor

if TYPE_CHECKING:
    from losswire_server.runs.runs import Runs

READERS = 2  # threads that parse messages: parsing holds the interpreter's lock, so that more would gain nothing
# On a busy CPU the event loop goes first. With 10 small calls would wait still less (docs/performance.md), but workers
# would hardly get on beside another process that computes.
WORKER_NICENESS = 5


class Backend:
    """The parts of the service, put together. Start it once and stop it once, in the event loop of its calls.

    Args:
        settings: Those of the server.
        registry: Gets its metrics.
        on_device_lost: Is told in another thread that the device broke. From then on all calls fail.

    Attributes:
        admission: Counts the bytes in flight.
        losses: Adds up losses by series.
        stages: Observes how long the stages of calls take.
        scrapes: Answers scrapers of the metrics.
        service: Answers calls.
        run_service: Answers calls about runs.
        head_service: Answers calls about heads.

    Raises:
        WrongSettingsError: PyTorch has no such device, or the settings are those of several processes.
    """

    def __init__(
        self,
        settings: Settings,
        registry: CollectorRegistry,
        on_device_lost: Callable[[ce_engine.DeviceLostError], object] | None = None,
    ) -> None:
        if needs_supervisor(settings):
            raise WrongSettingsError("processes: expected 1 within a program; losswire-server and launch() run several")
        self._torch_threads = settings.torch_threads
        self._kept_bytes = settings.kept_bytes
        self.stages = StageMetrics(registry)
        self._launches = LaunchMetrics(registry, lambda: self._engine.waiting_rows, settings.max_queue_rows)
        self._counts_launches = True
        self._engine = self._make_engine(settings, on_device_lost)
        self._readers = ThreadPoolExecutor(READERS, "losswire-reader", torch.set_num_threads, (settings.torch_threads,))
        self._regions = Regions(settings.shared_memory_bytes if supported() else 0)
        self._leases = Leases(self._regions)
        self.admission = admission = Admission(settings.max_inflight_bytes)
        self.losses = LossMetrics(registry, settings.max_series, settings.series_idle_seconds)
        self._show_resources(registry, settings)
        self.scrapes = Scrapes(registry, self.losses.began)
        self.turns = Turns()
        self._workplace = Workplace(admission, self._readers, self._engine)
        self._max_message_bytes = settings.max_message_bytes
        run_metrics = RunMetrics(registry)
        self._runs = _runs(settings, run_metrics)
        self._latest_runs = LatestRuns(self._runs, run_metrics) if self._runs else None
        metrics = EvaluationMetrics(registry), self.losses, PackMetrics(registry)
        desk = Desk(self._workplace, *metrics, self._runs or NO_RUNS)
        self.head_service = self._make_head_service(settings, HeadMetrics(registry))
        heads = self._heads or NO_HEADS
        told = capabilities(settings, version("losswire-server"), self._engine, self._regions.max_bytes)
        show_limits(registry, limits_by_name(with_caller_limits(told, CallerLimits.of(settings))))
        self.service = LossService(
            Unary(desk, self._regions, heads),
            Packs(desk, self._regions, settings.max_batch_requests, heads),
            Streams(desk, settings.max_message_bytes, self.turns, heads),
            self._leases,
            told,
        )
        self._run_calls = RunCalls(self._runs, heads)
        self.run_service = RunService(self._run_calls)
        self._heads_folder = settings.heads

    @property
    def runs_told(self) -> str | None:
        """Where runs are kept, without what is secret; None if they are not."""
        return self._runs.told if self._runs else None

    def open_runs(self) -> None:
        """Opens the database of runs, which may take seconds. Call it once, before calls are taken.

        Raises:
            UnusableStoreError: It cannot be used.
        """
        if self._runs is not None:
            self._runs.open()

    def load_heads(self) -> None:
        """Loads the heads that the operator gives, which may take seconds. Call it once, before calls are taken.

        Raises:
            UnusableHeadsError: One of them cannot be used.
        """
        if self._heads is not None and self._heads_folder is not None:
            load_into(self._heads, self._heads_folder)

    def watch_runs(self) -> None:
        """Keeps the metrics of runs up to date with what other servers do. Call it in the event loop, once."""
        if self._latest_runs is not None:
            self._latest_runs.start()

    def start(self) -> None:
        """Sets this thread's PyTorch as the engine's threads have theirs, since it evaluates small requests."""
        torch.set_num_threads(self._torch_threads)
        ce_engine.keep_memory(self._kept_bytes)

    async def warm_up(self) -> None:
        """Evaluates every loss once, without a trace in the metrics. Call it before calls are taken.

        Raises:
            WarmUpError: This server cannot evaluate a loss.
        """
        unseen = CollectorRegistry()
        desk = Desk(self._workplace, EvaluationMetrics(unseen), LossMetrics(unseen, 1), PackMetrics(unseen))
        self._counts_launches = False
        try:
            heads = WarmUpHeads()
            await warm_up(Unary(desk, heads=heads), Streams(desk, self._max_message_bytes, self.turns, heads))
        finally:
            self._counts_launches = True

    async def stop(self, stop_calls: Callable[[], Awaitable[object]] | None = None) -> None:
        """Finishes work that has begun, and starts no more.

        Args:
            stop_calls: Gives running calls time to end. Leases and watches of runs end first: they last until then.
        """
        self._leases.end()
        self._run_calls.end()
        self._registration.end()
        try:
            if stop_calls is not None:
                await stop_calls()
        finally:
            if self._latest_runs is not None:
                await self._latest_runs.stop()
            if self._runs is not None:
                await asyncio.to_thread(self._runs.close)  # it writes what waits
            self._readers.shutdown(cancel_futures=True)
            self._engine.close(cancel_waiting=True)
            self._regions.close()

    def _count_launch(self, launch: ce_engine.Launch) -> None:
        if self._counts_launches:
            self._launches.count(launch.rows, launch.requests)
            for seconds in launch.waited_seconds:
                self.stages.observe("queue", seconds)

    def _make_engine(
        self, settings: Settings, on_device_lost: Callable[[ce_engine.DeviceLostError], object] | None
    ) -> ce_engine.Engine:
        try:
            return ce_engine.Engine(
                device=settings.device,
                workers=settings.workers,
                torch_threads=settings.torch_threads,
                max_batch_rows=settings.max_batch_rows,
                max_batch_bytes=settings.max_batch_bytes,
                max_queue_delay_us=settings.max_queue_delay_us,
                max_queue_rows=settings.max_queue_rows,
                niceness=WORKER_NICENESS,
                on_launch=self._count_launch,
                on_retry=self._launches.count_retry,
                on_device_lost=on_device_lost,
            )
        except ce_engine.InvalidArgumentError as error:  # settings have checked the numbers, not the machine
            raise WrongSettingsError(str(error)) from error

    def _make_head_service(self, settings: Settings, metrics: HeadMetrics) -> HeadService:
        heads = Heads(settings.most_head_bytes, settings.max_heads, metrics)
        metrics.show(heads)
        self._heads = heads if settings.holds_heads else None
        calls = HeadCalls(self._heads, may_register=settings.allow_head_registration)
        uploads = Uploads(heads, RESUME_SECONDS)
        self._registration = Registration(calls, uploads, self.admission, self._readers, metrics)
        return HeadService(calls, self._registration)

    def _show_resources(self, registry: CollectorRegistry, settings: Settings) -> None:
        admission, regions = self.admission, self._regions
        use = Use(
            inflight_bytes=lambda: admission.inflight_bytes,
            inflight_limit=settings.max_inflight_bytes,
            leased_bytes=lambda: regions.leased_bytes,
            leases=lambda: regions.count,
            lease_limit=regions.max_bytes,
        )
        show_memory(registry, use)
        show_build(registry, settings.device)
        show_device(registry, self._engine.device)


def _runs(settings: Settings, metrics: RunMetrics) -> "Runs | None":
    """The store of runs; None if the settings name none. Its libraries are loaded only if it is there."""
    if not settings.runs:
        return None
    from losswire_server.runs.runs import Runs

    return Runs(settings.runs, Quotas.of(settings), metrics)
