"""A training step as a trace. Its spans go to the collector that OTEL_EXPORTER_OTLP_ENDPOINT names.

Run it beside a server whose traces go to the same collector: LOSSWIRE_TRACING=true losswire-server
"""

import numpy as np
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from losswire_client import Client


def main() -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "training"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    logits, target = np.zeros((256, 1000), np.float32), np.zeros(256, np.int64)
    with trace.get_tracer("training").start_as_current_span("step") as span, Client() as client:
        client.cross_entropy(logits, target, grad=True, series="train")
    provider.shutdown()
    print(f"trace {trace.format_trace_id(span.get_span_context().trace_id)}")


if __name__ == "__main__":
    main()
