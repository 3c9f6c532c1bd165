"""The libraries of compiled kernels, one for each set of instructions: which are there, and which one is used."""

import os
import platform
import shutil
import sys

import pytest
import torch

import ce_engine
from ce_engine import _libraries
from tests.ce_engine.helpers import FLOATS, PROBLEMS, problem
from tests.pairs import pairs
from tests.present import present
from tests.processes import run

FUSED = [name for name in _libraries.runnable() if name != "baseline" or platform.machine() != "x86_64"]
OUTPUTS = ("entropy", "predictions", "probabilities", "log_probabilities")


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "c++")) is None, reason="there is no C++ compiler")
def test_kernels_are_compiled_if_they_can_be():
    assert _libraries.library() is not None
    assert "baseline" in _libraries.runnable()


@pytest.mark.slow
def test_library_is_for_the_instructions_that_torch_uses():
    assert name_in_use() in (*_libraries.CAPABILITIES.values(), "baseline", "None")
    for capability, name in (("default", "baseline"), *((name, name) for name in _libraries.runnable())):
        if name in _libraries.runnable():
            assert name_in_use(ATEN_CPU_CAPABILITY="default" if capability == "baseline" else capability) == name


def name_in_use(**environment):
    """The library that another process uses."""
    code = "from ce_engine import _libraries as x; print(x.library() and x.library().name)"
    done = run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("kind", "dtype", "shape"), pairs(PROBLEMS, FLOATS, ((37, 100), (5, 7), (3, 20, 9))))
def test_results_have_the_same_bits_with_all_fused_instructions(kind, dtype, shape):
    given = problem(kind, shape, dtype)
    results = []
    for name in FUSED:
        with _libraries.using(name):
            results.append(given.ours(reduction="none", outputs=OUTPUTS))
    for other in results[1:]:
        for field, tensor in vars(results[0]).items():
            if isinstance(tensor, torch.Tensor):
                assert torch.equal(tensor, present(getattr(other, field)))


def test_broken_library_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(_libraries, "FOLDER", tmp_path)
    for name in (*_libraries.CAPABILITIES.values(), "baseline"):
        _libraries._path(name).write_text("for another machine")
    with pytest.warns(UserWarning, match="slower operators are used"):
        assert _libraries._load() is None


def test_missing_library_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(_libraries, "FOLDER", tmp_path)
    assert _libraries._load() is None
    assert _libraries.runnable() == []


def test_operators_replace_the_library():
    logits, target = torch.randn(4, 10), torch.randint(10, (4,))
    ours = ce_engine.cross_entropy(logits, target).loss
    with _libraries.using(None):
        torch.testing.assert_close(ce_engine.cross_entropy(logits, target).loss, ours)


SHORT_OF_MEMORY = """
import resource, torch, ce_engine
from pathlib import Path

torch.set_num_threads(1)
logits, target = torch.zeros(1, 2**24), torch.zeros(1, dtype=torch.int64)
grad = torch.zeros_like(logits)
slab = ce_engine.slabs.cross_entropy(logits, target, grad=True)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
unlimited = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2**25, unlimited[1]))  # the exponentials take 2**26 bytes
try:
    ce_engine.evaluate(slab, grad_into=grad)
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, unlimited)
print(round(ce_engine.evaluate(slab, grad_into=grad).loss_sum, 3))
"""


@pytest.mark.slow
def test_lack_of_scratch_memory_is_an_error_and_passes():
    if _libraries.library() is None:
        pytest.skip("there was no C++ compiler")
    done = run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["too little memory is free for intermediate numbers", "16.636"]
