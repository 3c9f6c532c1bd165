"""Helpers for tests of several parts."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from unittest.mock import AsyncMock, patch

import grpc
import uvloop
from prometheus_client import CollectorRegistry

from losswire_server import Server, Settings


@contextmanager
def serving(**settings: Any) -> Iterator[Server]:
    """A server on free ports, in a thread of this process, so that tests can look into it. It has not warmed up."""
    started: Future[tuple[Server, Callable[[], object]]] = Future()
    thread = threading.Thread(
        target=lambda: uvloop.run(_serve(Settings(**{"port": 0, "metrics_port": 0, **settings}), started))
    )
    thread.start()
    server, stop = started.result(60)
    try:
        yield server
    finally:
        stop()
        thread.join()


async def _serve(settings: Settings, started: "Future[tuple[Server, Callable[[], object]]]") -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    try:
        server = Server(settings, CollectorRegistry())
        with patch.object(Server, "_warm_up", AsyncMock()):  # tests may have replaced what evaluates
            await server.start()
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result((server, lambda: loop.call_soon_threadsafe(stopped.set)))
    await stopped.wait()
    await server.stop()


def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until a condition holds that another thread or process is about to make true.

    The time is for a machine that is slow and busy.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def total(registry: CollectorRegistry, name: str, **labels: str) -> float:
    """The samples of a metric that have these labels, whatever others they have, added up."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def call_of(error: grpc.RpcError) -> grpc.Call:
    """The call that ended with an error. Both are the same object."""
    assert isinstance(error, grpc.Call)
    return error
