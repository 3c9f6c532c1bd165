"""Compilers without some instructions. A script stands for them, which makes empty libraries."""

import platform
import runpy
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[3] / "ce_engine"
COMPILER = """#!/bin/sh
case "$*" in *{refused}*) exit 1;; esac
while [ $# -gt 1 ]; do [ "$1" = -o ] && touch "$2"; shift; done
"""


@pytest.fixture
def compile_libraries():
    return runpy.run_path(str(ENGINE / "hatch_build.py"))["compile_libraries"]


def compiler(folder, refused):
    script = folder / "compiler"
    script.write_text(COMPILER.format(refused=refused))
    script.chmod(0o755)
    return str(script)


def made(folder):
    return {library.name for library in folder.glob("*.so")}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have one library")
def test_compiler_without_bfloat16_makes_the_other_libraries(tmp_path, monkeypatch, compile_libraries):
    monkeypatch.setenv("CXX", compiler(tmp_path, "-mavx512bf16"))
    assert compile_libraries(ENGINE / "native", tmp_path) is None
    assert made(tmp_path) == {f"libkernels_{name}.so" for name in ("baseline", "avx2", "avx512")}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have one library")
def test_compiler_with_bfloat16_makes_all_libraries(tmp_path, monkeypatch, compile_libraries):
    monkeypatch.setenv("CXX", compiler(tmp_path, "no-such-flag"))
    assert compile_libraries(ENGINE / "native", tmp_path) is None
    assert made(tmp_path) == {f"libkernels_{name}.so" for name in ("baseline", "avx2", "avx512", "bfloat16")}


def test_error_of_a_compiler_is_told(tmp_path, monkeypatch, compile_libraries):
    monkeypatch.setenv("CXX", compiler(tmp_path, "kernels.cpp"))
    assert "kernels.cpp" in compile_libraries(ENGINE / "native", tmp_path)
