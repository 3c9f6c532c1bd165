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
    one(
        "process_restarts",
        "Restarts of processes",
        "per second",
        "Processes started in place of ones that ended.",
        Rate("losswire_process_restarts_total"),
        "with several processes",
    ),
)

TRAFFIC = (
    one("calls", "Calls", "per second", "Calls that ended, by method.", Rate(_HANDLED, ("grpc_method",))),
    one(
        "under_way",
        "Calls under way",
        "count",
        "Calls that have started and not ended, by method. Those of a process that was killed never end.",
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
    Figure(
        "messages",
        "Messages",
        "per second",
        "Messages of calls, by method. A stream has many.",
        (
            Curve("in", Rate("grpc_server_msg_received_total", ("grpc_method",))),
            Curve("out", Rate("grpc_server_msg_sent_total", ("grpc_method",))),
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
        "Calls not OK",
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
    one(
        "pack_codes",
        "Ends of packed requests",
        "per second",
        "Requests that came in BatchEvaluate, by gRPC's code. The code of their call tells nothing of them.",
        Rate("losswire_batch_requests_total", ("grpc_code",)),
    ),
    one(
        "connections_ended",
        "Connections cut",
        "per second",
        "Connections that the server ended, by the reason.",
        Rate("losswire_connections_ended_total", ("reason",)),
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
