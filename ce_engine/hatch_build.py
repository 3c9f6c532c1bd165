"""Compiles the kernels in ``native`` where there is a compiler; without them the engine uses PyTorch's operators."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "src/ce_engine/libsoftmax.so"
# The compilers' own vectors, by value between functions that are all inlined: their ABI does not matter (-Wno-psabi).
FLAGS = "-std=c++17 -O3 -fPIC -fopenmp -fno-math-errno -fno-trapping-math -fno-exceptions -Wall -Wextra -Wno-psabi"


class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - any version is the same
        root = Path(self.root)
        library = root / LIBRARY
        library.unlink(missing_ok=True)  # a process that runs it keeps it
        compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
        if not sys.platform.startswith("linux") or compiler is None:
            self.app.display_warning("no C++ compiler on Linux: the engine will use PyTorch's operators, and be slower")
            return
        try:
            compile_library(shlex.split(compiler), root / "native/softmax.cpp", library)
        except subprocess.CalledProcessError as error:
            self.app.display_warning(f"the engine will use PyTorch's operators, and be slower: {error}")
            return
        build_data["artifacts"].append(LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def compile_library(compiler: list[str], source: Path, library: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compiled = f"{folder}/softmax.o"
        subprocess.run([*compiler, *FLAGS.split(), "-c", str(source), "-o", compiled], check=True)
        # Linked without -fopenmp: its functions are then those of the library that PyTorch has loaded, so that there is
        # one pool of threads, and no other library to install.
        subprocess.run([*compiler, "-shared", compiled, "-lm", "-o", str(library)], check=True)
