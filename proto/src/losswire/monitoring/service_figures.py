"""Figures of a service: is it healthy, is it fast, where does the time go?"""

from losswire.monitoring.expressions import Age, Difference, Quantile, Rate, Ratio, Value, mean
from losswire.monitoring.figure import Curve, Figure, one
from losswire.monitoring.labels import CODES, ERROR_CODES

_HANDLED, _SECONDS = "grpc_server_handled_total", "grpc_server_handling_seconds"

SERVERS = (
    one(
        "builds",
        "Versions",
        "count",
        "Servers by version, version of PyTorch, and device.",
        Value("losswire_build_info", ("version", "torch", "device")),
    ),
    one("uptime", "Up", "seconds", "Time since the start of the server.", Age("process_start_time_seconds")),
    one(
        "processes",
        "Processes",
        "count",
        "Processes that serve.",
        Value("losswire_processes"),
        "with several processes",
    ),
)

TRAFFIC = (
    one("calls", "Calls", "per second", "Calls that ended, by method.", Rate(_HANDLED, ("grpc_method",))),
    one(
        "under_way",
        "Calls under way",
        "count",
        "Calls that have started and not ended, by method.",
        Difference(Value("grpc_server_started_total", ("grpc_method",)), Value(_HANDLED, ("grpc_method",))),
    ),
    one(
        "evaluations",
        "Evaluations",
        "per second",
        "Requests evaluated, by loss.",
        Rate("losswire_evaluations_total", ("loss",)),
    ),
    one("rows", "Rows", "per second", "Rows that counted, by loss.", Rate("losswire_rows_total", ("loss",))),
    Figure(
        "bytes",
        "Bytes",
        "bytes per second",
        "Bytes of requests and of their answers, by the way that they took.",
        (
            Curve("in", Rate("losswire_received_bytes_total", ("transport",))),
            Curve("out", Rate("losswire_sent_bytes_total", ("transport",))),
        ),
    ),
)

ERRORS = (
    one(
        "error_ratio",
        "Calls that failed",
        "ratio",
        "The part of the calls that failed by the server's fault or for lack of time, by gRPC's codes "
        f"{', '.join(ERROR_CODES)}.",
        Ratio(Rate(_HANDLED, where={"grpc_code": ERROR_CODES}), Rate(_HANDLED)),
    ),
    one("codes", "Ends of calls", "per second", "Calls that ended, by gRPC's code.", Rate(_HANDLED, ("grpc_code",))),
    one(
        "failed_calls",
        "Calls without an answer",
        "per second",
        "Calls that ended with another code than OK, by method and code, whoever is at fault.",
        Rate(_HANDLED, ("grpc_method", "grpc_code"), {"grpc_code": tuple(code for code in CODES if code != "OK")}),
    ),
    one(
        "refused",
        "Refused calls",
        "per second",
        "Calls refused for a limit, by the limit.",
        Rate("losswire_refused_calls_total", ("reason",)),
    ),
)

LATENCY = (
    Figure(
        "latency",
        "Latency",
        "seconds",
        "Time from an RPC's start to its end, by method: the median and the 99th percentile.",
        (
            Curve("p50", Quantile(0.5, _SECONDS, ("grpc_method",))),
            Curve("p99", Quantile(0.99, _SECONDS, ("grpc_method",))),
        ),
    ),
    one(
        "mean_latency",
        "Mean latency",
        "seconds",
        "Mean time from an RPC's start to its end, by method.",
        mean(_SECONDS, "grpc_method"),
    ),
    Figure(
        "evaluation_seconds",
        "Time of an evaluation",
        "seconds",
        "Time from a request's bytes to its answer's, without waiting, by loss.",
        (
            Curve("p50", Quantile(0.5, "losswire_evaluation_seconds", ("loss",))),
            Curve("p99", Quantile(0.99, "losswire_evaluation_seconds", ("loss",))),
        ),
    ),
)

STAGES = (
    one(
        "stage_share",
        "Where the time goes",
        "cores",
        "Seconds per second that calls spent in each stage. Calls that wait at the same time add up.",
        Rate("losswire_stage_seconds_sum", ("stage",)),
    ),
    one(
        "stage_mean",
        "Mean time of a stage",
        "seconds",
        "Mean time of one step, by stage.",
        mean("losswire_stage_seconds", "stage"),
    ),
    one(
        "stage_p99",
        "Slow steps",
        "seconds",
        "99th percentile of the time of one step, by stage.",
        Quantile(0.99, "losswire_stage_seconds", ("stage",)),
    ),
)

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
