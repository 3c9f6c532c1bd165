"""Metrics of calls, and of who may call."""

from collections.abc import Mapping

from losswire.monitoring.buckets import SECONDS
from losswire.monitoring.labels import CODES
from losswire.monitoring.metric import Metric, Values

_METHOD: Mapping[str, Values] = {
    "grpc_type": ("unary", "client_stream", "server_stream", "bidi_stream"),
    "grpc_service": ("losswire.v1.LossService", "losswire.v1.RunService", "losswire.v1.HeadService"),
    "grpc_method": (
        *("Evaluate", "BatchEvaluate", "EvaluateStream", "GetCapabilities", "LeaseSharedMemory"),
        *("CreateRun", "GetRun", "ListRuns", "ListRunKeys", "FindMissingKeys", "WatchRun", "FinishRun", "DeleteRun"),
        *("RegisterHead", "GetHead", "ListHeads", "SetHeadAlias", "DeleteHead"),
    ),
}

CALLS = (
    Metric("grpc_server_started_total", "counter", "calls", "RPCs started.", _METHOD),
    Metric(
        "grpc_server_handled_total",
        "counter",
        "calls",
        "RPCs ended, however they ended: cancelled and aborted ones too.",
        {**_METHOD, "grpc_code": CODES},
    ),
    Metric("grpc_server_msg_received_total", "counter", "messages", "Messages received.", _METHOD),
    Metric("grpc_server_msg_sent_total", "counter", "messages", "Messages sent.", _METHOD),
    Metric(
        "grpc_server_handling_seconds",
        "histogram",
        "seconds",
        "Time from an RPC's start to its end. Calls that are traced leave exemplars.",
        _METHOD,
        SECONDS,
    ),
    Metric(
        "losswire_batch_requests_total",
        "counter",
        "requests",
        "Requests that came in BatchEvaluate, by how each of them ended.",
        {"grpc_code": CODES},
    ),
    Metric(
        "losswire_refused_calls_total",
        "counter",
        "calls",
        "Calls refused for a limit: of all callers, of one caller, or of a call.",
        {
            "reason": (
                *("inflight_bytes", "queue_rows", "shared_memory", "caller_bytes", "caller_requests"),
                *("caller_streams", "caller_leases", "caller_uploads", "caller_requests_per_second"),
                *("caller_bytes_per_second", "too_large", "too_slow"),
            )
        },
    ),
    Metric(
        "losswire_connections_ended_total",
        "counter",
        "connections",
        "Connections that the server ended: a slow reader, more than fits in memory, too many resets.",
        {"reason": ("slow_reader", "memory", "resets")},
    ),
)

SECURITY = (
    Metric(
        "losswire_unauthenticated_calls_total",
        "counter",
        "calls",
        "Calls refused for their token.",
        {"reason": ("missing", "malformed", "unknown")},
    ),
    Metric(
        "losswire_failed_reloads_total",
        "counter",
        "files",
        "Replaced files that are wrong; the old ones stay.",
        {"file": ("tls_certificate", "tokens")},
    ),
    Metric(
        "losswire_certificate_expiry_timestamp_seconds",
        "gauge",
        "seconds since 1970",
        "When the certificate in use, or one of its chain, expires.",
        only="with TLS",
    ),
)
