"""Metrics of the server's process, versions, memory and heads."""

from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple

import torch
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from losswire_server.heads.observer import Outcome
from losswire_server.heads.registry import Heads
from losswire_server.metrics.instruments import by_value, counter, gauge, info


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


class HeadMetrics:
    """Counts what happens to heads. May be used from any thread. It is an `Observer` of them.

    Args:
        registry: Gets the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "losswire_head_registrations_total"
        self._registrations = by_value(counter(registry, name), name)
        self._evictions = counter(registry, "losswire_head_evictions_total")
        self._misses = counter(registry, "losswire_head_misses_total")
        self._gauges = [gauge(registry, f"losswire_{name}") for name in ("heads", "head_bytes", "head_limit_bytes")]

    def show(self, heads: Heads) -> None:
        """Shows what is held, at each scrape."""
        count, nbytes, limit = self._gauges
        count.set_function(lambda: heads.count)
        nbytes.set_function(lambda: heads.nbytes)
        limit.set(heads.max_bytes)

    def came(self, outcome: Outcome) -> None:
        self._registrations[outcome].inc()

    def evicted(self) -> None:
        self._evictions.inc()

    def missed(self) -> None:
        self._misses.inc()
