from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from google.protobuf.descriptor import EnumDescriptor

from losswire import v1
from losswire.losses import LOSSES, OUTPUTS


@dataclass(frozen=True)
class CallerLimits:
    """How much one caller may take, which is a token's name, or a connection. All 0 if the server is too old to tell.

    Attributes:
        max_inflight_bytes: The most bytes in flight.
        max_requests: The most calls under way.
        max_streams: The most of these calls that may be streams.
        max_leases: The most regions of shared memory.
        shared_memory_bytes: The most bytes of these regions.
        requests_per_second: The most calls begun in a second, on average over two; 0 for any number.
        bytes_per_second: The most bytes of messages sent in a second, on average over two; 0 for any number.
    """

    max_inflight_bytes: int = 0
    max_requests: int = 0
    max_streams: int = 0
    max_leases: int = 0
    shared_memory_bytes: int = 0
    requests_per_second: float = 0.0
    bytes_per_second: float = 0.0


@dataclass(frozen=True)
class RunLimits:
    """Limits of runs, on a server that keeps any.

    Attributes:
        max_runs: The most runs.
        max_run_keys: The most keys of a run.
        max_key_bytes: The most bytes of UTF-8 of a key, and of the name of a slice.
        max_run_slices: The most slices of a run.
        max_classes: The most classes with rows in a run that adds up each class by itself.
        max_request_keys: The most keys in one request. `Run.missing` and `Run.finish` take any number.
        idle_seconds: Seconds after which a run is deleted to which nobody adds a key; 0 for never.
    """

    max_runs: int = 0
    max_run_keys: int = 0
    max_key_bytes: int = 0
    max_run_slices: int = 0
    max_classes: int = 0
    max_request_keys: int = 0
    idle_seconds: float = 0.0


@dataclass(frozen=True)
class HeadLimits:
    """Limits of heads, on a server that holds any.

    Attributes:
        max_bytes: The most memory that all heads take.
        max_heads: The most heads.
        may_register: Whether callers may register heads.
        resume_seconds: Seconds for which an upload that broke off may be taken up.
    """

    max_bytes: int = 0
    max_heads: int = 0
    may_register: bool = False
    resume_seconds: float = 0.0


@dataclass(frozen=True)
class Capabilities:
    """What a server serves.

    Attributes:
        version: The server's version.
        torch_version: The server's version of PyTorch.
        device: Where the server computes: ``cpu`` or ``cuda``, or a certain one of its GPUs, as in ``cuda:1``.
        device_name: The device's model; empty if unknown.
        losses: Names as in ``cross_entropy``.
        input_dtypes: Names as in ``float32``.
        target_dtypes: Names as in ``int64``.
        outputs: Optional outputs other than the gradient, as in ``lse``.
        transports: Any of ``unary``, ``stream`` and ``shared_memory``.
        max_message_bytes: The largest request that fits one message.
        slab_bytes: A good size for the messages of a stream.
        shared_memory_bytes: The most memory that all callers on the server's machine may share with it; 0 if none.
        max_batch_requests: The most small evaluations that one message may hold; 0 if each needs its own.
        engine_workers: How many launches are computed at the same time. This and the following are 0 if the server is
            too old to tell.
        max_batch_rows: The most rows of several slabs that are launched together.
        max_batch_bytes: The most bytes of their input.
        max_queue_delay_us: Microseconds that a launch waits for more slabs.
        max_queue_rows: The most rows that wait for a launch.
        max_inflight_bytes: The most bytes of all callers in flight.
        max_connections: The most connections that the server accepts.
        max_connection_calls: The most calls under way on one connection.
        max_connection_resets: The most calls that one connection may leave in a second; 0 for any number.
        send_seconds: Seconds in which a message must arrive, and an answer be read.
        idle_seconds: Seconds in which a stream's next message must arrive.
        keepalive_seconds: Seconds of silence after which the server asks whether the caller is still there.
        max_series: The most names of series that the metrics tell apart.
        caller_limits: How much this caller may take.
        run_limits: Limits of runs; None if the server keeps none.
        head_limits: Limits of heads; None if the server holds none.
    """

    version: str
    torch_version: str
    device: str
    device_name: str
    losses: tuple[str, ...]
    input_dtypes: tuple[str, ...]
    target_dtypes: tuple[str, ...]
    outputs: tuple[str, ...]
    transports: tuple[str, ...]
    max_message_bytes: int
    slab_bytes: int
    shared_memory_bytes: int
    max_batch_requests: int
    engine_workers: int = 0
    max_batch_rows: int = 0
    max_batch_bytes: int = 0
    max_queue_delay_us: int = 0
    max_queue_rows: int = 0
    max_inflight_bytes: int = 0
    max_connections: int = 0
    max_connection_calls: int = 0
    max_connection_resets: float = 0.0
    send_seconds: float = 0.0
    idle_seconds: float = 0.0
    keepalive_seconds: float = 0.0
    max_series: int = 0
    caller_limits: CallerLimits = CallerLimits()
    run_limits: RunLimits | None = None
    head_limits: HeadLimits | None = None


def parse_capabilities(response: v1.GetCapabilitiesResponse) -> Capabilities:
    """Reads the server's answer. Values of a newer server that this SDK's contract does not have are left out."""
    return Capabilities(
        version=response.version,
        torch_version=response.torch_version,
        device=_device(response.device),
        device_name=response.device.name,
        losses=tuple(name for name, kind in LOSSES.items() if kind.wire in response.losses),
        input_dtypes=_names(response.input_dtypes, v1.Dtype.DESCRIPTOR),
        target_dtypes=_names(response.target_dtypes, v1.Dtype.DESCRIPTOR),
        outputs=tuple(name for name, wire in OUTPUTS.items() if wire in response.outputs),
        transports=_names(response.transports, v1.Transport.DESCRIPTOR),
        **_numbers(Capabilities, response.limits),
        **_numbers(Capabilities, response.batching),
        caller_limits=CallerLimits(**_numbers(CallerLimits, response.caller_limits)),
        run_limits=RunLimits(**_numbers(RunLimits, response.run_limits)) if response.HasField("run_limits") else None,
        head_limits=HeadLimits(**_numbers(HeadLimits, response.head_limits))
        if response.HasField("head_limits")
        else None,
    )


def _numbers(
    kind: type, message: v1.Limits | v1.Batching | v1.CallerLimits | v1.RunLimits | v1.HeadLimits
) -> dict[str, Any]:
    """The fields of a message that one of the classes above has too, by the same names."""
    known = message.DESCRIPTOR.fields_by_name
    return {field.name: getattr(message, field.name) for field in fields(kind) if field.name in known}


def _device(device: v1.Device) -> str:
    return f"{device.type}:{device.index}" if device.HasField("index") else device.type


def _names(numbers: Iterable[int], enum: EnumDescriptor) -> tuple[str, ...]:
    """The enum's names as the SDK spells them: Loss.LOSS_CROSS_ENTROPY is ``cross_entropy``."""
    known, prefix = enum.values_by_number, enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return tuple(known[number].name.removeprefix(prefix).lower() for number in numbers if number in known)
