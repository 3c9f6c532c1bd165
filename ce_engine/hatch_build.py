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

LIBRARY = "ce_engine/cpu/libsoftmax.so"
# Vectors go by value between functions only where all are inlined, so that their ABI does not matter (-Wno-psabi).
FLAGS = "-std=c++17 -O3 -fPIC -fopenmp -fno-math-errno -fno-trapping-math -fno-exceptions -Wall -Wextra -Wno-psabi"


class NativeKernels(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = Path(tempfile.mkdtemp())
        library = self._folder / "libsoftmax.so"
        editable = Path(self.root, "src", LIBRARY)
        if version == "editable":
            editable.unlink(missing_ok=True)
        problem = compile_library(Path(self.root, "native"), library)
        if problem:
            self.app.display_warning(f"the engine will use PyTorch's operators, which are slower: {problem}")
        elif version == "editable":
            shutil.copy(library, editable)
        else:
            build_data["force_include"][str(library)] = LIBRARY
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        shutil.rmtree(self._folder)


def compile_library(sources: Path, library: Path) -> str | None:
    """Why it could not."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if not sys.platform.startswith("linux") or shutil.which(compiler[0]) is None:
        return f"no C++ compiler {compiler[0]!r} on Linux"
    compiled = library.with_suffix(".o")
    try:
        subprocess.run([*compiler, *FLAGS.split(), "-c", sources / "softmax.cpp", "-o", compiled], check=True)
        # Linked without -fopenmp: its functions are then those of the library that PyTorch has loaded, so that there is
        # one pool of threads, and no other library to install.
        subprocess.run([*compiler, "-shared", compiled, "-lm", "-o", library], check=True)
    except subprocess.CalledProcessError as error:
        return str(error)
    return None
