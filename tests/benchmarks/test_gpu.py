import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch.nn import functional as F

from benchmarks.batch import Batch
from benchmarks.gpu import heads, service
from tests.processes import run

ROOT = Path(__file__).parents[2]
OURS = ("ce-engine", "losswire", "losswire-client", "losswire-server")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    command = [sys.executable, "-m", "benchmarks.gpu", "--smoke"]
    done = run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "not measured: there is no GPU here, or PyTorch finds none\n"


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_peers_of_heads_compute_the_same():
    states, weight, target = torch.randn(5, 8), torch.randn(7, 8), torch.arange(5)
    losses = [loss(states, weight, target) for loss in heads.peers().values()]
    for loss in losses:
        torch.testing.assert_close(loss, F.cross_entropy(states @ weight.t(), target, reduction="sum"))


@pytest.mark.slow
def test_service_is_measured_by_all_ways():
    title, *measured = service.lines("cpu", 1, [Batch(8, 10, dtype, grad=True) for dtype in ("float32", "bfloat16")])
    assert [name for name in title.split() if name != "/"][-8::2] == ["unary", "stream", "shared_memory", "resident"]
    assert len(measured) == 2
    for line in measured:
        assert all(float(number) > 0 for number in line.split()[-5:])


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
