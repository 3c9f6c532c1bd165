"""From Prometheus's text to the screen, without server, clock or terminal."""

import math

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from rich.console import Console

from losswire_client.cli.monitor import Frame, Interval, MetricsError, Trends, view, watch
from losswire_client.cli.monitor._interval import histogram_quantile, increase
from losswire_client.cli.monitor._scrape import Scrape, parse
from losswire_client.cli.monitor._trends import sparkline

BEFORE = """
# TYPE grpc_server_started_total counter
grpc_server_started_total{grpc_type="unary",grpc_service="s",grpc_method="Evaluate"} 100
grpc_server_started_total{grpc_type="bidi_stream",grpc_service="s",grpc_method="EvaluateStream"} 0
# TYPE grpc_server_handled_total counter
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="OK"} 90
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="InvalidArgument"} 6
grpc_server_handled_total{grpc_method="Evaluate",grpc_code="Internal"} 1
# TYPE grpc_server_handling_seconds histogram
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.1"} 50
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="0.2"} 90
grpc_server_handling_seconds_bucket{grpc_method="Evaluate",le="+Inf"} 97
# TYPE losswire_evaluation_seconds histogram
losswire_evaluation_seconds_bucket{loss="cross_entropy",le="0.1"} 9
losswire_evaluation_seconds_bucket{loss="cross_entropy",le="+Inf"} 9
losswire_evaluation_seconds_count{loss="cross_entropy"} 9
losswire_evaluation_seconds_count{loss="nll_loss"} 0
# TYPE losswire_rows_total counter
losswire_rows_total{loss="cross_entropy"} 1000
# TYPE losswire_loss_sum_total counter
losswire_loss_sum_total{series="a",loss="cross_entropy"} 5000
losswire_loss_sum_total{series="still",loss="cross_entropy"} 7
# TYPE losswire_weight_sum_total counter
losswire_weight_sum_total{series="a",loss="cross_entropy"} 1000
losswire_weight_sum_total{series="still",loss="cross_entropy"} 3
losswire_weight_sum_total{series="never",loss="cross_entropy"} 0
# TYPE losswire_unsummed_evaluations_total counter
losswire_unsummed_evaluations_total{series="a",loss="cross_entropy",reason="nonfinite"} 10
losswire_unsummed_evaluations_total{series="a",loss="cross_entropy",reason="negative"} 4
losswire_unsummed_evaluations_total{series="a",loss="cross_entropy",reason="immense"} 0
losswire_unsummed_evaluations_total{series="still",loss="cross_entropy",reason="nonfinite"} 2
# TYPE losswire_inflight_bytes gauge
losswire_inflight_bytes 5
# TYPE losswire_shared_memory_bytes gauge
losswire_shared_memory_bytes 2000000
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 10
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 3e8
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE losswire_build_info gauge
losswire_build_info{version="1.2.3",torch="2"} 1
"""
CHANGES = {
    'method="Evaluate"} 100': 'method="Evaluate"} 141',
    '"OK"} 90': '"OK"} 126',
    '"InvalidArgument"} 6': '"InvalidArgument"} 10',
    'le="0.1"} 50': 'le="0.1"} 70',
    'le="0.2"} 90': 'le="0.2"} 130',
    'method="Evaluate",le="+Inf"} 97': 'method="Evaluate",le="+Inf"} 137',
    'le="0.1"} 9\n': 'le="0.1"} 19\n',
    'loss="cross_entropy",le="+Inf"} 9': 'loss="cross_entropy",le="+Inf"} 19',
    '_count{loss="cross_entropy"} 9': '_count{loss="cross_entropy"} 19',
    'rows_total{loss="cross_entropy"} 1000': 'rows_total{loss="cross_entropy"} 1500',
    'loss_sum_total{series="a",loss="cross_entropy"} 5000': 'loss_sum_total{series="a",loss="cross_entropy"} 5200',
    'weight_sum_total{series="a",loss="cross_entropy"} 1000': 'weight_sum_total{series="a",loss="cross_entropy"} 1400',
    'series="a",loss="cross_entropy",reason="nonfinite"} 10': 'series="a",loss="cross_entropy",reason="nonfinite"} 13',
    "cpu_seconds_total 10": "cpu_seconds_total 13",
}


