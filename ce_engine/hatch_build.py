"""Compiles the kernels in ``native`` where there is a compiler; without them the engine uses PyTorch's operators."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = "ce_engine/cpu"
# Products and sums are fused where the code says so, and nowhere else: results have the same bits on all CPUs that can.
# Vectors go by value between functions of one library only, so that their ABI does not matter (-Wno-psabi).
FLAGS = (
    "-std=c++20 -O2 -fPIC -fopenmp -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions "
    "-Wall -Wextra -Wno-psabi -Wno-uninitialized"
)
# Names of sets of instructions, and flags for them: those that PyTorch asks the CPU for before it uses them.
X86 = {
    "avx512": "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512",
    "avx2": "-mavx2 -mfma -mf16c",
    "baseline": "",
}
OTHERS = {"baseline": ""}  # on ARM it has NEON
BFLOAT16 = f"{X86['avx512']} -mavx512bf16 -O3"  # its loops have to be unrolled


class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp())
        editable = Path(self.root, "src", FOLDER)
        if version == "editable":
            for library in editable.glob("*.so"):
                library.unlink()
        problem = compile_libraries(Path(self.root, "native"), self._folder)
        if problem:
            self.app.display_warning(f"the engine will use PyTorch's operators, which are slower: {problem}")
            return
        for library in self._folder.glob("*.so"):
            if version == "editable":
                shutil.copy(library, editable)
            else:
                build_data["force_include"][str(library)] = f"{FOLDER}/{library.name}"
        if version != "editable":
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        shutil.rmtree(self._folder)


def compile_libraries(sources: Path, folder: Path) -> str | None:
    """Compiles a library for each set of instructions. Returns why it could not."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if not sys.platform.startswith("linux") or shutil.which(compiler[0]) is None:
        return f"no C++ compiler {compiler[0]!r} on Linux"
    sets = X86 if platform.machine() == "x86_64" else OTHERS
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        products = threads.submit(_compile_products, compiler, sources, folder)
        try:
            list(threads.map(lambda name: _compile(compiler, sources, "kernels.cpp", folder, name, sets[name]), sets))
            products.result()
        except subprocess.CalledProcessError as error:
            return str(error)
    return None


def _compile_products(compiler: list[str], sources: Path, folder: Path) -> None:
    """Compiles the products with bfloat16 matrices, if the compiler knows the instructions, as GCC does from 10 on."""
    known = [*compiler, *BFLOAT16.split(), "-fsyntax-only", "-x", "c++", "/dev/null"]
    if platform.machine() == "x86_64" and subprocess.run(known, check=False, capture_output=True).returncode == 0:
        _compile(compiler, sources, "products/bfloat16.cpp", folder, "bfloat16", BFLOAT16)


def _compile(compiler: list[str], sources: Path, source: str, folder: Path, name: str, flags: str) -> None:
    compiled, library = folder / f"{name}.o", folder / f"libkernels_{name}.so"
    command = [
        *compiler,
        *FLAGS.split(),
        *flags.split(),
        f"-I{sources}",
        "-c",
        str(sources / source),
        "-o",
        str(compiled),
    ]
    subprocess.run(command, check=True)
    # Linked without -fopenmp: its functions are then those of the library that PyTorch has loaded, so that there is one
    # pool of threads, and no other library to install.
    subprocess.run([*compiler, "-shared", compiled, "-lm", "-o", library], check=True)
