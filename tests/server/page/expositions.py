"""Made-up metrics of a server, from the table: what it shows after some turns of the same work."""

from collections.abc import Iterator, Mapping
from itertools import islice, product

from losswire.monitoring.metric import Metric
from losswire.monitoring.metrics import METRICS

STARTED = 1_000_000.0  # when the server started, in seconds since 1970
MARKUP = "<b>bold</b>"
NAMES: Mapping[str, tuple[str, ...]] = {  # for labels that callers or machines choose; some are hard to write
    "series": ("train", 'a "quoted" \\ name\nin two lines', MARKUP, "übung, {x=1} 5"),
    "run": ("val-2026-11", MARKUP, 'a "quoted" \\ run, {x=1}'),
    "version": ("1.2.3",),
    "torch": ("2.13",),
    "device": ("cuda:0",),
    "limit": ("caller_requests", "max_series"),
}
PROCESS = (  # which prometheus-client names
    Metric("process_cpu_seconds_total", "counter", "seconds", "Time."),
    Metric("process_resident_memory_bytes", "gauge", "bytes", "Memory."),
    Metric("process_open_fds", "gauge", "descriptors", "Files."),
    Metric("process_max_fds", "gauge", "descriptors", "Most files."),
)
MOST = 800  # of the combinations of a metric's labels


def exposition(turns: int) -> str:
    """All metrics in Prometheus's text format."""
    lines = [f"process_start_time_seconds {STARTED}"]
    for place, metric in enumerate((*METRICS.values(), *PROCESS)):
        lines += [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.kind}"]
        for number, labels in enumerate(islice(_labels(metric), MOST), 1):
            lines += _samples(metric, labels, number + place, turns)  # no two metrics are alike
    return "\n".join([*lines, ""])


def _labels(metric: Metric) -> Iterator[dict[str, str]]:
    values = [NAMES[name] if allowed is None else allowed for name, allowed in metric.labels.items()]
    # The last label changes slowest, so that all values of the first are among the first combinations.
    return (dict(zip(metric.labels, reversed(each), strict=True)) for each in product(*reversed(values)))


def _samples(metric: Metric, labels: dict[str, str], number: int, turns: int) -> Iterator[str]:
    if metric.kind != "histogram":
        value = number if metric.kind in ("gauge", "info") else number * turns * 4
        yield f"{metric.name}{_text(labels)} {1 if metric.kind == 'info' else value}"
        return
    for place, bound in enumerate((*map(str, metric.buckets), "+Inf"), 1):
        yield f"{metric.name}_bucket{_text(labels | {'le': bound})} {place * number * turns}"
    yield f"{metric.name}_count{_text(labels)} {(len(metric.buckets) + 1) * number * turns}"
    yield f"{metric.name}_sum{_text(labels)} {number * turns / 8}"


def _text(labels: Mapping[str, str]) -> str:
    escaped = {name: value.translate({92: r"\\", 34: r"\"", 10: r"\n"}) for name, value in labels.items()}
    inner = ",".join(f'{name}="{value}"' for name, value in escaped.items())
    return f"{{{inner}}}" if inner else ""
