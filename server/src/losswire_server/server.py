"""The parts of the server put together, started and stopped."""

import asyncio
import logging
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

import ce_engine
from losswire.v1 import head_service_pb2, loss_service_pb2, run_service_pb2
from losswire_server.backend import Backend
from losswire_server.calls.limits import CallerLimits
from losswire_server.metrics.calls import RpcMetrics
from losswire_server.metrics.connections import ConnectionMetrics
from losswire_server.metrics.http_server import MetricsServer
from losswire_server.metrics.resources import process_registry
from losswire_server.process.exposure import check_exposure
from losswire_server.process.listening import Address
from losswire_server.process.sockets import Sockets
from losswire_server.rpc.access_log import AccessLog
from losswire_server.rpc.channel_options import options
from losswire_server.rpc.edge import Edge
from losswire_server.rpc.gate import Gate
from losswire_server.rpc.health_service import HealthService
from losswire_server.rpc.receiving.connections import Connections
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.reflection_service import ReflectionService
from losswire_server.rpc.resets import Resets
from losswire_server.rpc.security.entrance import Entrance
from losswire_server.settings import Settings
from losswire_server.tracing.call_trace import tracing_of

SERVICES = (
    loss_service_pb2.DESCRIPTOR.services_by_name["LossService"],
    run_service_pb2.DESCRIPTOR.services_by_name["RunService"],
    head_service_pb2.DESCRIPTOR.services_by_name["HeadService"],
)
NAMES = tuple(service.full_name for service in SERVICES)

log = logging.getLogger(__name__)


