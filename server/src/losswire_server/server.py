"""The parts of the server put together, started and stopped."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import grpc
import torch
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry, GCCollector, Info, ProcessCollector, start_http_server

from losswire.v1 import loss_service_pb2
from losswire_server.backend import Backend
from losswire_server.edge import Edge
from losswire_server.health_service import HealthService
from losswire_server.rpc_metrics import RpcMetrics
from losswire_server.settings import Settings

SERVICE = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"]
LOOKAHEAD_BYTES = 4 * 2**20  # that gRPC receives of a stream unasked: less slows slabs down, more is uncounted memory

log = logging.getLogger(__name__)


class Server:
    """A server in the running event loop. To be started once and stopped once.

    Where it starts, PyTorch's operators take `torch_threads` threads from then on.

    Attributes:
        registry: Its metrics, beside those of the process if it made the registry itself.
        port: Where the service listens, once started.
        metrics_port: Where Prometheus may scrape, once started.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or _process_registry()
        self.port = settings.port
        self.metrics_port = settings.metrics_port
        self._settings = settings
        self._backend = Backend(settings, self.registry)
        self._health = HealthService()

    async def start(self) -> None:
        """Listens on both ports.

        Raises:
            OSError: One of them cannot be listened on.
        """
        settings = self._settings
        torch.set_num_threads(settings.torch_threads)  # of this thread too: it evaluates what is short
        self._server = self._make_grpc_server()
        with _listening(settings.host, settings.port) as address:
            self.port = self._server.add_insecure_port(address)
        with _listening(settings.metrics_host, settings.metrics_port):
            self._metrics_server, self._metrics_thread = start_http_server(
                settings.metrics_port, settings.metrics_host.strip("[]"), self.registry
            )
        self._metrics_server.set_app(self._backend.scrapes)
        self.metrics_port = self._metrics_server.server_port
        await self._server.start()
        for service in ("", SERVICE.full_name):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        target, metrics = _address(settings.host, self.port), _address(settings.metrics_host, self.metrics_port)
        log.info("serving", extra={"target": target, "metrics": metrics})

    async def stop(self) -> None:
        """Tells health checks first, then takes no more calls, and gives those under way their time to end."""
        drain, grace = self._settings.drain_seconds, self._settings.grace_seconds
        log.info("draining", extra={"drain_seconds": drain, "grace_seconds": grace})
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(drain)
        self._health.end_watches()
        self._backend.leases.end()
        await self._server.stop(grace)
        self._backend.close()
        self._metrics_server.shutdown()
        self._metrics_server.server_close()
        self._metrics_thread.join()
        log.info("stopped")

    def _make_grpc_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._settings.max_message_bytes),
                ("grpc.max_send_message_length", -1),  # answers are bounded by their requests
                ("grpc.http2.bdp_probe", 0),  # on a busy machine it had gRPC read tens of MB ahead
                ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # callers who ping oftener are sent away
                ("grpc.so_reuseport", 0),  # two servers on one port by mistake would share its connections unseen
            ],
        )
        self._backend.service.add_to(server, Edge(RpcMetrics(self.registry, SERVICE)))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server


@contextmanager
def _listening(host: str, port: int) -> Iterator[str]:
    address = _address(host, port)
    try:
        yield address
    except (OSError, RuntimeError) as error:  # as http.server and as grpcio say it
        raise OSError(f"cannot listen on {address}; is another server there?") from error


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _process_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    info = Info("losswire_build", "Versions of what runs.", registry=registry)
    info.info({"version": version("losswire-server"), "torch": torch.__version__})
    return registry
