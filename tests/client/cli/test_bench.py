import csv
import json
import threading
import time

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from losswire_client import Head, OverloadedError
from losswire_client.cli.load import Arrivals, Case, Measurement, Shape, shortfalls
from losswire_client.cli.load._batches import random_batch
from losswire_client.cli.load._closed_loop import run_turn
from losswire_client.cli.load._measurement import Turn
from losswire_client.cli.load._open_loop import run_open_turn, schedule

QUICK = ("--seconds", 0.06, "--shape", "4x3", "--concurrency", 1)


def measurement(*turns):
    return Measurement(Case(Shape(32, 10), 2), 1000, [Turn(latencies, 0, seconds) for latencies, seconds in turns])


def test_json_has_every_case(losswire, target):
    result = losswire("bench", *QUICK, "--shape", "2x5", "--concurrency", 2, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    said = json.loads(result.stdout)
    assert (said["target"], said["transport"], said["dtype"], said["grad"]) == (target, "auto", "float32", False)
    cases = [(case["rows"], case["classes"], case["concurrency"]) for case in said["cases"]]
    assert cases == [(4, 3, 1), (4, 3, 2), (2, 5, 1), (2, 5, 2)]
    for case in said["cases"]:
        assert case["evaluation_count"] >= said["turns"]
        assert 0 < case["p50_seconds"] <= case["p90_seconds"]
        assert case["rows_per_second"] == case["evaluations_per_second"] * case["rows"]
        assert case["bytes_per_second"] == case["evaluations_per_second"] * case["rows"] * (case["classes"] * 4 + 8)


def test_heads_take_hidden_states(losswire, tmp_path):
    save_file({"weight": np.ones((7, 3), np.float32)}, tmp_path / "head.safetensors")
    options = ("--loss", "linear_cross_entropy", "--head", tmp_path / "head.safetensors")
    result = losswire("bench", *QUICK, *options, "--grad", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["cases"][0]["evaluation_count"] > 0
    assert set(random_batch(Shape(500, 3), "float32", "linear_cross_entropy", 7).target) == set(range(7))
    wide = losswire("bench", *options)
    assert wide.exit_code == 2
    assert "expected ROWSx3, of the head's width, got 32x10" in wide.stderr


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--loss", "linear_cross_entropy"], "linear_cross_entropy needs --head"),
        (["--head", "any"], "cross_entropy has no head: expected linear_cross_entropy"),
    ],
)
def test_a_head_and_its_loss_need_each_other(options, problem, losswire, client):
    client.register_head(Head(np.ones((7, 3), np.float32)), alias="any")
    result = losswire("bench", *QUICK, *options)
    assert result.exit_code == 2
    assert problem in result.stderr


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_gradients_of_any_transport(losswire, transport):
    result = losswire("bench", *QUICK, "--grad", "--dtype", "bfloat16", "--transport", transport, "--json")
    (case,) = json.loads(result.stdout)["cases"]
    assert case["bytes_per_second"] == case["evaluations_per_second"] * 4 * (2 * 3 * 2 + 8)


LOSSES = ["cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_divergence"]


