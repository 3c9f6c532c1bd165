"""The demo of heads, in a short form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes

EXAMPLE = Path(__file__).parents[3] / "examples" / "heads" / "heads_demo.py"
SHORT = ("--steps", "10", "--remote-steps", "2")
BROKEN = """
import heads_demo
heads_demo.is_near = lambda *_: False
heads_demo.main()
"""


def run(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "200", "OMP_WAIT_POLICY": "PASSIVE"}
    command = (sys.executable, "-W", "error", *command)
    return processes.run(command, capture_output=True, text=True, cwd=EXAMPLE.parent, env=environment)


@pytest.mark.slow
def test_demo_agrees_with_torch(tmp_path):
    done = run(EXAMPLE, *SHORT, "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    for wanted in ("loss, by the server", "sent: hidden states", "by PyTorch", "same top class", "their ratio"):
        assert wanted in done.stdout
    assert done.stdout.count("✓") == 5
    assert "✗" not in done.stdout
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_demo_fails_if_the_numbers_differ(tmp_path):
    done = run("-c", BROKEN, *SHORT, "--folder", tmp_path)
    assert done.returncode == 1
    for failure in ("the held-out loss is PyTorch's", "goes as with PyTorch's", "the mean divergence is PyTorch's"):
        assert failure in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_held_out_words_are_not_trained_on():
    program = """
import words
found = words.read_words()
assert found.train.shape[1] == found.held_out.shape[1] == found.new.shape[1] == words.LENGTH + 1
assert min(map(len, (found.train, found.held_out, found.new))) > 50
assert found.train.max() == found.class_count - 1
trained = {tuple(each) for each in found.train.tolist()}
assert not any(tuple(each) in trained for each in [*found.held_out.tolist(), *found.new.tolist()])
"""
    done = run("-c", program)
    assert done.returncode == 0, done.stderr
