"""What callers are told that this server serves. A test compares it with what the server does."""

import re
from pathlib import Path

import torch

import ce_engine
from losswire import v1
from losswire.dtypes import BY_NAME, FLOATING, INTEGERS
from losswire.losses import LOSSES, OUTPUTS
from losswire_server.calls.limits import CallerLimits
from losswire_server.calls.runs import MOST_REQUEST_KEYS
from losswire_server.settings import Settings
from losswire_server.settings.heads import RESUME_SECONDS


def capabilities(
    settings: Settings, version: str, engine: ce_engine.Engine, shared_memory_bytes: int = 0
) -> v1.GetCapabilitiesResponse:
    shared = [v1.Transport.TRANSPORT_SHARED_MEMORY] if shared_memory_bytes else []
    return v1.GetCapabilitiesResponse(
        version=version,
        torch_version=torch.__version__,
        device=described(engine.device),
        losses=[kind.wire for kind in LOSSES.values()],
        input_dtypes=[BY_NAME[name].wire for name in FLOATING],
        target_dtypes=[BY_NAME[name].wire for name in (*FLOATING, *INTEGERS)],
        outputs=list(OUTPUTS.values()),
        transports=[v1.Transport.TRANSPORT_UNARY, v1.Transport.TRANSPORT_STREAM, *shared],
        limits=v1.Limits(
            max_message_bytes=settings.max_message_bytes,
            slab_bytes=settings.told_slab_bytes,
            shared_memory_bytes=shared_memory_bytes,
            max_batch_requests=settings.max_batch_requests,
            max_inflight_bytes=settings.max_inflight_bytes,
            max_connections=settings.max_connections,
            max_connection_calls=settings.max_connection_calls,
            send_seconds=settings.send_seconds,
            idle_seconds=settings.idle_seconds,
            max_connection_resets=settings.max_connection_resets,
            keepalive_seconds=settings.keepalive_seconds,
            max_series=settings.max_series,
        ),
        batching=v1.Batching(
            engine_workers=settings.workers,
            max_batch_rows=settings.max_batch_rows,
            max_batch_bytes=engine.max_batch_bytes,
            max_queue_delay_us=settings.max_queue_delay_us,
            max_queue_rows=settings.max_queue_rows,
        ),
        run_limits=_run_limits(settings) if settings.runs else None,
        head_limits=_head_limits(settings) if settings.holds_heads else None,
    )


def _head_limits(settings: Settings) -> v1.HeadLimits:
    return v1.HeadLimits(
        max_bytes=settings.most_head_bytes,
        max_heads=settings.max_heads,
        may_register=settings.allow_head_registration,
        resume_seconds=RESUME_SECONDS,
    )


def _run_limits(settings: Settings) -> v1.RunLimits:
    return v1.RunLimits(
        max_runs=settings.max_runs,
        max_run_keys=settings.max_run_keys,
        max_key_bytes=settings.max_key_bytes,
        max_run_slices=settings.max_run_slices,
        max_classes=settings.max_run_classes,
        max_request_keys=MOST_REQUEST_KEYS,
        idle_seconds=settings.run_idle_seconds,
    )


def with_caller_limits(served: v1.GetCapabilitiesResponse, limits: CallerLimits) -> v1.GetCapabilitiesResponse:
    """The capabilities as one caller gets them."""
    told = v1.GetCapabilitiesResponse()
    told.CopyFrom(served)
    told.caller_limits.CopyFrom(
        v1.CallerLimits(
            max_inflight_bytes=int(served.limits.max_inflight_bytes * limits.share),
            max_requests=limits.requests,
            max_streams=limits.streams,
            max_leases=limits.leases,
            shared_memory_bytes=int(served.limits.shared_memory_bytes * limits.share),
            requests_per_second=limits.requests_per_second,
            bytes_per_second=limits.bytes_per_second,
        )
    )
    return told


def limits_by_name(told: v1.GetCapabilitiesResponse) -> dict[str, float]:
    """All limits that callers are told, those of one caller with the prefix ``caller_``."""
    limits = {"max_queue_rows": float(told.batching.max_queue_rows)}
    for prefix, message in ("", told.limits), ("caller_", told.caller_limits):
        for field in message.DESCRIPTOR.fields:
            limits[prefix + field.name] = float(getattr(message, field.name))
    return limits


def described(device: torch.device) -> v1.Device:
    return v1.Device(type=device.type, index=device.index, name=_model(device))


def _model(device: torch.device) -> str:
    """Empty if unknown."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    model = re.search(r"^model name\s*: (.+)$", told, re.MULTILINE)  # not on every architecture
    return model[1].strip() if model else ""
