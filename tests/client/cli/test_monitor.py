"""From Prometheus's text to the screen, without server, clock or terminal."""

import math

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from rich.console import Console

from losswire.monitoring.figures import FIGURES
from losswire_client.cli.monitor import Frame, Interval, MetricsError, Trends, parse, view, watch
from losswire_client.cli.monitor._interval import histogram_quantile, increase
from losswire_client.cli.monitor._scrape import Scrape
from losswire_client.cli.monitor._series import series
from losswire_client.cli.monitor._trends import sparkline
from tests.client.cli.monitored import BEFORE, later

UP = 3661


@pytest.fixture
def frame():
    return Frame.of(Interval(parse(BEFORE, 100.0), parse(later(BEFORE), 102.0, 1000.0 + UP)))


A = ("a", "cross_entropy")
STILL = ("still", "cross_entropy")


def test_methods_have_rates_and_latencies(frame):
    labels = ("Evaluate",)
    assert frame.seen([("calls", "")]) == [labels]  # methods that were never called are left out
    assert frame.number("calls", labels=labels) == 20
    assert frame.parts("failed_calls", labels) == {"InvalidArgument": 2}
    assert frame.number("under_way", labels=labels) == 141 - (126 + 10 + 1)
    assert frame.number("latency", "p50", labels) == pytest.approx(0.1)  # 20 of 40 up to 0.1 s, all of them up to 0.2 s
    assert frame.number("latency", "p99", labels) == pytest.approx(0.198)


def test_losses_have_rates(frame):
    labels = ("cross_entropy",)
    assert frame.seen([("evaluations", "")]) == [labels]
    assert (frame.number("evaluations", labels=labels), frame.number("rows", labels=labels)) == (5, 250)
    assert frame.number("evaluation_seconds", "p50", labels) == pytest.approx(0.05)
    assert frame.number("evaluation_seconds", "p99", labels) == pytest.approx(0.099)


def test_stages_and_launches_have_times_and_sizes(frame):
    assert frame.number("stage_share", labels=("queue",)) == 0.25
    assert frame.number("stage_mean", labels=("queue",)) == 0.05
    assert (frame.number("launches"), frame.number("launch_rows")) == (5, 33)


def test_series_have_the_intervals_mean(frame):
    assert series(frame) == [A, STILL]
    assert frame.number("mean_loss", labels=A) == 0.5  # 250 less 50, divided by 400
    assert frame.number("series_rows", labels=A) == 250
    assert frame.number("top1", labels=A) == 0.75
    assert [frame.number("loss_quantiles", name, A) for name in ("p10", "p50", "p90")] == pytest.approx(
        [-0.5, 0.375, 0.875]
    )
    assert frame.number("series_rows", labels=STILL) == 0
    assert math.isnan(frame.number("mean_loss", labels=STILL))
    assert frame.total("mean_loss", labels=STILL) == pytest.approx(7 / 3)


def test_series_have_what_was_left_out(frame):
    assert frame.number("nonfinite_rows", labels=A) == 1.5
    assert frame.total("nonfinite_rows", labels=STILL) == 2
    assert frame.parts("unsummed", A) == {}
    assert frame.parts("unsummed", A, ever=True) == {"immense": 4}
    text = " ".join(shown(frame).split())
    assert "a cross_entropy 0.500000 -0.5 0.375 0.875 250 75.0% 13 rows, 4 immense" in text


def test_series_without_a_mean_is_shown():
    gained = BEFORE + 'losswire_unsummed_evaluations_total{series="lost",loss="nll_loss",reason="immense"} 5\n'
    frame = Frame.of(Interval(parse(BEFORE, 0), parse(gained, 1)))
    assert [name for name, _ in series(frame)] == ["lost", "a", "still"]  # it loses something now, so it is the first
    assert "lost nll_loss - - - - - - 5 immense" in " ".join(shown(frame).split())


def test_gauges_are_as_they_are_now(frame):
    assert (frame.version, frame.number("uptime"), frame.number("cpu")) == ("1.2.3", UP, 1.5)
    assert (frame.number("resident"), frame.number("inflight", "in flight")) == (3e8, 5)
    assert (frame.number("inflight", "budget"), frame.number("shared_memory", "leased")) == (1000, 2e6)


def test_server_that_tells_less_is_shown():
    bare = 'losswire_inflight_bytes 5\nlosswire_rows_total{loss="nll_loss"} 5\n'  # as older servers count rows
    frame = Frame.of(Interval(parse(bare, 0), parse(bare, 1)))
    assert (frame.seen([("calls", "")]), series(frame), frame.version) == ([], [], "")
    assert math.isnan(frame.number("cpu"))
    assert "up -, CPU -, memory -, in flight 5 bytes" in shown(frame)


def test_restarted_server_counts_from_zero():
    before, after = parse(later(BEFORE), 100.0), parse(BEFORE, 102.0)
    frame = Frame.of(Interval(before, after))
    assert frame.number("calls", labels=("Evaluate",)) == (90 + 6 + 0) / 2  # one that did not fall has not started anew
    assert frame.number("mean_loss", labels=A) == (5000 - 10) / 1000
    rates = [frame.now[key, ""] for key in ("calls", "evaluations", "rows", "stage_share", "series_rows")]
    assert all(rate >= 0 for numbers in rates for rate in numbers.values())


