"""Memory of evaluations with a head: what `memory_needed` says is what they take at most."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from ce_engine import Head, TensorForm, _libraries, memory_needed
from tests.processes import run

MIB = 2**20
OBJECTS = MIB  # what Python, PyTorch and malloc take by themselves, now and then
# malloc gives freed memory back at once, so that only memory in use counts.
GIVING_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": str(2**16)}

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells how much it takes")


def measured(module: str, kernels: str) -> list[tuple[str, int, int]]:
    """What a module measures in a process of its own: of each case its name, what it took and what it may take."""
    if kernels == "compiled" and not _libraries.runnable():
        pytest.skip("nothing was compiled: there was no C++ compiler")
    command, environment = [sys.executable, "-m", f"tests.ce_engine.{module}", kernels], os.environ | GIVING_BACK
    done = run(command, seconds=300, env=environment, cwd=Path(__file__).parents[3], check=True, capture_output=True)
    return [tuple(row) for row in json.loads(done.stdout)]


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["compiled", "operators"])
def test_evaluation_takes_no_more_than_announced(kernels):
    rows = measured("heads.measured_memory", kernels)
    assert len(rows) > 7
    assert [(name, grown, announced) for name, grown, announced in rows if grown > announced + OBJECTS] == []


def announced(head: Head, rows: int) -> int:
    states, target = TensorForm(torch.bfloat16, (rows, head.width)), TensorForm(torch.int64, (rows,))
    return memory_needed("linear_cross_entropy", states, target, head=head, threads=1, grad=True).peak


def test_one_tile_is_announced_for_any_number_of_rows():
    head = Head(torch.zeros(128256, 2))
    assert 62 * MIB < announced(head, 10_000) < 66 * MIB
    assert announced(head, 20_000) - announced(head, 10_000) < 10_000 * 64
    two = memory_needed(
        "linear_cross_entropy",
        TensorForm(torch.bfloat16, (10_000, 2)),
        TensorForm(torch.int64, (10_000,)),
        head=head,
        threads=2,
    )
    assert 124 * MIB < two.peak < 132 * MIB


def test_results_have_the_sizes_of_states_and_of_classes():
    head, states, target = (
        Head(torch.zeros(1000, 20)),
        TensorForm(torch.float32, (5, 7, 20)),
        TensorForm(torch.int64, (5, 7)),
    )
    plain = memory_needed("linear_cross_entropy", states, target, head=head).results
    grad = memory_needed("linear_cross_entropy", states, target, head=head, grad=True).results
    wide = memory_needed("linear_cross_entropy", states, target, head=head, outputs=["probabilities"]).results
    assert grad - plain == 4 * 35 * 20
    assert wide - plain == 4 * 35 * 1000


def test_small_slabs_have_room_to_be_merged():
    head = Head(torch.zeros(100, 20))
    small, large = (announced(head, rows) for rows in (255, 256))
    assert small > large
