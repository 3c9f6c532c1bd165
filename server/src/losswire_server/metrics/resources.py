"""Metrics of the server's process, versions and memory."""

from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import torch
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from losswire_server.metrics.instruments import gauge, info


def process_registry() -> CollectorRegistry:
    """A registry with the metrics of this process: memory, time, garbage collections."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def show_build(registry: CollectorRegistry, device: str) -> None:
    """Shows versions, and the device that the server computes on."""
    told = {"version": version("losswire-server"), "torch": torch.__version__, "device": device}
    info(registry, "losswire_build_info").info(told)


class Use(NamedTuple):
    """How much memory callers take, asked at each scrape, and how much they may take.

    Attributes:
        inflight_bytes: For messages, work and answers.
        inflight_limit: The most of these.
        leased_bytes: Of shared memory.
        leases: How many there are.
        lease_limit: The most bytes of shared memory.
    """

    inflight_bytes: Callable[[], float]
    inflight_limit: float
    leased_bytes: Callable[[], float]
    leases: Callable[[], float]
    lease_limit: float


def show_memory(registry: CollectorRegistry, use: Use) -> None:
    """Shows how much memory callers take."""
    gauge(registry, "losswire_inflight_bytes").set_function(use.inflight_bytes)
    gauge(registry, "losswire_inflight_limit_bytes").set(use.inflight_limit)
    gauge(registry, "losswire_shared_memory_bytes").set_function(use.leased_bytes)
    gauge(registry, "losswire_shared_memory_leases").set_function(use.leases)
    gauge(registry, "losswire_shared_memory_limit_bytes").set(use.lease_limit)