def test_new_series_has_gained_all_it_has():
    before = "\n".join(line for line in BEFORE.splitlines() if 'series="a"' not in line)
    frame = Frame.of(Interval(parse(before, 0), parse(BEFORE, 2)))
    assert series(frame)[0] == A
    assert (frame.number("series_rows", labels=A), frame.number("mean_loss", labels=A)) == (500, 4.99)


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
        (0.5, {-2: 4, 2: 4, math.inf: 4}, -2.0),  # the first bucket has no lower bound
        (0.5, {-2: 0, 2: 4, math.inf: 4}, 0.0),
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
    buckets = Interval(before, parse(generate_latest(registry).decode(), 1)).buckets("t", "by")["x",]
    assert histogram_quantile(0.5, buckets) == pytest.approx(0.25, abs=0.01)
    assert histogram_quantile(0.99, buckets) == pytest.approx(0.98, abs=0.01)


def shown(frame: Frame, width: int = 120) -> str:
    trends = Trends()
    trends.add(frame)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(view(frame, trends, "http://here/metrics"))
    return capture.get()


def test_view_shows_it_all(frame):
    text = " ".join(shown(frame).split())
    assert "losswire 1.2.3 at http://here/metrics" in text
    assert "up 1:01:01, CPU 1.50 cores, memory 300.0 MB, in flight 5 bytes of 1.0 kB, shared memory 2.0 MB" in text
    assert "Evaluate 4 20 100 ms 198 ms █ InvalidArgument 2" in text
    assert "cross_entropy 5 250 50 ms 99 ms █" in text
    assert "queue 0.25 cores 50 ms 99 ms" in text
    assert "rows per launch 33" in text
    assert "still cross_entropy 2.33333 - - - 0 - 2 rows" in text  # its mean since the start


def test_every_heading_is_of_the_table(frame):
    text = " ".join(shown(frame).split())
    for key in ("calls", "evaluations", "rows", "launches", "launch_rows", "launch_requests", "queued_rows"):
        assert FIGURES[key].title.lower() in text


def test_view_leaves_out_surplus_series():
    several = "".join(
        f'losswire_rows_total{{series="s{i}",loss="nll_loss",dtype="float32",transport="unary"}} {99 - i}\n'
        for i in range(33)
    )
    text = shown(Frame.of(Interval(parse("", 0), parse(several, 1))))
    assert ("s19" in text, "s20" in text) == (True, False)
    assert "and 13 with less" in text


def test_view_fits_a_narrow_terminal(frame):
    lines = shown(frame, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 40
    assert sum("…" in line for line in lines) <= 2  # names of series alone are cut


def test_losses_that_begin_alike_are_told_apart_in_a_narrow_terminal():
    names = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
    after = "losswire_inflight_bytes 5\n" + "".join(
        f'losswire_{sum_}_sum_total{{series="a",loss="{name}"}} 2\n'
        for name in names
        for sum_ in ("loss", "weight", "negative_loss", "negative_weight")
    )
    after += "".join(f'losswire_rows_total{{series="a",loss="{name}"}} 2\n' for name in names)
    text = shown(Frame.of(Interval(parse("", 0), parse(after, 1))), width=80)
    assert "logits" in text.split("series", 1)[1]


def test_sparkline_is_as_high_as_its_values():
    assert sparkline([0, 1, 2, 4, 7]) == "▁▂▃▅█"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""


def test_trend_keeps_the_last_rates_only(frame):
    trends = Trends()
    for _ in range(100):
        trends.add(frame)
    assert 1 < len(trends.sparkline("calls", ("Evaluate",))) < 50


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


RUNS = """
# TYPE losswire_run_keys gauge
losswire_run_keys{run="val"} 3
losswire_run_keys{run="[bold]open"} 2
# TYPE losswire_run_expected_keys gauge
losswire_run_expected_keys{run="val"} 4
# TYPE losswire_run_rows gauge
losswire_run_rows{run="val"} 1234
losswire_run_rows{run="[bold]open"} 7
# TYPE losswire_run_mean_loss gauge
losswire_run_mean_loss{run="val"} 1.25
losswire_run_mean_loss{run="[bold]open"} NaN
# TYPE losswire_run_nonfinite_rows gauge
losswire_run_nonfinite_rows{run="val"} 0
losswire_run_nonfinite_rows{run="[bold]open"} 1
# TYPE losswire_run_finished gauge
losswire_run_finished{run="val"} 1
losswire_run_finished{run="[bold]open"} 0
"""


def lines_of(text):
    frame = Frame.of(Interval(parse(BEFORE, 100.0), parse(later(BEFORE) + text, 102.0)))
    console = Console(width=80)
    with console.capture() as captured:
        console.print(view(frame, Trends(), "http://here/metrics"))
    return [line.split() for line in captured.get().splitlines()]


def test_runs_have_a_table_where_there_are_some():
    lines = lines_of(RUNS)
    assert ["run", "progress", "keys", "rows", "mean", "not", "finite", "state"] in lines
    assert ["val", "75.0%", "3", "of", "4", "1,234", "1.25000", "0", "finished"] in lines
    assert ["[bold]open", "-", "2", "7", "-", "1", "open"] in lines
    assert not any(line[:1] == ["run"] for line in lines_of(""))


@pytest.mark.parametrize(
    ("width", "columns"),
    [(80, ["run", "keys", "rows", "mean", "not", "finite", "state"]), (50, ["run", "keys", "mean"])],
)
def test_names_of_runs_are_seen_in_narrow_terminals(width, columns, monkeypatch):
    monkeypatch.setattr("losswire_client.cli._output.PIPE_WIDTH", width)
    lines = lines_of(RUNS.replace('"val"', '"llama-3-8b-instruct/step-4000"'))
    assert columns in lines
    assert any(line[0].startswith("llama-3-8b-instruct/st") for line in lines if line)
