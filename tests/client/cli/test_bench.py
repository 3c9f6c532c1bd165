import json

import ml_dtypes
import numpy as np
import pytest

from losswire_client import OverloadedError
from losswire_client.cli.load import Case, Measurement, Shape
from losswire_client.cli.load._measure import random_batch, run_turn
from losswire_client.cli.load._measurement import Turn

QUICK = ("--seconds", 0.06, "--shape", "4x3", "--concurrency", 1)


def measurement(*turns):
    return Measurement(Case(Shape(32, 10), 2), 1000, [Turn(latencies, 0, seconds) for latencies, seconds in turns])


def test_json_has_a_case_for_each_shape_and_concurrency(losswire, target):
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


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_gradients_of_any_transport_and_dtype_are_measured(losswire, transport):
    result = losswire("bench", *QUICK, "--grad", "--dtype", "bfloat16", "--transport", transport, "--json")
    (case,) = json.loads(result.stdout)["cases"]
    assert case["bytes_per_second"] == case["evaluations_per_second"] * 4 * (2 * 3 * 2 + 8)


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


def test_percentile_99_of_few_evaluations_is_not_told():
    assert measurement(([0.1] * 99, 1.0)).percentile(99) is None
    assert measurement(([0.1] * 99, 1.0)).percentile(90) == pytest.approx(0.1)
    assert measurement(([], 1.0)).percentile(50) is None


def test_turn_counts_what_was_refused():
    outcomes = iter([None, OverloadedError("full"), None])

    def evaluate():
        outcome = next(outcomes, None)
        if outcome:
            raise outcome

    turn = run_turn(evaluate, 1, 0.02)
    assert turn.refused_count == 1
    assert len(turn.latencies) >= 2
    assert turn.seconds >= 0.02


def test_every_caller_evaluates_once_however_short_the_turn():
    assert len(run_turn(lambda: None, 3, 0.0).latencies) == 3


def test_other_errors_end_the_turn():
    def evaluate():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_turn(evaluate, 2, 10.0)


def test_batches_are_of_the_shape_and_dtype():
    batch = random_batch(Shape(3, 5), "bfloat16")
    assert (batch.input.shape, batch.input.dtype, batch.target.shape) == ((3, 5), ml_dtypes.bfloat16, (3,))


@pytest.mark.parametrize("text", ["", "3", "3x", "0x3", "3x0", "-1x3", "3x4x5", "3 x 4"])
def test_text_that_is_no_shape_is_refused(text):
    with pytest.raises(ValueError, match="expected ROWSxCLASSES"):
        Shape.parse(text)
