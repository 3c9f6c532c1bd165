"""Memory is known before anything is allocated: what `memory_needed` says is what an evaluation takes at most."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ce_engine
from ce_engine import MemoryNeeded, TensorForm, _libraries, memory_needed, slabs
from tests.processes import run

MIB = 2**20
OBJECTS = MIB  # what Python, PyTorch and malloc take by themselves, now and then
ALL = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
# malloc gives freed memory back at once, so that only memory in use counts.
GIVING_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": str(2**16)}

LOSSES = ("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits")

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells how much it takes")


def form(*shape: int, dtype: torch.dtype = torch.float32) -> TensorForm:
    return TensorForm(dtype, shape)


def classes(*shape: int) -> TensorForm:
    return TensorForm(torch.int64, shape)


def measured(kernels: str, elements: int, every: int) -> list[tuple[str, int, int]]:
    """Names of cases, by how many bytes their process grew, and what was announced."""
    if kernels == "compiled" and not _libraries.runnable():
        pytest.skip("nothing was compiled: there was no C++ compiler")
    command = [sys.executable, "-m", "tests.ce_engine.measured_memory", kernels, str(elements), str(every)]
    environment, root = os.environ | GIVING_BACK, Path(__file__).parents[2]
    done = run(command, seconds=550, env=environment, cwd=root, check=True, capture_output=True)
    rows: list[tuple[str, int, int]] = [tuple(row) for row in json.loads(done.stdout)]
    return rows


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["compiled", "operators"])
def test_evaluation_takes_no_more_than_announced(kernels):
    rows = measured(kernels, 2_000_000, 9)
    assert len(rows) > 7
    assert above(rows) == []


@needs_proc
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kernels",
    [pytest.param("compiled", marks=pytest.mark.slow), pytest.param("operators", marks=pytest.mark.long)],
)
def test_large_evaluation_takes_about_what_is_announced(kernels):
    rows = measured(kernels, 8_000_000, 1)
    assert above(rows) == []
    # Whether rows are ignored is not known from a form, nor how few blocks are at work: it may be some MB less.
    loose = [row for row in rows if row[2] > 1.3 * row[1] + 32 * MIB and "few classes" not in row[0]]
    assert (
        kernels == "operators" or loose == []
    )  # they work on several blocks, which count whether they are needed or not


def above(rows: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return [row for row in rows if row[1] > 1.1 * row[2] + OBJECTS]


OF_TARGETS = ("target_log_probabilities", "target_ranks")


@pytest.mark.parametrize(
    "options",
    [{"outputs": ALL}, {"outputs": (*ALL, *OF_TARGETS), "top_k": 200, "z_loss": 0.1, "divisor": 3.0}],
)
def test_results_are_announced_to_the_byte(options):
    needed = memory_needed("cross_entropy", form(1000, 500), classes(1000), grad=True, **options)
    result = ce_engine.cross_entropy(torch.randn(1000, 500), torch.randint(500, (1000,)), grad=True, **options)
    tensors = [x for x in vars(result).values() if isinstance(x, torch.Tensor) and x.dim()]
    losses, correct = 4 * 1000, 1000
    assert sum(x.nbytes for x in tensors) + losses + correct <= needed.results
    assert needed.results < 1.125 * (sum(x.nbytes for x in tensors) + losses + correct)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(0, 2**62), (2**62, 0), (0,), (0, 2**62, 2**61), (2**40, 2**40, 2**40), (2**70,)])
def test_any_sizes_are_added_up(loss, shape):
    is_binary = loss.startswith("binary")
    target = form(*shape) if is_binary else classes(*shape[:1], *shape[2:]) if len(shape) > 1 else classes()
    needed = memory_needed(
        loss,
        form(*shape),
        target,
        weight="balanced",
        sample_weight=form(*target.shape),
        grad=True,
        grad_dtype=torch.float64,
        outputs=ALL[1:],
        threads=64,
    )
    assert all(isinstance(number, int) and number >= 0 for number in needed)
    assert needed.results >= (8 + 4 + 4) * form(*shape).element_count
    assert needed.peak >= max(needed.planning, needed.results)


def test_narrow_input_is_not_widened_as_a_whole():
    # 128 MB of float16: the gradient has its dtype, and probabilities have float32.
    logits = form(2048, 32768, dtype=torch.float16)
    assert memory_needed("cross_entropy", logits, classes(2048)).peak < MIB
    assert memory_needed("cross_entropy", logits, classes(2048), grad=True).peak < 129 * MIB
    assert memory_needed("cross_entropy", logits, classes(2048), grad=True, outputs=ALL).peak < 641 * MIB


def test_small_slabs_have_room_to_be_merged():
    small, large = (memory_needed("cross_entropy", form(n, 100), classes(n), grad=True) for n in (10, 10_000))
    assert small.work >= form(10, 100).nbytes + small.results
    assert large.work < form(10_000, 100).nbytes


def test_given_memory_for_the_gradient_is_not_announced():
    arguments = ("cross_entropy", form(1000, 500), classes(1000))
    assert memory_needed(*arguments, grad=True, grad_into=True).results == memory_needed(*arguments).results


def test_every_argument_of_a_loss_can_be_given():
    common: dict[str, Any] = {
        "ignore_index": 3,
        "empty": "zero",
        "checked": True,
        "reduction": "sum",
        "grad_output": form(),
    }
    needed = memory_needed("cross_entropy", form(5, 7), classes(5), label_smoothing=0.1, grad=True, **common)
    assert isinstance(needed, MemoryNeeded)
    with pytest.raises(TypeError):
        memory_needed("cross_entropy", form(5, 7), classes(5), focal=True)


def test_kept_results_can_be_given_back():
    ce_engine.keep_memory(64 * MIB)
    try:
        ce_engine.evaluate(slabs.cross_entropy(torch.randn(1000, 4000), torch.randint(4000, (1000,)), grad=True))
        assert ce_engine.kept_memory() >= 16_000_000
        ce_engine.keep_memory(0)
        assert ce_engine.kept_memory() == 0
        ce_engine.evaluate(slabs.cross_entropy(torch.randn(1000, 4000), torch.randint(4000, (1000,)), grad=True))
        assert ce_engine.kept_memory() == 0
        with pytest.raises(ce_engine.InvalidArgumentError, match="nbytes: expected at least 0, got -1"):
            ce_engine.keep_memory(-1)
    finally:
        ce_engine.keep_memory(256 * MIB)


@needs_proc
def test_immense_rows_leave_no_memory_with_threads():
    # One class a column: 16 lanes of 2**20 classes, twice, are 128 MB of intermediate numbers.
    logits, target = torch.zeros(1, 2**20, 2), torch.zeros(1, 2, dtype=torch.int64)
    ce_engine.cross_entropy(logits, target)
    before = resident()
    ce_engine.cross_entropy(logits, target, grad=True)
    assert resident() - before < 32 * MIB


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
