"""Losswire itself: its server as ``losswire-server`` starts it, and its SDK, one way of transport after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.batch import Answer, Batch, Prepare, Run, as_array, as_tensor
from losswire_client import Client
from losswire_server import launch


@contextmanager
def unary() -> Iterator[Prepare]:
    with launch() as server:
        yield partial(_client, server.target)


@contextmanager
def _client(target: str, batch: Batch) -> Iterator[Run]:
    logits, classes = (as_array(tensor) for tensor in batch.tensors())
    with Client(target) as client:

        def run() -> Answer:
            result = client.cross_entropy(logits, classes, grad=batch.grad)
            return Answer(result.loss, None if result.grad is None else as_tensor(result.grad))

        yield run
