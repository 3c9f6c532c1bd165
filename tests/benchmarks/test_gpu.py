import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = ("ce-engine", "losswire", "losswire-client", "losswire-server")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    command = [sys.executable, "-m", "benchmarks.gpu", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "not measured: there is no GPU here, or PyTorch finds none\n"


def test_wheels_for_a_gpu_are_all_that_the_service_needs():
    listed = (ROOT / "benchmarks" / "requirements-gpu.txt").read_text().splitlines()[1:]
    there = {"torch", "numpy", *OURS}  # on the machine, and what is built from here
    needed: set[str] = set()
    todo = list(OURS)
    while todo:
        for requirement in map(Requirement, requires(todo.pop()) or []):
            name = canonicalize_name(requirement.name)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and name not in needed | there:
                needed.add(name)
                todo.append(name)
    assert needed == set(listed)