class Server:
    """A server in the running event loop. Start it once and stop it once.

    PyTorch's operators in the thread that starts it take `torch_threads` threads from then on.

    Attributes:
        registry: Its metrics; also those of the process if the server made the registry itself.
        port: Where the service listens, once started.
        metrics_port: Where Prometheus may scrape, once started; 0 if the settings turn metrics off.
        device_lost: Is set once the device does not work any more. Then all calls fail until the process is started
            anew: stop the server.
    """

    _shares_port = False

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or process_registry()
        self.port = settings.port
        self.metrics_port = settings.metrics_port if settings.metrics else 0
        self._settings = settings
        self._address = Address(settings.host, settings.port, "host", "port")
        self._metrics_address = Address(settings.metrics_host, settings.metrics_port, "metrics_host", "metrics_port")
        self._tracing = tracing_of(settings)
        self._backend = Backend(settings, self.registry, self._lose_device)
        self._access_log = AccessLog(settings.access_log_per_second)
        self._entrance = Entrance(settings, self.registry)
        self._health = HealthService()
        self._sockets = Sockets()
        admission, limits = self._backend.admission, CallerLimits.of(settings)
        connections = Connections(admission, limits, settings.max_message_bytes, settings.lookahead_bytes)
        seconds = settings.send_seconds, settings.idle_seconds
        metrics = ConnectionMetrics(self.registry)
        resets = Resets(self._sockets, settings.max_connection_resets, metrics)
        self._waits = Waits(
            admission,
            connections,
            self._sockets,
            *seconds,
            self._backend.turns,
            resets=resets,
            max_message_bytes=settings.max_message_bytes,
            metrics=metrics,
        )
        self._gate = Gate()
        self._serving = False
        self.device_lost = asyncio.Event()

    async def start(self) -> None:
        """Evaluates every loss once, then listens for calls. If that fails, nothing is left behind.

        Metrics are served meanwhile, and `/healthz` says that calls are not.

        Raises:
            AddressError: A host is not an address of this machine, or this user may not listen on a port.
            WrongSettingsError: Other machines could call in plain text, or without being known.
            OSError: A port is taken.
            WarmUpError: This server cannot evaluate a loss.
        """
        self._loop = asyncio.get_running_loop()
        check_exposure(self._settings)
        self._backend.start()
        try:
            self._metrics_server = metrics_server = self._make_metrics_server()
        except BaseException:
            await self._backend.stop()
            raise
        if metrics_server:
            metrics_server.start()
            self.metrics_port = metrics_server.port
        try:
            self._check_address()
            await asyncio.to_thread(self._backend.open_runs)
            self._backend.watch_runs()
            await asyncio.to_thread(self._backend.load_heads)
            await self._warm_up()
            await self._start_grpc_server()
        except BaseException:
            if metrics_server:
                metrics_server.close()
            await self._backend.stop()
            raise
        for service in ("", *NAMES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._serving = True
        self._tell()

    async def stop(self) -> None:
        """Tells health checks first, then takes no more calls, and gives running calls time to end."""
        drain, grace = self._drain_seconds(), self._settings.grace_seconds
        log.info("draining", extra={"drain_seconds": drain, "grace_seconds": grace})
        self._serving = False
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(drain)
        self._health.end_watches()
        await self._backend.stop(partial(self._stop_calls, grace))
        if self._metrics_server:
            self._metrics_server.close()  # here, since no thread may be left to be had
        self._access_log.tell_left_out()
        log.info("stopped")

    # What differs where several processes are one server: see `member.py`.

    def _check_address(self) -> None:
        self._address.check()

    def _drain_seconds(self) -> float:
        """How long calls are still taken. With a lost device they would only fail."""
        return 0.0 if self.device_lost.is_set() else self._settings.drain_seconds

    def _tell(self) -> None:
        log.info("serving", extra=self._told())
        self._entrance.warn()

    def _told(self) -> dict[str, Any]:
        target, metrics = self._address._replace(port=self.port), self._metrics_address._replace(port=self.metrics_port)
        told = {"target": str(target), "metrics": str(metrics) if self._metrics_server else None}
        return {**told, "runs": self._backend.runs_told, **self._entrance.told}

    def _make_metrics_server(self) -> MetricsServer | None:
        if not self._settings.metrics:
            return None
        return MetricsServer(self._metrics_address, self._backend.scrapes, lambda: self._serving)

    async def _warm_up(self) -> None:
        await self._backend.warm_up()

    def _lose_device(self, error: ce_engine.DeviceLostError) -> None:
        log.error("device lost", extra={"device": self._settings.device, "problem": str(error)})
        self._loop.call_soon_threadsafe(self.device_lost.set)

    async def _start_grpc_server(self) -> None:
        self._server = self._make_grpc_server()
        self.port = self._sockets.port = _bind(self._server, str(self._address), self._entrance.credentials)
        starting = asyncio.ensure_future(self._server.start())  # bound or not: grpcio can stop only a started server
        try:
            await asyncio.shield(starting)
        except BaseException:
            await starting
            await self._stop_grpc_server(0)
            raise
        if not self.port:
            await self._stop_grpc_server(0)
            raise self._address.taken()

    async def _stop_calls(self, grace: float) -> None:
        """Refuses new calls, and gives running calls so many seconds to end."""
        end = self._loop.time() + grace
        await self._gate.close(grace)
        await self._stop_grpc_server(max(0.0, end - self._loop.time()))

    async def _stop_grpc_server(self, grace: float) -> None:
        """Stops the gRPC server, and drops it while the event loop still runs, which its threads wake."""
        await self._server.stop(grace)
        self._waits.close()
        del self._server

    def _make_grpc_server(self) -> grpc.aio.Server:
        server, guard = (
            grpc.aio.server(options=options(self._settings, shares_port=self._shares_port)),
            self._entrance.guard,
        )
        metrics = RpcMetrics(self.registry, *SERVICES)
        edge = Edge(metrics, self._access_log, self._waits, self._backend.stages, self._gate, guard, self._tracing)
        self._backend.service.add_to(server, edge)
        self._backend.run_service.add_to(server, edge)
        self._backend.head_service.add_to(server, edge)
        self._health.add_to(server, self._waits)
        if self._entrance.tells_contract:
            names = (*NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            ReflectionService(names, guard).add_to(server, self._waits)
        return server


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    """The port, or 0 if another server has it. The error that grpcio raises would keep the server alive."""
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        return 0
