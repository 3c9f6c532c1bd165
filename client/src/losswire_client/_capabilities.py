from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import EnumDescriptor

from losswire import v1
from losswire.losses import LOSSES, OUTPUTS


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
        max_message_bytes=response.limits.max_message_bytes,
        slab_bytes=response.limits.slab_bytes,
        shared_memory_bytes=response.limits.shared_memory_bytes,
        max_batch_requests=response.limits.max_batch_requests,
        engine_workers=response.batching.engine_workers,
        max_batch_rows=response.batching.max_batch_rows,
        max_batch_bytes=response.batching.max_batch_bytes,
        max_queue_delay_us=response.batching.max_queue_delay_us,
        max_queue_rows=response.batching.max_queue_rows,
    )


def _device(device: v1.Device) -> str:
    return f"{device.type}:{device.index}" if device.HasField("index") else device.type


def _names(numbers: Iterable[int], enum: EnumDescriptor) -> tuple[str, ...]:
    """The enum's names as the SDK spells them: Loss.LOSS_CROSS_ENTROPY is ``cross_entropy``."""
    known, prefix = enum.values_by_number, enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return tuple(known[number].name.removeprefix(prefix).lower() for number in numbers if number in known)