@pytest.mark.parametrize("loss", LOSSES)
def test_any_loss_is_measured(losswire, loss):
    result = losswire("bench", *QUICK, "--loss", loss, "--grad", "--dtype", "float16", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    said = json.loads(result.stdout)
    assert said["loss"] == loss
    assert said["cases"][0]["evaluation_count"] >= said["turns"]


def test_calls_are_due_at_a_rate(losswire):
    result = losswire("bench", "--seconds", 0.6, "--shape", "4x3", "--rate", 50, "--json")
    said = json.loads(result.stdout)
    (case,) = said["cases"]
    assert (said["due_per_second"], said["arrivals"], case["concurrency"]) == (50, "constant", 64)
    assert case["evaluation_count"] + case["refused_count"] + case["unsent_count"] == 30
    assert case["evaluations_per_second"] < 50.001  # apart from rounding
    assert case["seconds"] >= 0.6


def test_title_says_the_rate(losswire, target):
    table = losswire("bench", *QUICK, "--rate", 100, "--arrivals", "poisson").stdout
    assert f"cross_entropy, float32, transport auto, 100 due a second (poisson), at {target}" in table


def test_csv_has_a_line_a_case_and_turn(losswire, tmp_path):
    path = tmp_path / "bench.csv"
    result = losswire("bench", *QUICK, "--concurrency", 2, "--csv", path)
    assert "4x3" in result.stdout
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["concurrency"], row["turn"]) for row in rows] == [(c, t) for c in "12" for t in "123"]
    for row in rows:
        assert (row["loss"], row["rows"], row["classes"], row["due_per_second"]) == ("cross_entropy", "4", "3", "")
        assert float(row["evaluations_per_second"]) == pytest.approx(
            int(row["evaluation_count"]) / float(row["seconds"])
        )
        assert 0 < float(row["p50_seconds"]) <= float(row["max_seconds"])


