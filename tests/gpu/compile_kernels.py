"""Compiles the engine's kernels for a GPU that may be absent, and prints the compiler's report.

Run in a separate process, since the kernels' modules differ between interpreter and compiler.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from ce_engine import slabs
from ce_engine._slab import Slab
from ce_engine.gpu._transfer import Transfer

OUTPUTS = ("lse", "entropy", "probabilities", "log_probabilities", "predictions")
CUOBJDUMP = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"


class AbsentGpu:
    """The part of Triton's driver that compiling needs."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:  # noqa: ARG002
        return 0


def launches() -> dict[str, Slab]:
    """Slabs with narrow rows, rows of one block and rows of several blocks; all losses with all of their options."""
    result = {}
    for dtype in (torch.float32, torch.bfloat16):
        for class_count in (1000, 8192, 32_000, 262_144):
            x, y = torch.zeros(2, class_count, dtype=dtype), torch.zeros(2, dtype=torch.int64)
            result[f"{dtype} {class_count}"] = slabs.cross_entropy(x, y)
            result[f"{dtype} {class_count} gradient"] = slabs.cross_entropy(x, y, grad=True)
    for dtype, class_count in ((torch.float64, 10), (torch.float16, 20_000)):
        x, y = torch.zeros(2, class_count, dtype=dtype), torch.tensor([0, -100])
        everything: dict[str, Any] = {
            "weight": torch.ones(class_count),
            "grad": True,
            "outputs": OUTPUTS,
            "sample_weight": torch.ones(2),
        }
        name = f"{dtype} {class_count} everything"
        result[f"{name}, smoothed"] = slabs.cross_entropy(x, y, label_smoothing=0.1, z_loss=0.01, top_k=3, **everything)
        result[f"{name}, probabilities"] = slabs.cross_entropy(x, x, label_smoothing=0.1, **everything)
        result[f"{name}, nll"] = slabs.nll_loss(x, y, grad_dtype=torch.bfloat16, **everything)
        binary = {**everything, "outputs": OUTPUTS[1:], "sample_weight": None}
        result[f"{name}, binary"] = slabs.binary_cross_entropy(x, x, **binary)
        result[f"{name}, logits"] = slabs.binary_cross_entropy_with_logits(x, x, pos_weight=x, **binary)
    return result


def report(compiled: Any) -> dict[str, int]:
    ptx = compiled.asm["ptx"]
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(compiled.asm["cubin"])
        cubin.flush()
        usage = subprocess.run([CUOBJDUMP, "-res-usage", cubin.name], capture_output=True, text=True, check=True).stdout
    numbers = {name.lower(): int(number) for name, number in re.findall(r"(REG|STACK):(\d+)", usage)}
    wide = len(re.findall(r"ld\.global\S*\.v4\.b32", ptx))
    return {
        **numbers,
        "warps": compiled.metadata.num_warps,
        "wide_loads": wide,
        "fma": len(re.findall(r"fma\.rn\.f(?:32|64)", ptx)),
    }


def main() -> None:
    driver.set_active(AbsentGpu(int(os.environ.get("CAPABILITY", "90"))))
    reports: dict[str, list[dict[str, int]]] = {}
    found: list[dict[str, int]] = []

    def compile_instead(self: JITFunction[Any], grid: object) -> Any:
        return lambda *args, **options: found.append(report(self.run(*args, grid=grid, warmup=True, **options)))

    JITFunction.__getitem__ = compile_instead
    for name, slab in launches().items():
        transfer = Transfer.of_slab(slab)
        buffers = (torch.empty(packing.nbytes, dtype=torch.uint8) for packing in (transfer.inputs, transfer.outputs))
        transfer.launch(*buffers)
        reports[name], found[:] = list(found), []
    json.dump(reports, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
