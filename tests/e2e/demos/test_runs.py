"""The demo of runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes

EXAMPLE = Path(__file__).parents[3] / "examples" / "runs" / "demo.py"
BROKEN = """
import demo, fleet, service
fleet.Fleet.kill = lambda workers, name: None
service.Service.kill_and_restart = lambda service: 0
demo.TOLERANCE = -1.0
demo.has_same_bits = lambda first, second: first == second
demo.main()
"""


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "200"}
    command = (sys.executable, *command)
    return processes.run(command, capture_output=True, text=True, cwd=EXAMPLE.parent, env=environment)


@pytest.mark.slow
def test_demo_has_the_same_bits_after_accidents():
    done = run(EXAMPLE, "--parts", "18")
    assert done.returncode == 0, done.stderr
    for wanted in ("Worker B is killed", "The server is killed", "keys are missing", "Keys that came again", "0x1."):
        assert wanted in done.stdout
    assert done.stdout.count("✓") == 9
    assert "✗" not in done.stdout


@pytest.mark.slow
def test_demo_fails_if_it_did_not_come_to_that():
    done = run("-c", BROKEN, "--parts", "18", "--pause", "0.02")
    assert done.returncode == 1
    for failure in (
        "worker B was killed",
        "the server died by SIGKILL",
        "the mean is PyTorch's",
        "the same bits",
    ):
        assert failure in done.stderr.splitlines()[-1]


def test_few_parts_have_no_middle():
    done = run(EXAMPLE, "--parts", "3")
    assert done.returncode == 2
    assert "--parts: expected 18 at least" in done.stderr


@pytest.mark.slow
def test_parts_have_each_row_once():
    program = """
import accidents, validation
rows = validation.evaluated_rows()
for count in (18, 60):
    parts = validation.parts_of(rows, count, seed=count)
    assert [row for part in parts for row in range(part.first, part.end)] == list(range(len(rows.target)))
    assert len({part.key for part in parts}) == len(parts) == count
    for part in parts:
        assert set(rows.target[part.first : part.end]) <= set(validation.GROUPS[part.slice])
    shares = accidents.overlapping(parts)
    assert {part.key for share in shares.values() for part in share} == {part.key for part in parts}
    assert sum(map(len, shares.values())) == count + len(shares) - 1
"""
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
