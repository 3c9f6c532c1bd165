"""The compiled kernels, ``native/kernels.cpp``: a library for each set of instructions, if there was a compiler."""

import ctypes
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

FOLDER = Path(__file__).parent / "cpu"
DTYPE_NUMBERS = {torch.float64: 0, torch.float32: 1, torch.float16: 2, torch.bfloat16: 3}  # as in native/kernels.cpp
CAPABILITIES = {"AVX512": "avx512", "AVX2": "avx2"}  # of PyTorch, and our names; others have the "baseline"


class Library:
    """Kernels for one set of instructions.

    Attributes:
        name: ``avx512``, ``avx2`` or ``baseline``, whose instructions all CPUs of the kind have.
        multiply: Products by dtype, for instructions that make them faster than PyTorch's.
    """

    def __init__(self, name: str, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self.name = name
        self.softmax, self.binary, self.divergence = library.softmax, library.binary, library.divergence
        self.are_classes = library.are_classes
        for function in (self.softmax, self.binary, self.divergence):
            function.restype = ctypes.c_int
            counter = ctypes.POINTER(ctypes.c_int64)
            function.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_int, counter, ctypes.c_int64)
        self.are_classes.restype = ctypes.c_bool
        self.are_classes.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self.sum_rows = {torch.float64: library.sum_float64, torch.float32: library.sum_float32}
        for function in self.sum_rows.values():
            function.restype = ctypes.c_double
            function.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_double)
        self.add_rows = {torch.float64: library.add_float64, torch.float32: library.add_float32}
        for function in self.add_rows.values():
            function.restype = None
            function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        self.tally = {torch.float64: library.tally_float64, torch.float32: library.tally_float32}
        for function in self.tally.values():
            function.restype = None
            function.argtypes = (*[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
        self.exact = {torch.float64: library.exact_float64, torch.float32: library.exact_float32}
        for function in self.exact.values():
            function.restype = None
            function.argtypes = (*[ctypes.c_void_p] * 4, ctypes.c_int64)
        products = {torch.float64: library.multiply_float64, torch.float32: library.multiply_float32}
        for function in products.values():
            function.restype = None
            function.argtypes = (ctypes.c_char_p, ctypes.c_int)
        self.multiply = {} if name == "baseline" else products
        self.group = library.group
        self.group.restype = None
        self.group.argtypes = (*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)


class Products:
    """Products with packed bfloat16 matrices, ``native/products/bfloat16.cpp``."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self.multiply, self.split = library.multiply_bfloat16, library.split_float32
        self.split_large = library.split_large
        self.multiply.restype = self.split.restype = self.split_large.restype = None
        self.multiply.argtypes = self.split_large.argtypes = (ctypes.c_char_p, ctypes.c_int)
        self.split.argtypes = (*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4, ctypes.c_int)


def runnable() -> list[str]:
    """Names of the libraries that were built and that this CPU can run, best first."""
    can = {"avx512": torch.cpu._is_avx512_supported, "avx2": torch.cpu._is_avx2_supported}  # noqa: SLF001 - no other way
    names = [name for name, is_supported in can.items() if is_supported()]
    return [name for name in (*names, "baseline") if _path(name).exists()]


def library() -> Library | None:
    """The library in use: for the instructions that PyTorch uses, which ``ATEN_CPU_CAPABILITY`` can restrict."""
    return _in_use


def products() -> Products | None:
    """Products with bfloat16 matrices, if this CPU has instructions for them and the library in use is for AVX-512."""
    return _products if _in_use is not None and _in_use.name == "avx512" else None


@contextmanager
def using(name: str | None) -> Iterator[None]:
    """Uses the library of this name meanwhile, or none, in all threads."""
    global _in_use
    before = _in_use
    _in_use = None if name is None else Library(name, _path(name))
    try:
        yield
    finally:
        _in_use = before


def _path(name: str) -> Path:
    return FOLDER / f"libkernels_{name}.so"


def _load() -> Library | None:
    name = CAPABILITIES.get(torch.backends.cpu.get_cpu_capability(), "baseline")
    return _loaded(Library, name, _path(name)) if _path(name).exists() else None


def _load_products() -> Products | None:
    is_supported = torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - no other way
    return _loaded(Products, _path("bfloat16")) if is_supported and _path("bfloat16").exists() else None


def _loaded(kind: Callable[..., T], *arguments: object) -> T | None:
    try:
        return kind(*arguments)
    except OSError as error:  # built for another machine, or for another OpenMP than PyTorch's
        warnings.warn(f"compiled code cannot be loaded; PyTorch's slower operators are used: {error}", stacklevel=3)
        return None


_in_use = _load()
_products = _load_products()
