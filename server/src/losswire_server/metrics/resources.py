"""Metrics of the server's process, versions and memory."""

from collections.abc import Callable
from importlib.metadata import version

import torch
from prometheus_client import CollectorRegistry, Gauge, GCCollector, Info, ProcessCollector


def process_registry() -> CollectorRegistry:
    """A registry with the metrics of this process: memory, time, garbage collections, versions."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    info = Info("losswire_build", "Versions of the server and of PyTorch.", registry=registry)
    info.info({"version": version("losswire-server"), "torch": torch.__version__})
    return registry


def show_memory(
    registry: CollectorRegistry, inflight_bytes: Callable[[], float], leased_bytes: Callable[[], float]
) -> None:
    """Shows how much memory callers take at the time of each scrape."""
    inflight = Gauge(
        "losswire_inflight_bytes", "What callers make the server hold: messages, work and answers.", registry=registry
    )
    inflight.set_function(inflight_bytes)
    leased = Gauge("losswire_shared_memory_bytes", "Shared memory leased to callers.", registry=registry)
    leased.set_function(leased_bytes)
