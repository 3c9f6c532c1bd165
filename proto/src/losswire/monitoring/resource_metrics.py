"""Metrics of the engine's launches, of memory, devices, heads and processes."""

from collections.abc import Mapping

from losswire.monitoring.buckets import COUNTS, PACK_COUNTS
from losswire.monitoring.labels import HEAD_OUTCOMES
from losswire.monitoring.metric import Metric, Values

_DEVICE: Mapping[str, Values] = {"device": None}
_QUEUED = "Short requests that a CPU evaluates where they arrive are not queued, and not counted."

LAUNCHES = (
    Metric("losswire_launch_rows", "histogram", "rows", f"Rows of a launch. {_QUEUED}", {}, COUNTS),
    Metric(
        "losswire_launch_requests",
        "histogram",
        "requests",
        f"Requests whose rows are in a launch. {_QUEUED}",
        {},
        PACK_COUNTS,
    ),
    Metric(
        "losswire_launch_retries_total",
        "counter",
        "launches",
        "Launches of several slabs that failed, so that each slab was evaluated alone.",
    ),
    Metric("losswire_queued_rows", "gauge", "rows", "Rows that wait for a launch."),
    Metric("losswire_queue_limit_rows", "gauge", "rows", "Rows that may wait for a launch."),
)

MEMORY = (
    Metric(
        "losswire_inflight_bytes", "gauge", "bytes", "What callers make the server hold: messages, work and answers."
    ),
    Metric("losswire_inflight_limit_bytes", "gauge", "bytes", "What callers may make the server hold."),
    Metric(
        "losswire_limit", "gauge", "as its name says", "Limits that callers are told, of one process.", {"limit": None}
    ),
    Metric("losswire_shared_memory_bytes", "gauge", "bytes", "Shared memory leased to callers."),
    Metric("losswire_shared_memory_limit_bytes", "gauge", "bytes", "Shared memory that may be leased."),
    Metric("losswire_shared_memory_leases", "gauge", "leases", "Leases of shared memory that callers have."),
    Metric(
        "losswire_device_memory_used_bytes",
        "gauge",
        "bytes",
        "Memory of the GPU in use, by all its processes.",
        _DEVICE,
        only="with a GPU",
    ),
    Metric("losswire_device_memory_total_bytes", "gauge", "bytes", "Memory of the GPU.", _DEVICE, only="with a GPU"),
    Metric(
        "losswire_device_utilization_ratio",
        "gauge",
        "ratio",
        "Part of the time in which the GPU computed, for all its processes.",
        _DEVICE,
        only="with a GPU",
    ),
)

HEADS = (
    Metric("losswire_heads", "gauge", "heads", "Heads that the server holds."),
    Metric("losswire_head_bytes", "gauge", "bytes", "Memory of heads, and room for those on their way."),
    Metric("losswire_head_limit_bytes", "gauge", "bytes", "Memory that heads may take."),
    Metric(
        "losswire_head_registrations_total",
        "counter",
        "heads",
        "Heads that callers registered: new ones, known ones, ones without room, and ones of another digest.",
        {"outcome": HEAD_OUTCOMES},
    ),
    Metric("losswire_head_evictions_total", "counter", "heads", "Heads that made room for others."),
    Metric("losswire_head_misses_total", "counter", "requests", "Requests for a head that the server lacked."),
)

PROCESSES = (
    Metric(
        "losswire_build_info",
        "info",
        "1",
        "Versions of the server and of PyTorch, and the device.",
        {"version": None, "torch": None, "device": None},
    ),
    Metric("losswire_processes", "gauge", "processes", "Processes that serve.", only="with several processes"),
    Metric(
        "losswire_process_restarts_total",
        "counter",
        "processes",
        "Processes started in place of ones that ended.",
        only="with several processes",
    ),
)