def changed(text: str) -> str:
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def frame():
    return Frame.of(Interval(parse(BEFORE, 100.0), parse(changed(BEFORE), 102.0)))


def test_methods_have_rates_and_latencies(frame):
    (method,) = frame.methods  # methods that were never called are left out
    assert (method.name, method.rate, method.errors) == ("Evaluate", 20, {"InvalidArgument": 2})
    assert method.under_way == 141 - (126 + 10 + 1)
    assert method.latency == pytest.approx((0.1, 0.198))  # 20 of 40 up to 0.1 s, all of them up to 0.2 s


def test_losses_have_rates(frame):
    (loss,) = frame.losses
    assert (loss.name, loss.rate, loss.rows) == ("cross_entropy", 5, 250)
    assert loss.latency == pytest.approx((0.05, 0.099))


def test_series_have_the_intervals_mean(frame):
    active, still = frame.series
    assert (active.name, active.loss, active.mean, active.weight) == ("a", "cross_entropy", 0.5, 200)
    assert (still.name, still.weight) == ("still", 0)
    assert math.isnan(still.mean)


def test_series_have_what_was_left_out(frame):
    active, still = frame.series
    assert (active.left_out, still.left_out) == ({"nonfinite": 3}, {})
    assert "a cross_entropy 0.500000 200 nonfinite 3" in " ".join(shown(frame).split())


def test_series_without_a_mean_is_shown():
    gained = BEFORE + 'losswire_weight_sum_total{series="lost",loss="nll_loss"} 0\n'
    for reason, count in {"nonfinite": 1, "negative": 5}.items():
        gained += f'losswire_unsummed_evaluations_total{{series="lost",loss="nll_loss",reason="{reason}"}} {count}\n'
    series = Frame.of(Interval(parse(BEFORE, 0), parse(gained, 1))).series
    assert [each.name for each in series] == ["lost", "a", "still"]
    assert series[0].left_out == {"nonfinite": 1, "negative": 5}
    assert math.isnan(series[0].mean)


def test_gauges_are_as_they_are_now(frame):
    assert (frame.version, frame.started, frame.cpu) == ("1.2.3", 1000, 1.5)
    assert (frame.resident_bytes, frame.inflight_bytes, frame.shared_memory_bytes) == (3e8, 5, 2e6)


def test_server_that_tells_less_is_shown():
    bare = "losswire_inflight_bytes 5\n"
    frame = Frame.of(Interval(parse(bare, 0), parse(bare, 1)))
    assert (frame.methods, frame.losses, frame.series, frame.version) == ([], [], [], "")
    assert math.isnan(frame.cpu)
    assert "up -, CPU -, memory -, in flight 5 bytes" in shown(frame)


def test_restarted_server_counts_from_zero():
    before, after = parse(changed(BEFORE), 100.0), parse(BEFORE, 102.0)
    frame = Frame.of(Interval(before, after))
    assert frame.methods[0].rate == (90 + 6 + 0) / 2  # a counter that did not fall has not started anew
    assert frame.series[0].mean == 5
    assert all(rate >= 0 for rate in [each.rate for each in frame.methods] + [each.rate for each in frame.losses])


def test_new_series_has_gained_all_it_has():
    before = "\n".join(line for line in BEFORE.splitlines() if 'series="a"' not in line)
    (first, *_) = Frame.of(Interval(parse(before, 0), parse(BEFORE, 2))).series
    assert (first.name, first.weight, first.mean) == ("a", 500, 5)


@pytest.mark.parametrize(("before", "after", "gained"), [(3, 5, 2), (5, 5, 0), (5, 3, 3), (0, 2, 2), (5, 0, 0)])
def test_increase_is_never_negative(before, after, gained):
    assert increase(before, after) == gained


