"""Losswire itself: its server as ``losswire-server`` starts it, and its SDK, with one transport after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.batch import Answer, Batch, Prepare, Run, as_array, as_tensor
from losswire_client import Client
from losswire_server import launch


@contextmanager
def _way(transport: str, *, resident: bool = False) -> Iterator[Prepare]:
    with launch() as server:
        yield partial(_client, server.target, transport, resident)


unary = partial(_way, "unary")
stream = partial(_way, "stream")
shared_memory = partial(_way, "shared_memory")
resident = partial(_way, "shared_memory", resident=True)
automatic = partial(_way, "auto")


@contextmanager
def on_device(device: str) -> Iterator[dict[str, Prepare]]:
    """All ways to one server, which computes on the device."""
    with launch(device=device) as server:
        ways = {name: partial(_client, server.target, name, False) for name in ("unary", "stream", "shared_memory")}
        yield {**ways, "resident": partial(_client, server.target, "shared_memory", True)}


@contextmanager
def _client(target: str, transport: str, resident: bool, batch: Batch) -> Iterator[Run]:
    logits, classes = (as_array(tensor) for tensor in batch.tensors())
    with Client(target, transport=transport) as client:
        if resident:  # as for a caller that computes its logits in the region
            place = client.empty(logits.shape, logits.dtype)
            place[...] = logits
            logits = place

        def run() -> Answer:
            result = client.cross_entropy(logits, classes, grad=batch.grad)
            return Answer(result.loss, None if result.grad is None else as_tensor(result.grad))

        yield run
