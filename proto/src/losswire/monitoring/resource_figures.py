"""Figures of what a service has and uses: memory, queues, devices, heads; and of who may call."""

from losswire.monitoring.expressions import Rate, Ratio, Value, mean
from losswire.monitoring.figure import Curve, Figure, one

BATCHING = (
    one("launches", "Launches", "per second", "Launches of the engine.", Rate("losswire_launch_rows_count")),
    one("launch_rows", "Rows per launch", "count", "Mean number of rows of a launch.", mean("losswire_launch_rows")),
    one(
        "launch_requests",
        "Requests per launch",
        "count",
        "Mean number of requests of a launch.",
        mean("losswire_launch_requests"),
    ),
    one("queued_rows", "Queued rows", "count", "Rows that wait for a launch.", Value("losswire_queued_rows")),
    one(
        "launch_retries",
        "Launches taken apart",
        "per second",
        "Launches of several slabs that failed, so that each slab was evaluated alone.",
        Rate("losswire_launch_retries_total"),
    ),
)

SATURATION = (
    Figure(
        "use_of_limits",
        "Use of limits",
        "ratio",
        "What is in use, as a part of what there may be. At 1 callers are told to try later.",
        (
            Curve("bytes in flight", Ratio(Value("losswire_inflight_bytes"), Value("losswire_inflight_limit_bytes"))),
            Curve("queue", Ratio(Value("losswire_queued_rows"), Value("losswire_queue_limit_rows"))),
            Curve(
                "shared memory",
                Ratio(Value("losswire_shared_memory_bytes"), Value("losswire_shared_memory_limit_bytes")),
            ),
            Curve("descriptors", Ratio(Value("process_open_fds"), Value("process_max_fds"))),
        ),
    ),
    Figure(
        "inflight",
        "Bytes in flight",
        "bytes",
        "What callers make the server hold, and the most that it may be.",
        (
            Curve("in flight", Value("losswire_inflight_bytes")),
            Curve("budget", Value("losswire_inflight_limit_bytes")),
        ),
    ),
    Figure(
        "queue_use",
        "Use of the queue",
        "ratio",
        "Rows that wait for a launch, as a part of those that may.",
        (Curve("", Ratio(Value("losswire_queued_rows"), Value("losswire_queue_limit_rows"))),),
    ),
    Figure(
        "shared_memory",
        "Shared memory",
        "bytes",
        "Shared memory leased to callers, and the most that it may be.",
        (
            Curve("leased", Value("losswire_shared_memory_bytes")),
            Curve("budget", Value("losswire_shared_memory_limit_bytes")),
        ),
    ),
    one(
        "leases",
        "Leases",
        "count",
        "Leases of shared memory that callers have.",
        Value("losswire_shared_memory_leases"),
    ),
    one("cpu", "Processor", "cores", "Cores that the server's processes use.", Rate("process_cpu_seconds_total")),
    one(
        "resident",
        "Memory",
        "bytes",
        "Resident memory of the server's processes.",
        Value("process_resident_memory_bytes"),
    ),
)

HEADS = (
    one("heads", "Heads", "count", "Heads that servers hold.", Value("losswire_heads")),
    Figure(
        "head_bytes",
        "Memory of heads",
        "bytes",
        "Memory of heads and of those on their way, and the most that it may be.",
        (Curve("heads", Value("losswire_head_bytes")), Curve("budget", Value("losswire_head_limit_bytes"))),
    ),
    one(
        "head_registrations",
        "Registrations of heads",
        "per second",
        "Heads that callers registered, by what came of it.",
        Rate("losswire_head_registrations_total", ("outcome",)),
    ),
    one(
        "head_evictions",
        "Evictions of heads",
        "per second",
        "Heads that made room for others.",
        Rate("losswire_head_evictions_total"),
    ),
    one(
        "head_misses",
        "Missing heads",
        "per second",
        "Requests for a head that the server lacked. Many of them, with evictions, say that there is too little room.",
        Rate("losswire_head_misses_total"),
    ),
)

GPU = (
    Figure(
        "device_memory",
        "GPU memory",
        "bytes",
        "Memory of the GPU: in use by all its processes, and in total.",
        (
            Curve("used", Value("losswire_device_memory_used_bytes", ("device",))),
            Curve("total", Value("losswire_device_memory_total_bytes", ("device",))),
        ),
        "with a GPU",
    ),
    one(
        "device_utilization",
        "GPU utilisation",
        "ratio",
        "Part of the time in which the GPU computed.",
        Value("losswire_device_utilization_ratio", ("device",)),
        "with a GPU",
    ),
)

SECURITY = (
    one(
        "unauthenticated",
        "Unknown callers",
        "per second",
        "Calls refused for their token, by what was wrong with it.",
        Rate("losswire_unauthenticated_calls_total", ("reason",)),
    ),
    one(
        "failed_reloads",
        "Failed reloads",
        "per second",
        "Replaced files that are wrong, so that the old ones stay.",
        Rate("losswire_failed_reloads_total", ("file",)),
    ),
)
