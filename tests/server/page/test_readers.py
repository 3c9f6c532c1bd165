"""The three readers of figures compute the same numbers: ``losswire top``, the page, and Prometheus."""

import json
import re
import shutil
from pathlib import Path

import pytest

from losswire.monitoring.expressions import labels_of, promql
from losswire.monitoring.figures import FIGURES
from losswire_client.cli.monitor import Interval, evaluate, parse
from losswire_server.page.table import table
from tests.processes import run
from tests.server.page.expositions import STARTED, exposition

SECONDS = 64  # a power of two, so that dividing by it rounds nothing
CURVES = {
    f"{figure.key}/{curve.name}".rstrip("/"): curve.expression for figure in FIGURES.values() for curve in figure.curves
}
FEW = "\n".join(line for line in exposition(2).splitlines() if "train" not in line and "process_" not in line)
PAIRS = {
    "both": (exposition(1), exposition(3)),
    "restarted": (exposition(5), exposition(2)),  # counters have fallen
    "series that is new": (FEW, exposition(4)),
    "metric that is gone": (exposition(1), FEW),
    "idle": (exposition(3), exposition(3)),  # nothing is divided by nothing
    "since the start": ("", exposition(3)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), PAIRS.values(), ids=PAIRS)
def test_page_computes_what_the_terminal_does(before, after):
    same(in_node(before, after), in_python(before, after))


def test_table_s_figures_have_numbers():
    assert {curve for curve, numbers in in_python(*PAIRS["both"]).items() if numbers} == set(CURVES)


@pytest.mark.slow
def test_prometheus_computes_what_the_terminal_does(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; Debian's prometheus has it")
    before, after = exposition(1), exposition(3)
    same(in_prometheus(before, after, tmp_path), in_python(before, after, time=SECONDS))


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for curve, numbers in theirs.items():
        assert ours[curve] == pytest.approx(numbers, rel=1e-9, nan_ok=True), curve


def in_python(before, after, time=STARTED + 99):
    interval = Interval(parse(before, 0), parse(after, SECONDS, time))
    return {curve: dict(evaluate(expression, interval)) for curve, expression in CURVES.items()}


def in_node(before, after):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    given = {"table": table(), "before": before, "after": after, "seconds": SECONDS, "time": STARTED + 99}
    script = Path(__file__).with_name("readings.mjs")
    done = run(["node", script], input=json.dumps(given), capture_output=True, text=True, check=True)
    return {curve: {tuple(key): float(number) for key, number in numbers} for curve, numbers in json.loads(done.stdout)}


def in_prometheus(before, after, folder):
    """What promtool says that it got where it expected something else."""
    samples = dict(line.rsplit(" ", 1) for line in before.splitlines() if not line.startswith("#"))
    latest = dict(line.rsplit(" ", 1) for line in after.splitlines() if not line.startswith("#"))
    series = [{"series": name, "values": f"{value} {latest[name]}"} for name, value in samples.items()]
    at = {"eval_time": f"{SECONDS}s", "exp_samples": [{"labels": "nothing", "value": 0}]}
    window = f"{SECONDS + 1}s"  # a window is without its first moment
    queries = [{"expr": promql(expression, window), **at} for expression in CURVES.values()]
    test = {"interval": f"{SECONDS}s", "input_series": series, "promql_expr_test": queries}
    file = folder / "test.yml"
    file.write_text(json.dumps({"evaluation_interval": f"{SECONDS}s", "tests": [test]}))
    said = run(["promtool", "test", "rules", file], capture_output=True, text=True, cwd=folder)
    got = re.findall(r"^ +got: ?(.*)$", said.stdout + said.stderr, re.MULTILINE)
    return {curve: dict(samples_of(text, CURVES[curve])) for curve, text in zip(CURVES, got, strict=True)}


def samples_of(text, expression):
    for labels, number in re.findall(r"\{((?:\w+=\"(?:[^\"\\]|\\.)*\"(?:, )?)*)\} (\S+?)(?:, |$)", text):
        values = {name: json.loads(value) for name, value in re.findall(r"(\w+)=(\"(?:[^\"\\]|\\.)*\")", labels)}
        yield tuple(values.get(name, "") for name in labels_of(expression)), float(number)
