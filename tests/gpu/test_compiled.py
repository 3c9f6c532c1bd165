"""What the interpreter cannot show: that the kernels compile for Hopper, and into which code. Needs no GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import triton

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """For each launch and kernel: a thread's registers, its bytes of stack, and the instructions in the code."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "ce_engine/src")])
    command = [sys.executable, "-m", "tests.gpu.compile_kernels"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_loss_compiles(compiled):
    assert len(compiled) == 2 * 4 * 2 + 2 * 5
    assert all(compiled.values())


@pytest.mark.parametrize("class_count", [1000, 8192, 32_000, 262_144])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("what", ["", " gradient"])
def test_aligned_rows_take_widest_loads(compiled, class_count, dtype, what):
    (report,) = compiled[f"torch.{dtype} {class_count}{what}"]
    assert report["wide_loads"] > 0
    assert report["stack"] == 0


@pytest.mark.skipif(not triton.__version__.startswith("3.7."), reason="registers are as Triton 3.7 deals them out")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_programs_fit_a_multiprocessor(compiled, dtype):
    (report,) = compiled[f"torch.{dtype} 32000 gradient"]
    assert 2 * report["reg"] * 32 * report["warps"] <= 65536


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_products_are_not_fused(compiled, dtype):
    # Otherwise a row's bits would depend on the columns that the code was compiled for. Only the library's logarithm
    # has ftz.
    (report,) = compiled[f"torch.{dtype} 1000 gradient"]
    assert report["fma"] == 0
