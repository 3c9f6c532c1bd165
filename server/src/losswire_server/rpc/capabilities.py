"""What callers are told that this server serves. A test compares it with what the server does."""

import torch

from losswire import v1
from losswire.dtypes import BY_NAME, FLOATING, INTEGERS
from losswire.losses import LOSSES, OUTPUTS
from losswire_server.settings import Settings


def capabilities(settings: Settings, version: str, shared_memory_bytes: int = 0) -> v1.GetCapabilitiesResponse:
    shared = [v1.Transport.TRANSPORT_SHARED_MEMORY] if shared_memory_bytes else []
    return v1.GetCapabilitiesResponse(
        version=version,
        torch_version=torch.__version__,
        device=v1.Device(type="cpu"),
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
        ),
    )
