"""Where the traces and metrics of this process go, by the standard ``OTEL_*`` variables."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from typing import Any
from uuid import uuid4

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from losswire_server.settings.reading import WrongSettingsError
from losswire_server.text import one_line
from losswire_server.tracing.log_ids import add_ids

INSTANCE = "service.instance.id"  # tells processes apart, also those that are a server together
FLUSH_SECONDS = 5.0  # for what is still to be sent when the process ends
PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}  # of OTLP, by the exporters' names


@contextmanager
def exporting(place: int | None = None) -> Iterator[None]:
    """Makes the process's tracer and meter, and has log lines tell the trace; at the end sends what is left.

    Args:
        place: The process's number among those that are a server together; None if it is one alone.

    Raises:
        WrongSettingsError: A variable cannot be used.
    """
    try:
        providers = _configure(_resource(place))
    except WrongSettingsError:
        raise
    except Exception as error:
        raise WrongSettingsError(f"tracing: an OTEL_* variable cannot be used: {one_line(str(error))}") from error
    for handler in logging.getLogger().handlers:
        handler.addFilter(add_ids)
    try:
        yield
    finally:
        _shut_down(providers)


def _configure(resource: Resource) -> Sequence[Any]:
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in _exporters("traces"):
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter()))
    readers = [PeriodicExportingMetricReader(exporter()) for exporter in _exporters("metrics")]
    meter_provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(meter_provider)
    return tracer_provider, meter_provider


def _resource(place: int | None) -> Resource:
    """What the variables say of this process, and what they leave out. No two processes have the same instance."""
    told = dict(OTELResourceDetector().detect().attributes)
    if INSTANCE in told and place is not None:
        told[INSTANCE] = f"{told[INSTANCE]}-{place}"
    ours = {"service.name": "losswire-server", "service.version": version("losswire-server"), INSTANCE: str(uuid4())}
    return Resource.create({**ours, **told})


def _exporters(signal: str) -> list[Callable[[], Any]]:
    """What makes the exporters that ``OTEL_TRACES_EXPORTER`` or ``OTEL_METRICS_EXPORTER`` names; OTLP by default."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    names = [name.strip() for name in (os.environ.get(variable) or "otlp").split(",")]
    return [_exporter(signal, name, variable) for name in names if name != "none"]


def _exporter(signal: str, name: str, variable: str) -> Callable[[], Any]:
    known = {point.name: point for point in entry_points(group=f"opentelemetry_{signal}_exporter")}
    name = _protocol(signal) if name == "otlp" else name
    if name not in known:
        installed = ", ".join(sorted(known))
        raise WrongSettingsError(f"{variable}: expected otlp, none or one of {installed}, got {one_line(repr(name))}")
    exporter: Callable[[], Any] = known[name].load()
    return exporter


def _protocol(signal: str) -> str:
    variable = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    if not os.environ.get(variable):
        variable = "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = os.environ.get(variable) or "grpc"
    if protocol not in PROTOCOLS:
        raise WrongSettingsError(f"{variable}: expected {' or '.join(PROTOCOLS)}, got {one_line(repr(protocol))}")
    return PROTOCOLS[protocol]


def _shut_down(providers: Sequence[Any]) -> None:
    """Sends what is left. A collector that does not answer keeps no process from ending."""
    threads = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
    for thread in threads:
        thread.start()
    end = time.monotonic() + FLUSH_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
