"""Softmax cross-entropy by compiled code, ``native/softmax.cpp``, if the build of the package found a compiler.

It computes the most common losses: for class indices, without label smoothing, in half precision or float32.
"""

import ctypes
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ce_engine._memory import scratch
from ce_engine._rows import blocks
from ce_engine._slab import Kind, RowResults, Rows, present
from ce_engine.cpu._dense import deliver, working_memory

STEP = 32  # classes that are computed at a time, as in native/lanes.h
ROWS = 8  # rows that are computed at a time where their logits lie side by side, as in native/columns.h
FEW = 16  # classes: rows of fewer are computed in this way, whatever their layout
ENTRY_POINTS = {
    torch.float32: "softmax_float32",
    torch.float16: "softmax_float16",
    torch.bfloat16: "softmax_bfloat16",
}


class _Strides(ctypes.Structure):
    _fields_ = (("sample", ctypes.c_int64), ("position", ctypes.c_int64), ("classes", ctypes.c_int64))


class _Arguments(ctypes.Structure):
    """The arguments of one call; ``native/launch.h`` says what they are."""

    _fields_ = (
        ("logits", ctypes.c_void_p),
        ("strides", _Strides),
        ("rows", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("positions", ctypes.c_int64),
        ("by_columns", ctypes.c_bool),
        ("target", ctypes.c_void_p),
        ("ignored", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("scale_stride", ctypes.c_int64),
        ("losses", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("grad", ctypes.c_void_p),
        ("grad_strides", _Strides),
        ("wide", ctypes.c_bool),
        ("kept", ctypes.c_void_p),
        ("kept_size", ctypes.c_int64),
        ("threads", ctypes.c_int),
    )


def _load(path: Path) -> dict[torch.dtype, Callable[..., bool]]:
    if not path.exists():
        return {}
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:  # built for another machine, or for another OpenMP than PyTorch's
        warnings.warn(f"compiled code cannot be loaded; PyTorch's slower operators are used: {error}", stacklevel=2)
        return {}
    softmax = {dtype: getattr(library, name) for dtype, name in ENTRY_POINTS.items()}
    for function in softmax.values():
        function.restype = ctypes.c_bool
    return softmax


_softmax = _load(Path(__file__).with_name("libsoftmax.so"))


def compiled() -> bool:
    """Whether compiled code was loaded."""
    return bool(_softmax)


def serves(kind: Kind) -> bool:
    """Whether rows of this kind are evaluated here, whatever their layout and neighbours."""
    return (
        kind.loss == "cross_entropy"
        and kind.dtype in _softmax
        and kind.target_dtype is None
        and not kind.label_smoothing
        and kind.outputs <= {"lse", "predictions"}
    )


class NativeSoftmaxKernel:
    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:  # noqa: ARG002 - no target
        self._softmax = _softmax[kind.dtype]
        self._grad_dtype = kind.dtype if kind.grad_dtype is kind.dtype else torch.float32  # that is computed here
        self._x = x  # (samples, positions, C)
        self._rows = rows

    def __call__(self, out: RowResults) -> None:
        if _is_readable(self._x) and (out.grad is None or out.grad.dtype is self._grad_dtype):
            self._evaluate(self._x, self._rows, out)
            return
        for block in blocks(self._x, torch.float32.itemsize):
            x = self._x[block.samples, block.positions]
            if not _is_readable(x):
                x = scratch.like(x, x.dtype, "x").copy_(x)
            self._evaluate(x, self._rows.part(block.rows), out.part(block))

    def _evaluate(self, x: Tensor, rows: Rows, out: RowResults) -> None:
        index = present(rows.classes).contiguous()
        grad = None if out.grad is None else self._grad_memory(out.grad, x)
        self._launch(x, index, rows, out, grad)
        if grad is not None:
            deliver((grad,), (out.grad,))
        if out.predictions is not None and out.correct is not None:
            torch.argmax(x, 2, out=out.predictions.view(x.shape[:2]))
            torch.eq(out.predictions, index, out=out.correct)

    def _grad_memory(self, grad: Tensor, x: Tensor) -> Tensor:
        if _by_columns(x) and grad.dtype is self._grad_dtype:
            return grad
        return working_memory(grad, x, self._grad_dtype, "grad")

    def _launch(self, x: Tensor, index: Tensor, rows: Rows, out: RowResults, grad: Tensor | None) -> None:
        classes, threads, by_columns = x.shape[2], torch.get_num_threads(), _by_columns(x)
        weight = None if rows.weight is None else rows.weight.contiguous()
        kept_size = classes * ROWS if by_columns else (classes // STEP + 1) * STEP
        kept = None if grad is None else scratch.empty((threads, kept_size), torch.float32, "kept")
        launch = _Arguments(
            logits=x.data_ptr(),
            strides=_strides(x) if by_columns else _Strides(position=x.stride(1) if x.shape[0] == 1 else classes),
            rows=index.shape[0],
            classes=classes,
            positions=x.shape[1],
            by_columns=by_columns,
            target=index.data_ptr(),
            ignored=_address(rows.ignored),
            weight=_address(weight),
            scale=_address(rows.scale),
            scale_stride=0 if rows.scale is None else rows.scale.stride(0),
            losses=out.losses.data_ptr(),
            lse=_address(out.lse),
            grad=_address(grad),
            grad_strides=_Strides() if grad is None else _strides(grad),
            wide=self._grad_dtype is torch.float32,
            kept=_address(kept),
            kept_size=kept_size,
            threads=threads,
        )
        if not self._softmax(ctypes.byref(launch)):
            raise IndexError("a target is out of range now; slabs must not change until their results are there")


def _is_readable(x: Tensor) -> bool:
    """Whether ``native`` can read x, (samples, positions, C), as it lies in memory."""
    return not x.is_neg() and (_by_columns(x) or _lie_apart(x))


def _by_columns(x: Tensor) -> bool:
    """Whether several rows of x are computed at a time: few classes, or a class's numbers side by side."""
    return x.shape[2] < FEW or (x.stride(1) == 1 and x.stride(2) != 1 and x.shape[1] >= ROWS)


def _lie_apart(x: Tensor) -> bool:
    """Whether the C numbers of a row of x lie side by side, and its rows are equally far apart."""
    return x.stride(2) == 1 and (x.shape[0] == 1 or x.is_contiguous())


def _strides(x: Tensor) -> _Strides:
    return _Strides(*x.stride())


def _address(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