@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        (0.5, {1: 10, 2: 20, math.inf: 20}, 1.0),
        (0.75, {1: 10, 2: 20, math.inf: 20}, 1.5),
        (0.05, {1: 10, 2: 20, math.inf: 20}, 0.1),  # the first bucket begins at 0
        (0.99, {1: 10, 2: 20, math.inf: 40}, 2.0),  # beyond the largest bound nothing is known
        (1.0, {1: 0, 2: 7, 4: 7, math.inf: 7}, 2.0),
        (0.5, {1: 0, 2: 0, 4: 8, math.inf: 8}, 3.0),
        (0.5, {math.inf: 4}, 0.0),
    ],
)
def test_quantile_is_prometheus_s(q, buckets, expected):
    assert histogram_quantile(q, buckets) == pytest.approx(expected)


@pytest.mark.parametrize("buckets", [{}, {1.0: 0.0, math.inf: 0.0}])
def test_quantile_of_nothing_is_no_number(buckets):
    assert math.isnan(histogram_quantile(0.5, buckets))


def test_quantile_is_near_the_true_one():
    registry = CollectorRegistry()
    histogram = Histogram("t", "", ["by"], registry=registry, buckets=[i / 100 for i in range(1, 101)])
    before = parse(generate_latest(registry).decode(), 0)
    for i in range(1000):
        histogram.labels("x").observe((i / 1000) ** 2)
    buckets = Interval(before, parse(generate_latest(registry).decode(), 1)).buckets("t", "by")["x"]
    assert histogram_quantile(0.5, buckets) == pytest.approx(0.25, abs=0.01)
    assert histogram_quantile(0.99, buckets) == pytest.approx(0.98, abs=0.01)


def shown(frame: Frame, width: int = 120) -> str:
    trends = Trends()
    trends.add(frame)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(view(frame, trends, "http://here/metrics", now=1000.0 + 3661))
    return capture.get()


def test_view_shows_it_all(frame):
    text = " ".join(shown(frame).split())
    assert "losswire 1.2.3 at http://here/metrics" in text
    assert "up 1:01:01, CPU 1.50 cores, memory 300.0 MB, in flight 5 bytes, shared memory 2.0 MB" in text
    assert "Evaluate 4 20 100 ms 198 ms InvalidArgument 2 █" in text
    assert "cross_entropy 5 250 50 ms 99 ms █" in text
    assert "a cross_entropy 0.500000 200" in text
    assert "still cross_entropy - 0 0" in text


def test_view_leaves_out_surplus_series(frame):
    series = [frame.series[0]._replace(name=f"s{i}") for i in range(33)]
    text = shown(frame._replace(series=series))
    assert ("s19" in text, "s20" in text) == (True, False)
    assert "and 13 with less" in text


def test_view_fits_a_narrow_terminal(frame):
    assert max(map(len, shown(frame, width=80).splitlines())) <= 80


def test_sparkline_is_as_high_as_its_values():
    assert sparkline([0, 1, 2, 4, 7]) == "▁▂▃▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""


def test_trend_keeps_the_last_rates_only(frame):
    trends = Trends()
    for _ in range(100):
        trends.add(frame)
    assert 1 < len(trends.sparkline("Evaluate")) < 50


def test_gap_is_no_interval():
    scrapes = [Scrape(at, {}) for at in range(5)]
    answers = iter([scrapes[0], scrapes[1], MetricsError("here", "gone"), scrapes[3], scrapes[4]])

    def fetch():
        answer = next(answers)
        if isinstance(answer, MetricsError):
            raise answer
        return answer

    slept: list[float] = []
    seen = watch(fetch, 1.5, slept.append)
    first, gone, second = next(seen), next(seen), next(seen)
    assert isinstance(first, Interval)
    assert isinstance(second, Interval)
    assert (first.seconds, str(gone), second.seconds) == (1, "cannot read metrics at here: gone", 1)
    assert second.after is scrapes[4]
    assert slept == [1.5] * 4


def test_text_without_metrics_is_an_error():
    with pytest.raises(ValueError):  # noqa: PT011 - some of the parser's errors have no text
        parse("<html>not found</html>", 0)