def test_csv_is_all_the_output(losswire):
    lines = losswire("bench", *QUICK, "--csv", "-").stdout.splitlines()
    assert lines[0].startswith("loss,transport,dtype,grad,due_per_second,arrivals,rows,classes,concurrency,turn,")
    assert len(lines) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--arrivals", "poisson"), "--arrivals: expected --rate too"),
        (("--csv", "-", "--json"), "--csv: expected a file if --json is given"),
        (("--rate", 0), "--rate"),
    ],
)
def test_contradictory_options_are_refused(losswire, arguments, problem):
    result = losswire("bench", *QUICK, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr


def test_unwritable_csv_is_told_at_once(losswire, tmp_path):
    result = losswire("bench", "--seconds", 1000, "--csv", tmp_path / "missing" / "bench.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "missing/bench.csv" in result.stderr


def test_table_has_a_line_a_case(losswire, target):
    table = losswire("bench", *QUICK).stdout
    assert f"cross_entropy, float32, transport auto, at {target}" in table
    assert "│ 4x3   │       1 │" in table


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_picture_is_drawn(losswire, suffix, tmp_path):
    path = tmp_path / f"bench{suffix}"
    assert losswire("bench", *QUICK, "--plot", path).exit_code == 0
    assert path.stat().st_size > 1000


def test_server_that_is_away_is_said_so(losswire):
    result = losswire("bench", *QUICK, "--target", "localhost:1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1


def test_rate_is_the_median_of_the_turns():
    assert measurement(([0.1] * 10, 1.0), ([0.1] * 20, 1.0), ([0.1] * 90, 1.0)).rate == 20


def test_percentiles_are_of_all_turns():
    latencies = np.arange(1, 201) / 1000
    each = measurement((latencies[::2].tolist(), 1.0), (latencies[1::2].tolist(), 1.0))
    assert [each.percentile(p) for p in (50, 90, 99)] == pytest.approx(np.percentile(latencies, [50, 90, 99]))


def test_few_calls_have_no_percentile_99():
    assert measurement(([0.1] * 99, 1.0)).percentile(99) is None
    assert measurement(([0.1] * 99, 1.0)).percentile(90) == pytest.approx(0.1)
    assert measurement(([], 1.0)).percentile(50) is None


def test_turn_counts_what_was_refused():
    outcomes = iter([None, OverloadedError("full"), None])

    def evaluate():
        outcome = next(outcomes, None)
        if outcome:
            raise outcome

    turn = run_turn(evaluate, 1, 0.2)
    assert turn.refused_count == 1
    assert len(turn.latencies) >= 2
    assert turn.seconds >= 0.2


def test_every_caller_evaluates_once():
    assert len(run_turn(lambda: None, 3, 0.0).latencies) == 3


def test_other_errors_end_the_turn():
    def evaluate():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_turn(evaluate, 2, 10.0)


def test_constant_arrivals_are_even():
    assert schedule(Arrivals(10, "constant"), 0.35) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert schedule(Arrivals(0.01, "constant"), 0.1) == [0]


def test_poisson_arrivals_come_at_the_rate():
    due = np.array(schedule(Arrivals(1000, "poisson"), 20.0, seed=1))
    gaps = np.diff(due)
    assert len(due) == pytest.approx(20_000, rel=0.03)  # four standard deviations
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # as for an exponential distribution
    assert schedule(Arrivals(1000, "poisson"), 1.0, seed=2) != schedule(Arrivals(1000, "poisson"), 1.0, seed=3)


def test_stall_shows_in_all_waiting_calls():
    stall, due = 0.4, schedule(Arrivals(100, "constant"), 0.5)
    calls = iter([stall])
    turn = run_open_turn(lambda: time.sleep(next(calls, 0)), 1, due, 0.5)
    assert len(turn.latencies) == 50  # no call was left out
    # A call that was due while the server stalled sees at least the rest of the stall. A caller that waits for answers
    # would have seen only one slow call.
    assert sorted(turn.latencies, reverse=True)[:40] >= [stall - t for t in due[:40]]
    assert np.percentile(turn.latencies, 50) > 0.1
    assert turn.waiting_count >= 35
    closed = iter([stall])
    waiting = run_turn(lambda: time.sleep(next(closed, 0.001)), 1, 0.5)
    assert np.percentile(waiting.latencies, 50) < 0.1


@pytest.mark.slow
def test_dead_server_is_given_up_on():
    release = threading.Event()
    threading.Timer(3.0, release.set).start()  # well after the turn gives up, at 1.1
    turn = run_open_turn(release.wait, 2, schedule(Arrivals(100, "constant"), 0.1), 0.1)
    assert (len(turn.latencies), turn.unsent_count) == (2, 8)
    assert min(turn.latencies) > 1


def test_refused_calls_are_counted_once():
    def evaluate():
        raise OverloadedError("full")

    turn = run_open_turn(evaluate, 4, [0.0, 0.0, 0.001], 0.01)
    assert (turn.refused_count, turn.latencies) == (3, [])


def test_other_errors_end_a_turn_at_a_rate():
    def evaluate():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_open_turn(evaluate, 2, [0.0, 100.0], 0.01)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, []),
        ({"late_count": 3}, ["32x10, 2 callers: this process could not keep up: 3 of 10 calls were late or left out"]),
        (
            {"waiting_count": 4, "unsent_count": 2},
            ["32x10, 2 callers: all 2 callers were waiting when 6 of 12 calls were due, of which 2 were left out"],
        ),
        (
            {"waiting_count": 4, "cpu_seconds": 0.95},
            ["32x10, 2 callers: this process could not keep up: 4 of 10 calls were late or left out"],
        ),
    ],
)
def test_late_calls_are_told(counts, said):
    each = Measurement(Case(Shape(32, 10), 2), 1000, [Turn([0.1] * 10, 0, 1.0)._replace(**counts)])
    assert list(shortfalls([each])) == said


def test_batches_are_of_the_shape_and_dtype():
    batch = random_batch(Shape(3, 5), "bfloat16")
    assert (batch.input.shape, batch.input.dtype, batch.target.shape) == ((3, 5), ml_dtypes.bfloat16, (3,))


@pytest.mark.parametrize("text", ["", "3", "3x", "0x3", "3x0", "-1x3", "3x4x5", "3 x 4"])
def test_text_that_is_no_shape_is_refused(text):
    with pytest.raises(ValueError, match="expected ROWSxCLASSES"):
        Shape.parse(text)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_batches_suit_their_loss(dtype):
    log_p, classes = random_batch(Shape(50, 7), dtype, "nll_loss")
    assert np.exp(log_p.astype(np.float64)).sum(1) == pytest.approx(1, rel=0.02)
    assert classes.shape == (50,)
    p, binary = random_batch(Shape(50, 7), dtype, "binary_cross_entropy")
    assert ((p > 0) & (p < 1)).all()
    assert (binary.shape, binary.dtype, set(binary.ravel().tolist())) == ((50, 7), p.dtype, {0.0, 1.0})
