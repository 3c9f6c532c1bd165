"""The demo, in a short form."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests import processes

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "digits.py"


def run(*command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    environment, command = {**os.environ, **environment}, (sys.executable, *command)
    return processes.run(command, capture_output=True, text=True, cwd=EXAMPLE.parent, env=environment)


def environments() -> str:
    """The environments of all processes that we may see."""
    said: str = processes.run(["ps", "axeww"], check=True, capture_output=True, text=True).stdout
    return said


@pytest.mark.slow
def test_demo_agrees_with_torch(tmp_path):
    picture, mark = tmp_path / "curve.png", uuid4().hex
    with processes.started(["sleep", "60"], env={"MARK": mark}):
        assert mark in environments()
    done = run(EXAMPLE, "--epochs", "2", "--picture", picture, MARK=mark)
    assert done.returncode == 0, done.stderr
    for wanted in (
        "held-out loss",
        "their difference",
        "held-out accuracy",
        "evaluations served",
        "rows served",
        "p50",
    ):
        assert wanted in done.stdout
    assert 'losswire_loss_sum_total{loss="cross_entropy",series="held-out"}' in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert mark not in environments()


@pytest.mark.slow
def test_demo_fails_if_the_losses_differ(tmp_path):
    # A tolerance that nothing meets replaces a service that computes wrong numbers.
    program = "import digits; digits.TOLERANCE = -1.0; digits.main()"
    done = run("-c", program, "--epochs", "1", "--picture", tmp_path / "curve.png")
    assert done.returncode == 1
    assert "The losses differ by" in done.stderr


@pytest.mark.slow
def test_demo_ends_with_its_worker():
    program = """
import digits_worker as w, numpy as np
rows = w.Rows(np.zeros((60, 64), np.float32), np.zeros(60, int))
with w.start_fleet("127.0.0.1:1", [rows], [rows]) as fleet:
    fleet.ask("train", w.initial_parameters(np.random.default_rng(0)))
"""
    done = run("-c", program)
    assert done.returncode == 1
    assert "UnavailableError" in done.stderr
    assert "A worker has ended" in done.stderr
